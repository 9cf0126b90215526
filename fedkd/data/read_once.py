"""Files that are read once in a process, as long as they stay the same.

@read_once
def _read(paths: Sequence[Path]) -> list[Recording]: ...

_read(sorted(folder.glob("*.json")))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")


def read_once(read: Callable[[Sequence[Path]], R]) -> Callable[[Iterable[Path]], R]:
    """`read`, which gives what it gave the last time where the same files have the same sizes and times."""

    @lru_cache(maxsize=1)
    def kept(stamped: tuple[tuple[Path, int, int], ...]) -> R:
        return read([path for path, _, _ in stamped])

    @wraps(read)
    def once(paths: Iterable[Path]) -> R:
        return kept(tuple((path, *_size_and_time(path)) for path in paths))

    return once


def _size_and_time(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
