"""The floors of the house: who may import whom (README, "The map of the house")."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [path for top in ("fedkd", "strategies", "clients", "simulations") for path in (ROOT / top).rglob("*.py")]
MAY = {
    "fedkd": {"fedkd"},
    "strategies": {"fedkd", "strategies"},
    "clients": {"fedkd", "clients"},
    "simulations": {"fedkd", "strategies", "clients", "simulations"},
}
FLOORS = [
    {"types", "terms", "weights", "seeding", "errors", "skeleton", "files"},
    {"losses", "consensus", "privacy", "metrics", "average"},
    {"models", "data"},
    {"learn"},
    {
        "wire",
        "config",
        "rules",
        "mirrors",
        "build",
        "record",
        "environment",
        "assemble",
        "results",
        "words",
        "plots",
        "report",
        "sealed",
    },
]
APART = ({"losses", "consensus", "privacy", "metrics"}, {"models", "data"})
"""Neighbours on one floor that must not import each other."""
ONLY_IN = {
    "flwr": ("fedkd/wire.py", "strategies/", "clients/", "simulations/"),
    "ray": ("simulations/",),
    "rich": ("simulations/",),
    "hydra": ("fedkd/config.py", "fedkd/build.py"),
}
PUBLIC = ("flwr.app", "flwr.serverapp", "flwr.clientapp")
PRIVATE_IN = ("simulations/identity.py", "simulations/fleet/link.py")
"""Flower's names that it promises to keep, and the two files that know others."""

DISTRIBUTIONS = {"PIL": "pillow", "hydra": "hydra-core", "yaml": "pyyaml"}
"""Packages whose distribution has another name."""


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(module: str) -> str:
    return module.split(".")[1] if module.startswith("fedkd.") else ""


def floor(name: str) -> int:
    return next((level for level, rooms in enumerate(FLOORS) if name in rooms), -1)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = path.relative_to(ROOT)
    top, modules = here.parts[0], imported(path)
    for module in modules:
        package = module.split(".")[0]
        assert package not in MAY or package in MAY[top], f"{here} imports {module}"
        if package in ONLY_IN:
            assert str(here).startswith(ONLY_IN[package]), f"{here} imports {module}"
        if package == "flwr" and str(here) not in PRIVATE_IN:
            assert module.startswith(PUBLIC), f"{here} imports {module}, a private name of Flower's"
    if top == "fedkd" and len(here.parts) > 1:
        mine = here.parts[1].removesuffix(".py")
        if mine not in ("__init__", "conf"):
            assert floor(mine) >= 0, f"{here} stands on no floor: add it to FLOORS"
        for other in {room(module) for module in modules} - {"", mine}:
            if floor(other) >= 0:
                assert floor(other) <= floor(mine), f"{here} imports upwards: {other}"
                assert not any({mine, other} <= apart for apart in APART), f"{here} imports its neighbour {other}"


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["rgb"]]
    declared = {re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in asked}
    bench = {"bare", "pfl"}  # run by another Python, beside their own files
    modules = {module.split(".")[0] for path in SOURCES for module in imported(path)}
    for package in modules - set(sys.stdlib_module_names) - set(MAY) - bench:
        assert DISTRIBUTIONS.get(package, package) in declared, f"{package} is imported, but pyproject.toml lacks it"
