"""Flower's `Grid`, once, over any kind of hosts: a place is three methods."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from typing import Protocol

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

from fedkd.errors import reason_of
from simulations.identity import Run, become_server, new_run, stamp

RAISED, LOST = 2, 5
"""Flower's error codes for a ClientApp that raised and for a node that is gone."""


class Hosts(Protocol):
    """Where hosts run: in this process, in workers, on Ray actors."""

    def node_ids(self) -> Sequence[int]:
        """The hosts there are."""

    def submit(self, messages: Sequence[Message]) -> list[Future[Message]]:
        """Bring messages to their hosts; each future is a host's reply."""

    def close(self) -> None:
        """End every process this place started."""


class HostGrid(Grid):
    """Messages to hosts and their replies, for Flower's `Strategy.start`."""

    complete = True
    """All hosts are there from the start; nobody needs to wait for more."""

    def __init__(self, hosts: Hosts, run_id: int) -> None:
        become_server(run_id)
        self.hosts = hosts
        self._run_id = run_id
        self._waiting: dict[str, tuple[Message, Future[Message]]] = {}

    def set_run(self, run: Run) -> None:
        """A grid of ours serves one run, given when it is made."""
        raise ValueError("a HostGrid serves the run it was made for; make another grid for another run.")

    @property
    def run(self) -> Run:
        """The run this grid serves."""
        return new_run(self._run_id)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message from the server."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Sequence[int]:
        """The hosts there are."""
        return self.hosts.node_ids()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Bring messages to their hosts."""
        outgoing = list(messages)
        ids = [stamp(message) for message in outgoing]
        replies = self.hosts.submit(outgoing)
        self._waiting |= dict(zip(ids, zip(outgoing, replies, strict=True), strict=True))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies that have come to these messages."""
        replies = []
        for message_id in message_ids:
            message, future = self._waiting.get(message_id, (None, None))
            if message is not None and future is not None and future.done():
                del self._waiting[message_id]
                replies.append(_settled(message, future))
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Bring messages and wait for the replies, `timeout` seconds at most; a late one can be pulled later."""
        deadline = None if timeout is None else time.monotonic() + timeout
        ids = self.push_messages(messages)
        futures = [self._waiting[message_id][1] for message_id in ids]
        wait(futures, timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        return self.pull_messages(ids)


def new_context(run_id: int, node_id: int, overrides: str, state_dir: str, students_dir: str = "") -> Context:
    """The context of a host whose process stays, so that cameras live on in it; and on its disk, in `state_dir`.

    students_dir  where its final students go, if it cannot reach the run's folder.
    """
    settings: dict[str, bool | float | int | str] = {"resident": True, "students-dir": students_dir}
    return Context(run_id, node_id, settings, RecordDict(), {"overrides": overrides, "state-dir": state_dir})


def failed(message: Message, error: BaseException, code: int = RAISED) -> Message:
    """The reply of a host that could not answer."""
    return Message(Error(code, reason_of(error)), reply_to=message)


def _settled(message: Message, future: Future[Message]) -> Message:
    error = future.exception()
    return future.result() if error is None else failed(message, error, LOST)
