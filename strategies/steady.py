"""Deadlines that the server's clock does not move, answers that are seen when they come, and a SuperLink that stumbles.

Flower 1.41's own grids count the seconds of a round by the time of day. A clock that is put right in the middle of one
would end it at once, or prolong it by as much. And they look for answers every three seconds, so that answers wait for
half as long on average.

A SuperLink under load may answer with an error of its own (seen: status 500, as twelve hosts sent weights). Flower's
grids raise it, which would end the run. And they raise where an answer's bytes are none of Flower's, which takes a host
that was tampered with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

import httpx
from flwr.app import Message
from flwr.serverapp import Grid

from fedkd.errors import reason_of, remark

P = ParamSpec("P")
T = TypeVar("T")

PULL_SECONDS = 0.5
"""Seconds between two looks at what has come, where the grid has no interval of its own. The SuperLink is next door."""


STUMBLE_SECONDS = 60.0
"""For how long a SuperLink that answers with errors of its own is asked again."""

HANDED_OUT = ("PullObject", "ConfirmMessageReceived")
"""What of a look follows on the list of answers, which the SuperLink hands out once: each is asked again by itself."""


def steady(grid: Grid) -> Grid:
    """The same grid, whose deadlines count by a clock that only runs forward, as those of our own grids do already.

    What only asks is asked again where the SuperLink stumbles.
    """

    def send_and_receive(messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Flower's own loop, by another clock."""
        waiting, replies = set(grid.push_messages(messages)), list[Message]()
        del messages  # what they hold may be large, and is on its way
        began = time.monotonic()
        while waiting and (timeout is None or time.monotonic() - began < timeout):
            came = list(grid.pull_messages(waiting))
            replies += came
            waiting -= {reply.metadata.reply_to_message_id for reply in came}
            if waiting:
                time.sleep(getattr(grid, "pull_interval", PULL_SECONDS))
        return replies

    if not getattr(grid, "complete", False):
        grid.send_and_receive = send_and_receive  # type: ignore[method-assign]
        if (link := getattr(grid, "_runtime_client", None)) is not None:  # of Flower's grid over HTTP
            for name in HANDED_OUT:
                setattr(link, name, _patient(getattr(link, name)))
        grid.pull_messages = _unshaken(_patient(grid.pull_messages))  # type: ignore[method-assign]
        grid.get_node_ids = _patient(grid.get_node_ids)  # type: ignore[method-assign]
    return grid


def _patient(ask: Callable[P, T]) -> Callable[P, T]:
    """The same question, asked again for a while where the answer is an error of the server's own."""

    @wraps(ask)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        deadline = time.monotonic() + STUMBLE_SECONDS
        while True:
            try:
                return ask(*args, **kwargs)
            except httpx.HTTPStatusError as error:
                if not error.response.is_server_error or time.monotonic() > deadline:
                    raise
                remark(f"the SuperLink stumbled, and is asked again: {reason_of(error)}")
            time.sleep(PULL_SECONDS)

    return patient


def _unshaken(look: Callable[P, Iterable[Message]]) -> Callable[P, Iterable[Message]]:
    """The same look for answers. One that cannot be read ends no run.

    It is lost, with those that came beside it, and the next look says so of each.
    """

    @wraps(look)
    def unshaken(*args: P.args, **kwargs: P.kwargs) -> Iterable[Message]:
        try:
            return look(*args, **kwargs)
        except (httpx.HTTPError, MemoryError):
            raise
        except Exception as error:  # of reading bytes, which may be any
            remark(f"answers were lost, as one of them is none of Flower's: {reason_of(error)}")
            return []

    return unshaken
