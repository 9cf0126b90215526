"""What every machine of a fleet needs: versions, an environment, a key that is private, a disk."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path

from clients.warm import socket_path
from fedkd.errors import UserError
from simulations.fleet.checks.finding import Finding
from simulations.fleet.kit import Kit, user, versions_here
from simulations.fleet.scripts import read_environment

_ENOUGH = 1e9  # bytes on the disk: a Flower home, logs, students


def versions(kit: Kit) -> Finding:
    """Those of the kit's maker; of Python the second number counts, of torch not what follows a plus."""
    here = versions_here()
    differ = [
        f"{name} {here[name]} where the kit was made with {made}"
        for name, made in kit.versions.items()
        if _counts(name, here[name]) != _counts(name, made)
    ]
    says = "; ".join(differ) + ": install the same" if differ else ", ".join(" ".join(pair) for pair in here.items())
    return Finding("versions", not differ, says)


def _counts(name: str, text: str) -> str:
    return text.rpartition(".")[0] if name == "python" else text.partition("+")[0]


def asker(kit: Kit) -> Finding:
    """The user that asks should be the one that runs the scripts: another may do more, as root, or less."""
    owner, here = kit.folder.stat().st_uid, os.geteuid()
    whose = f"the folder is {user(owner)}'s"
    says = whose if owner == here else f"{user(here)} asks, {whose}; ask as that one, sudo -u {user(owner)}"
    return Finding("user", owner == here, says)


def environment(kit: Kit) -> Generator[Finding, None, dict[str, str]]:
    """The settings of this machine, as far as they are there."""
    asked = ("FEDKD_PROGRAMS", "FEDKD_DATA", "FEDKD_PORT") if kit.role == "host" else ("FEDKD_PROGRAMS",)
    try:
        settings = read_environment(kit.folder)
    except (OSError, ValueError) as error:
        yield Finding("environment", False, f"cannot be read ({error}); copy it from the kit again")
        return {}
    lacks = " and ".join(key for key in asked if key not in settings)
    says = f"lacks {lacks}; add it to {kit.folder / 'environment'}" if lacks else "says what the scripts ask"
    yield Finding("environment", not lacks, says)
    return settings


def private(path: Path) -> Finding:
    """A key that nobody else may read."""
    if not path.exists():
        return Finding(path.name, False, f"{path} is missing; copy the folder from the kit again")
    if platform.system() != "Windows" and path.stat().st_mode & 0o077:
        return Finding(path.name, False, f"others may read {path}; chmod 600 it")
    return Finding(path.name, True, "its owner alone may read it")


def disk(kit: Kit, settings: Mapping[str, str]) -> Finding:
    """Room for what must last, and leave to write it."""
    state = _state(kit, settings)
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    if not os.access(there, os.W_OK):
        return Finding("disk", False, f"{there} cannot be written; give it to the user that runs this")
    if kit.role == "host":
        try:
            socket_path(str(state))
        except UserError as error:
            return Finding("disk", False, f"{str(error).rstrip('.')}; set a shorter FEDKD_STATE in environment")
    free = shutil.disk_usage(there).free
    return Finding(
        "disk", free > _ENOUGH, f"{free / 1e9:.1f} GB free at {state}" + ("" if free > _ENOUGH else "; make room")
    )


def _state(kit: Kit, settings: Mapping[str, str]) -> Path:
    """Where scripts keep what must last."""
    name = kit.hosts[0].name if kit.role == "host" else "server"
    system = Path("/var/lib/fedkd") / name
    told = settings.get("FEDKD_STATE")
    return Path(told) if told else system if system.exists() else kit.folder / "state"
