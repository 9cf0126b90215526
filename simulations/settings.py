"""What can be set: ``fedkd run --help [group=option ...]``.

    settings(["data=tiny"])     # every group with its options, then every setting of what is chosen, as YAML

Comments are those of the YAML files that were composed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fedkd.config import choices, load, options, source

GROUPS = ("experiment", "data", "student", "teacher", "loss", "guidance", "hint", "consensus", "strategy", "place")

_KEY = re.compile(r"^( *)([\w@./]+):")
_COMMENT_COLUMN = 27  # where those of config.yaml begin
_INHERITED = {"strategy": ("strategy_base",)}


def settings(overrides: Sequence[str]) -> str:
    """Every group with its options, and the whole configuration of what the overrides choose."""
    cfg, chosen = load(overrides), choices(overrides)
    comments = _comments("", "config")
    for group in GROUPS[1:]:
        for name in (*_INHERITED.get(group, ()), f"{group}/{chosen[group]}"):
            comments |= _comments(f"{group}.", name)
    own = {key: cfg[key] for key in cfg if key not in GROUPS}
    lines = ["groups, GROUP=OPTION (the chosen one in brackets):"]
    lines += [_listed(group, options(group), chosen[group]) for group in GROUPS]
    lines += ["", "settings, KEY=VALUE (a setting below another is objective.teacher=0.5):", *_yaml(own, comments)]
    for group in GROUPS[1:]:
        lines += ["", f"# {group}={chosen[group]}", *_yaml({group: cfg[group]}, comments)]
    more = (
        "What a constructor takes beside what stands here is added with a plus, such as +student.schooling.mixup=0.2."
    )
    return "\n".join([*lines, "", more])


def _listed(group: str, names: Sequence[str], chosen: str) -> str:
    listed = " | ".join(f"[{name}]" if name == chosen else name for name in names)
    return fill(listed, 100, initial_indent=f"  {group:<12}", subsequent_indent=" " * 14)


def _yaml(node: dict[Any, Any], comments: dict[str, list[str]]) -> Iterator[str]:
    """The lines of a node, each with its comment."""
    for path, line in _with_paths(OmegaConf.to_yaml(DictConfig(node)).splitlines()):
        first, *more = comments.get(path, [""])
        yield f"  {line:<{_COMMENT_COLUMN - 1}} {first}".rstrip()
        yield from (f"  {'':<{_COMMENT_COLUMN}}{comment}" for comment in more)


def _comments(prefix: str, name: str) -> dict[str, list[str]]:
    """{path of a setting: the comment beside it, and those below} of one YAML file."""
    comments: dict[str, list[str]] = {}
    last = ""
    for path, line in _with_paths(source(name).splitlines()):
        code, sharp, comment = line.partition("#")
        if sharp and (path or (last and code.startswith(" "))):
            comments.setdefault(prefix + (path or last), []).append(f"#{comment}")
        last = path or (last if line.strip() else "")
    return comments


def _with_paths(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """("objective.teacher", line) for every line of a YAML text; no path where no key begins."""
    above: list[tuple[int, str]] = []
    for line in lines:
        if found := _KEY.match(line):
            indent, key = len(found[1]), found[2]
            above = [*((depth, name) for depth, name in above if depth < indent), (indent, key)]
        yield ".".join(name for _, name in above) if found else "", line
