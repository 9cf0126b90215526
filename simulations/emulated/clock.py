"""A clock of a host's own: the processes that are given its settings see the time that it is set to (libfaketime)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from fedkd.errors import UserError
from fedkd.files import write_whole


def library() -> Path | None:
    """Where libfaketime is (`pip install libfaketime`). Debian's 0.9.10 is not asked: under it Python cannot sleep."""
    found = find_spec("libfaketime")
    inside = Path(found.origin).parent.glob("**/libfaketime.so.1") if found and found.origin else ()
    return next(iter(inside), None)


class Clock:
    """The time of day of processes that start with `settings` in their environment; how time passes stays true."""

    def __init__(self, file: Path) -> None:
        self._file, self._library = file, library()
        if self._library is None:
            raise UserError("expected libfaketime for a clock of one's own, found none; pip install libfaketime.")
        self.set(0)

    @property
    def settings(self) -> Mapping[str, str]:
        """What the processes' environment must have."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, ahead: float) -> None:
        """Let the clock be so many seconds ahead of the machine's, from now on; below 0: behind."""
        write_whole(self._file, f"{ahead:+g}".encode())  # who finds half of it ends its process
