"""Two ClientApps of one host meet, so that both reply at the same moment (what for: strategies/lag.py).

The first holds one lock while it waits; who finds that held takes another, which tells the first, and goes on when the
first does. Locks end with their process, so nothing is left of one that died.
"""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import IO

WAIT_SECONDS = 10.0
"""A SuperNode starts a second ClientApp a second after the first; a small host takes a few more."""

_LOOK_SECONDS = 0.02


def wait(folder: Path, seconds: float = WAIT_SECONDS) -> bool:
    """Wait for another that joins; whether one did."""
    with open(folder / "waits.lock", "ab") as waits, open(folder / "joins.lock", "ab") as joins:
        deadline = time.monotonic() + seconds
        fcntl.flock(waits, fcntl.LOCK_EX)
        while time.monotonic() < deadline:
            if not _take(joins):
                return True
            fcntl.flock(joins, fcntl.LOCK_UN)
            time.sleep(_LOOK_SECONDS)
    return False


def join(folder: Path) -> bool:
    """Join one that waits, and go on when it does; at once where none does. Whether one did."""
    with open(folder / "waits.lock", "ab") as waits, open(folder / "joins.lock", "ab") as joins:
        if _take(waits):
            return False
        fcntl.flock(joins, fcntl.LOCK_EX)
        fcntl.flock(waits, fcntl.LOCK_EX)
        return True


def _take(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
