"""Deadlines that the server's clock does not move, and answers that are seen when they come.

Flower 1.41's own grids count the seconds of a round by the time of day. A clock that is put right in the middle of one
would end it at once, or prolong it by as much. And they look for answers every three seconds, so that answers wait for
half as long on average.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from flwr.app import Message
from flwr.serverapp import Grid

PULL_SECONDS = 0.5
"""Seconds between two looks at what has come, where the grid has no interval of its own. The SuperLink is next door."""


def steady(grid: Grid) -> Grid:
    """The same grid, whose deadlines count by a clock that only runs forward, as those of our own grids do already."""

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
    return grid
