"""A warm process: ``python -m clients.warm_process SOCKET PID``. It ends when process PID, its SuperNode, does.

It also ends when nothing was asked of it for a while: a small host gets its memory back, and an app of an older version
leaves nothing behind. The next message starts another, which goes on from what could be written to the cameras' disk.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Listener
from pathlib import Path

from flwr.app import Context, Message

from clients.acts import ACTS, hello
from clients.memory import forget_others
from fedkd.errors import reason_of, remark

IDLE_SECONDS = 900.0
"""Longer than a host waits for the others in most rounds, shorter than a night."""


class Idle:
    """Ends this process when `seconds` have passed since it last was at work."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer = threading.Timer(0, lambda: None)

    def __enter__(self) -> None:
        self._timer.cancel()

    def __exit__(self, *_: object) -> None:
        self._timer = threading.Timer(self._seconds, os._exit, (0,))
        self._timer.daemon = True
        self._timer.start()


def serve(path: Path, idle_seconds: float = IDLE_SECONDS) -> None:
    """Answer one message after the other, for as long as this process lives."""
    idle = Idle(idle_seconds)
    path.unlink(missing_ok=True)
    os.umask(0o177)  # the socket is its owner's alone from its first moment
    with Listener(str(path), "AF_UNIX", backlog=16) as listener:  # who asks never waits to be let in
        os.umask(0o077)
        while True:
            with listener.accept() as line, suppress(EOFError, OSError), idle:  # who asked has gone: the next one
                line.send(_answer(*line.recv()))


def _answer(message: Message, context: Context) -> Message | str:
    """The reply, or why there is none."""
    context.node_config["resident"] = True
    try:
        act = ACTS[message.metadata.message_type]
        if act is not hello:  # which anybody may say while a run is at work
            forget_others(context.run_id)
        return act(message, context)
    except Exception as error:
        return reason_of(error)


def end_with(pid: int) -> None:
    """End this process as soon as process `pid` has ended, whatever it is doing."""
    try:
        select.select([os.pidfd_open(pid)], [], [])
    except ProcessLookupError:
        pass  # it has ended
    except OSError as error:  # Linux before 5.3, or a container that forbids it
        remark(
            f"cannot watch the SuperNode ({error.strerror}): ends {IDLE_SECONDS:.0f} s after its last message instead."
        )
        return
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(int(sys.argv[2]),), daemon=True).start()
    serve(Path(sys.argv[1]))
