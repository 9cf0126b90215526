"""Processes that others start for us: none of them may outlive its run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

UNWIND_SECONDS = 30.0
"""For a process to end those that it has started: `end_all` gives them ten, after a SuperLink's ten."""


def free_port() -> int:
    """A port of the loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, of a terminal that is gone, unwind as Ctrl-C does: else Flower's processes would stay.

    Who ignores SIGHUP, as `nohup` has it, goes on doing so.
    """
    unless_ignored = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    asked = False

    def unwind(*_: object) -> None:
        nonlocal asked
        if not asked:  # once: a second would break off what the first has begun to end
            asked = True
            raise KeyboardInterrupt

    with _at_signals(unwind, signal.SIGTERM, *unless_ignored):
        yield


def undisturbed() -> AbstractContextManager[None]:
    """Let no second Ctrl-C, SIGTERM or SIGHUP break off what the block ends, here or in a command that it starts."""
    return _at_signals(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _at_signals(act: Callable[..., None] | signal.Handlers, *numbers: signal.Signals) -> Iterator[None]:
    """Have `act` answer these signals for the time of the block."""
    try:
        before = {number: signal.signal(number, act) for number in numbers}
    except ValueError:  # not in the main thread: whoever has it must see to it
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """From now on end this process as soon as the one that started it has ended, however that ended.

    At once, unless it is within `ends_on_sigterm`: then it may end what it has started, for some seconds.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "a process of multiprocessing's own"

    def watch() -> None:
        parent.join()
        main = threading.main_thread().ident
        assert main is not None, "it has begun"
        signal.pthread_kill(main, signal.SIGTERM)  # without a handler, this is the end
        deadline = time.monotonic() + UNWIND_SECONDS
        while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL and time.monotonic() < deadline:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_all(find: Callable[[], list[int]]) -> None:
    """End the processes that `find` finds until there are none; those that take longer than 10 s are killed."""
    deadline, asked = time.monotonic() + 10, set[int]()
    while left := find():
        late = time.monotonic() > deadline
        for pid in left if late else set(left) - asked:  # once: Flower's processes take a second time for "at once"
            with suppress(ProcessLookupError):  # ended meanwhile
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= set(left)
        time.sleep(0.2)


def started_in(folder: Path) -> list[int]:
    """Ids of the processes at work in a folder that only they know (Linux; elsewhere Flower's own watch must do)."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if folder in _at_work_in(process).parents]


def _at_work_in(process: Path) -> Path:
    try:
        return (process / "cwd").readlink() / "here"
    except OSError:  # ended meanwhile, or another user's
        return Path()
