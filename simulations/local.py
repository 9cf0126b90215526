"""The place `local`: hosts in this process, or in persistent worker processes of one thread each.

Every host belongs to one worker for the whole run, so its cameras stay where they are and nothing but messages moves.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context, Message

from clients.app import app as client_app
from clients.memory import forget
from simulations.host_grid import HostGrid, Hosts, failed, new_context
from simulations.processes import end_with_parent
from simulations.remarks import keep_quiet, show_plainly
from simulations.serve import memories, serve


class HostsHere:
    """All hosts in this process, one after the other: the plainest place, and the one to debug in."""

    def __init__(self, num_hosts: int, run_id: int, overrides: str, state_dir: str) -> None:
        self._contexts = {node: new_context(run_id, node, overrides, state_dir) for node in range(1, num_hosts + 1)}
        self._run_id = run_id

    def node_ids(self) -> Sequence[int]:
        """1..n."""
        return list(self._contexts)

    def submit(self, messages: Sequence[Message]) -> list[Future[Message]]:
        """Answer at once."""
        futures: list[Future[Message]] = [Future() for _ in messages]
        for message, future in zip(messages, futures, strict=True):
            future.set_result(answer(message, self._contexts[message.metadata.dst_node_id]))
        return futures

    def close(self) -> None:
        """Let go of the cameras."""
        forget(self._run_id)


class HostsInWorkers:
    """Hosts dealt to worker processes in turn."""

    def __init__(self, num_hosts: int, run_id: int, overrides: str, state_dir: str, workers: int) -> None:
        self._nodes = range(1, num_hosts + 1)
        self.workers: list[_Worker] = []
        for _ in range(min(workers, num_hosts)):
            self.workers.append(_Worker(run_id, overrides, state_dir, [worker.pipe for worker in self.workers]))

    def node_ids(self) -> Sequence[int]:
        """1..n."""
        return self._nodes

    def submit(self, messages: Sequence[Message]) -> list[Future[Message]]:
        """Send each message to its host's worker."""
        replies: dict[int, Future[Message]] = {}
        for number, worker in enumerate(self.workers):
            share = [n for n, m in enumerate(messages) if m.metadata.dst_node_id % len(self.workers) == number]
            replies |= zip(share, worker.submit([messages[n] for n in share]), strict=True)
        return [replies[n] for n in range(len(messages))]

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            worker.close()


class _Worker:
    """One process that answers messages in order, and one thread that waits for its answers.

    The thread starts with the first message, when all processes are there: none is forked beside a running thread. A
    process that dies costs what it was asked; another takes its place, whose cameras go on from their disk.
    """

    def __init__(self, run_id: int, overrides: str, state_dir: str, other_pipes: Sequence[Connection]) -> None:
        self._job, self._remarks = (run_id, overrides, state_dir), not other_pipes
        # fork: what is imported need not be imported again
        self._start("fork" if sys.platform == "linux" else "spawn", other_pipes)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._last: Future[None] | None = None
        self._closing = False

    def _start(self, method: str, other_pipes: Sequence[Connection] = ()) -> None:
        context: Any = multiprocessing.get_context(method)
        self.pipe, theirs = context.Pipe()
        inherited = [*other_pipes, self.pipe] if method == "fork" else []
        self.process = context.Process(target=_work, args=(theirs, inherited, *self._job, self._remarks), daemon=True)
        self.process.start()
        theirs.close()

    def submit(self, messages: Sequence[Message]) -> list[Future[Message]]:
        """Have messages answered in order, after those before them; a future fails when the process is gone."""
        replies: list[Future[Message]] = [Future() for _ in messages]
        self._last = self._thread.submit(self._exchange, messages, replies)
        return replies

    def _exchange(self, messages: Sequence[Message], replies: Sequence[Future[Message]]) -> None:
        try:
            self.pipe.send(messages)  # all at once: what their letters share is packed once, and nobody waits for work
            for reply in replies:
                reply.set_result(self.pipe.recv())
        except Exception as error:  # what is left in the pipe would be taken for the answers to other messages
            gone = isinstance(error, EOFError | OSError)
            reason = ConnectionError(f"the host's process {self.process.pid} ended") if gone else error
            for reply in replies:
                if not reply.done():
                    reply.set_exception(reason)
            if not self._closing:
                self.process.kill()
                self.process.join()
                self.pipe.close()
                self._start("spawn")  # beside this thread none may be forked

    def close(self) -> None:
        """End the process: by asking where it is idle, by force where it still works on what nobody waits for."""
        self._closing = True
        if self._last is None or self._last.done():
            with suppress(OSError):  # gone already
                self.pipe.send(None)
            self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self._thread.shutdown(cancel_futures=True)
        self.pipe.close()


def answer(message: Message, context: Context) -> Message:
    """The ClientApp's reply; its exception, if it raises, is the reply too."""
    try:
        return client_app(message, context)
    except Exception as error:
        return failed(message, error)


def _work(
    pipe: Connection, inherited: Sequence[Connection], run_id: int, overrides: str, state_dir: str, remarks: bool
) -> None:
    """A worker's life: answer until told to end, or until the parent is gone. One of them remarks on what all read."""
    for others in inherited:  # the parent's ends: while a copy is open here, nobody notices that the parent is gone
        others.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent ends this one
    end_with_parent()  # in the midst of an answer too: another process may go on with the run
    if remarks:
        show_plainly()
    else:
        keep_quiet()
    torch.set_num_threads(1)
    contexts: dict[int, Context] = {}
    with suppress(EOFError, OSError), ThreadPoolExecutor(max_workers=1) as outbox:  # no host waits for another's reply
        while (messages := pipe.recv()) is not None:
            for message in messages:
                node = message.metadata.dst_node_id
                reply = answer(message, contexts.setdefault(node, new_context(run_id, node, overrides, state_dir)))
                outbox.submit(_send, pipe, message, reply)


def _send(pipe: Connection, message: Message, reply: Message) -> None:
    """Send a reply; where it cannot be packed, send why: the parent counts on one reply a message, in order."""
    try:
        packed = pickle.dumps(reply)
    except Exception as error:
        packed = pickle.dumps(failed(message, error))
    with suppress(OSError):  # the parent is gone
        pipe.send_bytes(packed)


def run(overrides: str, folder: Path, num_views: int, *, workers: int | None, hosts: int | None) -> None:
    """One run on this machine; the record goes to `folder`."""
    torch.set_num_threads(1)
    workers = workers or cores()
    num_hosts = hosts or num_views
    run_id = os.getpid()
    state_dir = memories(folder, overrides)
    hosts_of_run: Hosts
    if workers == 1:
        hosts_of_run = HostsHere(num_hosts, run_id, overrides, state_dir)
    else:
        hosts_of_run = HostsInWorkers(num_hosts, run_id, overrides, state_dir, workers)
    serve(HostGrid(hosts_of_run, run_id), run_id, overrides, folder)


def cores() -> int:
    """Cores this process may use (which can be fewer than the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
