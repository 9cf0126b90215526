"""What a round waits for beside the answers to its own messages.

It gives hosts that are still at an earlier round as long as those that it asked. Where too few views answered, the run
waits for those that were lost, and says so, before it ends.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from flwr.serverapp import Grid

from fedkd.data.pool import POOLED
from strategies.exchange import Exchange
from strategies.post import Post
from strategies.roster import LOOK_SECONDS, Announce


def linger(post: Post, grid: Grid, until: float) -> None:
    """Wait for answers of hosts that are still at an earlier round, up to a moment of the monotonic clock.

    Else rounds would follow on one another without them, and what they say would be many rounds old when it comes.
    """
    while post.is_held_up() and (left := until - time.monotonic()) > 0:
        time.sleep(min(LOOK_SECONDS, left))
        post.hear(grid)


def wait(post: Post, grid: Grid, views: Sequence[str], *, needed: int, patience: float, announce: Announce) -> Exchange:
    """How the exchange stands once `needed` views answered, nobody is lost, or `patience` is over."""
    deadline, exchange = time.monotonic() + patience, post.exchange
    while len(exchange.letters) < needed and exchange.lost and (left := deadline - time.monotonic()) > 0:
        lost = ", ".join(sorted(exchange.lost))
        announce(f"{len(exchange.letters)} views answered, {needed} needed: waiting for {lost}, {left:.0f} s left")
        time.sleep(min(LOOK_SECONDS, left))
        if POOLED not in exchange.lost:
            post.roster.welcome(grid, views)
        exchange = post.ask_again(grid)
    announce("")
    return exchange
