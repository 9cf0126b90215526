"""A warm process: ``python -m clients.warm_process SOCKET PID``. It ends when process PID, its SuperNode, does."""

from __future__ import annotations

import os
import select
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Listener
from pathlib import Path

from flwr.app import Context, Message

from clients.acts import ACTS
from clients.memory import forget_others
from fedkd.errors import reason_of


def serve(path: Path) -> None:
    """Answer one message after the other, for as long as this process lives."""
    path.unlink(missing_ok=True)
    os.umask(0o177)  # the socket is its owner's alone from its first moment
    with Listener(str(path), "AF_UNIX") as listener:
        os.umask(0o077)
        while True:
            with listener.accept() as line, suppress(EOFError, OSError):  # who asked has gone: the next one
                line.send(_answer(*line.recv()))


def _answer(message: Message, context: Context) -> Message | str:
    """The reply, or why there is none."""
    context.node_config["resident"] = True
    forget_others(context.run_id)
    try:
        return ACTS[message.metadata.message_type](message, context)
    except Exception as error:
        return reason_of(error)


def end_with(pid: int) -> None:
    """End this process as soon as process `pid` has ended, whatever it is doing."""
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(int(sys.argv[2]),), daemon=True).start()
    serve(Path(sys.argv[1]))
