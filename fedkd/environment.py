"""What a run ran on: `env.json` of its folder, and the heading of a benchmark."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    """What a run ran on: commit, versions, cores."""
    packages = ("fedkd", "torch", "flwr", "ray", "numpy")
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages if _installed(name)},
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def _commit() -> str:
    try:
        _git("ls-files", "--error-unmatch", "fedkd/environment.py")  # another project's repository may lie around it
        changed = _git("status", "--porcelain", "--", "fedkd", "clients", "strategies", "simulations")
        return _git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"  # installed without its repository


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def _installed(name: str) -> bool:
    try:
        version(name)
    except ImportError:
        return False
    return True
