"""A host's warm process, as the thin ClientApp of each message sees it: asked over a socket, started if need be.

The socket lies in the host's `state-dir` and only its owner can open it, so what comes through it is as trusted as the
process that asks. It is named after the app's folder: an app of another version has a process of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection
from pathlib import Path

from flwr.app import Context, Message

from fedkd.errors import UserError

START_SECONDS = 120.0
"""How long a warm process may take to start: a small host imports torch for a while."""

END_SECONDS = 10.0
"""How long a process that was killed may take to end: its memory has to be freed."""

HUNG_SECONDS = 600.0
"""After so long without any use of a processor a warm process is taken for hung (stopped, or at a disk that stands
still), and ended. How long a round takes does not matter: who trains uses a processor."""

_LOOKS = 10
"""In that time: a host that was frozen as a whole, and this process with it, is not judged by a single look."""

_LONGEST = 100
"""Bytes that a socket's path may have (Linux: 107)."""


def ask(message: Message, context: Context) -> Message:
    """The warm process's reply; if it dies over the message, another one's, which goes on from the cameras' disk.

    Raises UserError where that one dies too.
    """
    path = socket_path(str(context.node_config.get("state-dir", "")))
    for _ in range(2):
        if not _listens(path):
            with _alone(path.with_suffix(".lock")):
                _start(path)
        with suppress(EOFError, OSError):
            return _exchange(path, message, context)
    raise UserError(
        "the warm process ended twice before it had answered this message, as it does where memory runs out; "
        f"{path.with_suffix('.log')} on this host has its words."
    )


def socket_path(state_dir: str) -> Path:
    """Where the warm process of this app listens; `UserError` where it cannot."""
    if not state_dir:
        raise UserError("warm=true in the node config needs a state-dir beside it, for its socket and its memory.")
    app = hashlib.sha256(str(Path(__file__).parents[1]).encode()).hexdigest()[:8]
    path = Path(state_dir).expanduser().absolute() / f"warm-{app}.sock"
    if len(os.fsencode(path)) > _LONGEST:
        raise UserError(f"expected a state-dir of at most {_LONGEST - 20} bytes for warm=true, got {path.parent}.")
    return path


def _exchange(path: Path, message: Message, context: Context) -> Message:
    for ours in (path, path.parent):
        if (stat := ours.stat()).st_uid != os.getuid() or (ours == path.parent and stat.st_mode & 0o022):
            raise UserError(f"{ours} must be this user's and nobody else's to write: a reply from there is trusted.")
    with Client(str(path), "AF_UNIX") as line:
        process = _process_behind(line)
        try:
            with _watched(process):
                line.send((message, context))
                return _received(line)
        except (EOFError, OSError):
            _see_the_end_of(process)
            raise


def _received(line: Connection) -> Message:
    reply = line.recv()
    if isinstance(reply, Message):
        return reply
    raise UserError(str(reply))


def _process_behind(line: Connection) -> int:
    """Who listens at the other end."""
    with socket.socket(fileno=os.dup(line.fileno())) as end:
        pid: int = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


@contextmanager
def _watched(pid: int) -> Iterator[None]:
    """For the time of the block, end a process that hangs: whoever waits for it then sees that it is gone."""
    over = threading.Event()
    threading.Thread(target=_end_if_hung, args=(pid, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _end_if_hung(pid: int, over: threading.Event) -> None:
    used, idle_looks = -1, 0
    with suppress(OSError):  # it is gone
        while idle_looks < _LOOKS and not over.wait(HUNG_SECONDS / _LOOKS):
            before, used = used, _processor_ticks(pid)
            idle_looks = idle_looks + 1 if used == before else 0
        if not over.is_set():
            os.kill(pid, signal.SIGKILL)


def _see_the_end_of(pid: int) -> None:
    """Wait for the end of a process that broke off: for a moment more, its socket lets in whom it will not answer.

    Its first thread may have ended before the one that closes the socket.
    """
    deadline, threads = time.monotonic() + END_SECONDS, Path(f"/proc/{pid}/task")
    with suppress(OSError):  # it is gone
        while (_stat(pid)[0] not in "ZX" or len(list(threads.iterdir())) > 1) and time.monotonic() < deadline:
            time.sleep(0.01)


def _processor_ticks(pid: int) -> int:
    """The processor time that a process has used: utime and stime."""
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12])


def _stat(pid: int) -> list[str]:
    """What `man 5 proc` has of a process behind its name: its state, its parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _start(path: Path) -> None:
    """Start a warm process unless another message has just done so, and wait until it listens."""
    if _listens(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = path.with_suffix(".log")
    with open(log, "ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "clients.warm_process", str(path), str(_supernode())],
            cwd=Path(__file__).parents[1], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS
    while not _listens(path):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise UserError(f"the warm process did not start; {log} on this host has its words.")
        time.sleep(0.05)


def _listens(path: Path) -> bool:
    try:
        Client(str(path), "AF_UNIX").close()
    except OSError:
        return False
    return True


def _supernode() -> int:
    """The SuperNode above this process, whose end is the warm process's end too."""
    pid = os.getpid()
    while (process := Path(f"/proc/{pid}")).exists():  # in a container the SuperNode itself may be process 1
        if b"flower-supernode" in (process / "cmdline").read_bytes():
            return pid
        pid = int(_stat(pid)[1])
    raise UserError("warm=true in the node config is for a SuperNode's own processes (flower-supernode, on Linux).")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
