"""The command `flwr`, for the places that use it: the app folder it wants, what it says, and what became of a run.

Flower wants an app folder. It is made for each run from the packages that this process runs, so that a checkout and an
installed fedkd behave alike and nothing else (results, tests, a virtual environment) is bundled. And `flwr run` exits 0
whatever became of the run: who knows is asked afterwards.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedkd.errors import UserError

PACKAGES = ("fedkd", "strategies", "clients", "simulations")
PROGRAMS = Path(sys.executable).parent
"""Where Flower's programs lie beside this Python."""

QUIET = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # else `uv sync` replaces CPU torch by a 5 GB one, every run
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
}

PYPROJECT = """
[project]
name = "fedkd"
version = "0.0.0"
description = "One run."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fedkd"
flwr-version-target = "{flwr}"

[tool.flwr.app.components]
serverapp = "{serverapp}"
clientapp = "{clientapp}"

[tool.flwr.app.config]
overrides = ""
folder = ""
state-dir = ""
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment for Flower's programs: its home, quiet, and a PATH by which they find one another."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, **QUIET, "PYTHONUNBUFFERED": "1", "FLWR_HOME": str(home), "PATH": path, **more}


def by_hand(home: str | Path, *words: object) -> str:
    """The same command of Flower's for a person to type, who calls out no more than we do."""
    return f"FLWR_HOME={shlex.quote(str(home))} FLWR_DISABLE_UPDATE_CHECK=1 flwr {' '.join(map(str, words))}"


def flwr(*arguments: str | Path, cwd: Path, env: Mapping[str, str]) -> str:
    """What one command says, on both channels."""
    done = subprocess.run(
        [PROGRAMS / "flwr", *map(str, arguments)],
        cwd=cwd, env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.stdout


def make_app(folder: Path, serverapp: str = "strategies.app:app", clientapp: str = "clients.app:app") -> Path:
    """The app folder that `flwr run` bundles: the four packages as this process runs them."""
    here = Path(__file__).parents[1]
    for package in PACKAGES:
        shutil.copytree(here / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").write_text(
        PYPROJECT.format(flwr=version("flwr"), serverapp=serverapp, clientapp=clientapp), encoding="utf-8"
    )
    return folder


def run_config(path: Path, overrides: str, folder: Path, state_dir: str = "") -> Path:
    """The file with what our apps ask of a run; `state_dir` is for hosts without a place of their own."""
    said = {"overrides": overrides, "folder": str(folder), "state-dir": state_dir}
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()), encoding="utf-8")
    return path


def judge(summary: Mapping[str, Any], listed: str, said: str) -> None:
    """Nothing for a finished run; of a failed one, the sentence of whoever knows why.

    listed  what `flwr ls --run-id R --format json` says of it;  said  what Flower said all along.

    A ServerApp's last words are in `listed`; the record has them too, but of a run that was refused it has older ones.
    """
    flowers = _listed(listed)
    if summary.get("status") == "finished" and flowers["status"] == "finished:completed":
        return
    _, raised, words = flowers.get("status-details", "").partition("ServerApp failed with exception: ")
    if raised and (lines := words.splitlines()):
        raise UserError(lines[0])
    if "No heartbeat" in flowers.get("status-details", ""):
        raise UserError(
            "the SuperLink ended the run, since by its clock it had heard nothing of the ServerApp for a minute: that "
            "has died, or the server's clock has jumped."
        )
    if reason := summary.get("reason"):
        raise UserError(reason)
    print(said, file=sys.stderr)
    raise UserError(f"Flower's run did not finish (its status: {flowers['status']}); what it said is above.")


def is_under_way(listed: str) -> bool:
    """Whether `flwr ls --run-id R --format json` knows a run that is not over."""
    return _listed(listed)["status"] in ("pending", "starting", "running")


def is_over(listed: str) -> bool:
    """Whether it knows a run that is."""
    return str(_listed(listed)["status"]).startswith("finished")


def _listed(listed: str) -> dict[str, Any]:
    try:
        [found] = json.loads(listed)["runs"]
    except (ValueError, KeyError):
        return {"status": "unknown"}
    return dict(found)


def summary(folder: Path) -> Mapping[str, Any]:
    """What summary.json says, if it is there and this user may read it."""
    path = folder / "summary.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if os.access(path, os.R_OK) else {}
    return found


def last_line(text: str) -> str:
    """What a program said last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
