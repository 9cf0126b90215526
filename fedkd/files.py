"""Files that are whole at any moment, folders that one process holds, and what is said where a disk does not take them.

write_whole(folder / "summary.json", text, durable=True)
with holding(folder, "another run is at work here; wait for it"):
    ...
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fedkd.errors import UserError

_LOCK = ".lock"

_MENDED_BY = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free the disk") | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), "let this user write there"
)


def write_whole(path: Path, content: bytes, *, durable: bool = False, private: bool = False) -> None:
    """Write a file, or leave the one that was there.

    durable  through a power cut too, which takes the disk's time.
    private  only its owner can read it, at no moment otherwise; so is its folder, where it is made here.

    Raises UserError where the disk does not take it.
    """
    draft = path.with_name(path.name + ".part")
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o777)
        try:
            with _opened(draft, private) as file:
                file.write(content)
                if durable:
                    to_disk(file)
            os.replace(draft, path)
            if durable:
                _name_to_disk(path)
        except OSError:
            draft.unlink(missing_ok=True)  # a full disk needs the room
            raise


def _opened(draft: Path, private: bool) -> IO[bytes]:
    if not private:
        return open(draft, "wb")
    draft.unlink(missing_ok=True)  # of one who was interrupted, and maybe not private
    return os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def to_disk(file: IO[Any]) -> None:
    """Let a power cut find what was written."""
    file.flush()
    os.fsync(file.fileno())


def _name_to_disk(path: Path) -> None:
    """Let a power cut find a file under its new name: a rename is its folder's, which has a write of its own."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turns a failed write into one sentence; what was written before stays readable."""
    try:
        yield
    except OSError as error:
        first = _MENDED_BY.get(error.errno or 0, "see to that")
        raise UserError(
            f"cannot write to {folder}: {error.strerror}; what was written before is kept, {first} and run again."
        ) from error


def holding(folder: Path, otherwise: str, patience: float = 0.0) -> IO[bytes]:
    """A file that holds the folder for this process until it is closed; a killed process lets go of it.

    otherwise  the sentence of the UserError where another process holds it,
    patience   and still does after so many seconds.
    """
    with writing_to(folder):
        lock = open(folder / _LOCK, "wb")  # noqa: SIM115 (it stays open)
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError as error:
            if time.monotonic() >= until:
                lock.close()
                raise UserError(otherwise) from error
            time.sleep(0.2)


def held(folder: Path) -> bool:
    """Whether a process of this machine holds the folder."""
    try:
        with open(folder / _LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
