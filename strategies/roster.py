"""Who takes part: which node serves which views.

The server cannot see a node's configuration, so it asks. Nodes that name their views keep them; the other views are
dealt to the other nodes in name order, so that two nodes can serve any number of cameras. Nodes come and go: one that
comes later is asked when it is first seen.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from flwr.app import Message
from flwr.serverapp import Grid

from fedkd.errors import UserError
from fedkd.wire import WireError, about, names
from strategies.lag import PAIR, Lag, hellos

Announce = Callable[[str], None]
"""Tells whoever watches the run what it waits for; "" when it waits no longer."""

NEWCOMER_SECONDS = 10.0
"""Seconds that a node which comes later has to say which views it serves: the others wait for it."""

LOOK_SECONDS = 1.0
"""Seconds between two looks at who has come."""

MOST_HELLOS = 2
"""Messages that ask a node and that it has not answered: one may be lost, or stay in a SuperNode that lags."""


@dataclass(slots=True)
class Roster:
    """view -> node, in name order of the views.

    asked       nodes that were asked which views they serve, and whose answer was taken.
    met         nodes that were waited for, whatever they answered.
    claimed     views that a node's configuration names: they are never dealt to another.
    unanswered  {id: node} of the messages that asked, without an answer in time; one that comes later counts.
    lag         which nodes answer one message late.
    """

    node_of: dict[str, int]
    asked: set[int] = field(default_factory=set)
    claimed: set[str] = field(default_factory=set)
    unanswered: dict[str, int] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)
    lag: Lag = field(default_factory=Lag)

    @property
    def views(self) -> tuple[str, ...]:
        """The views, in name order."""
        return tuple(self.node_of)

    def unserved(self, views: Sequence[str]) -> dict[str, str]:
        """view -> why it takes no part, for those of `views` that no node serves."""
        return {view: "no node serves it" for view in views if view not in self.node_of}

    def awaited(self, views: Sequence[str], needed: int, expected: Collection[str]) -> str:
        """The names of those of `views` without which a run does not begin while it has patience; "" where it may."""
        lacking = set(self.unserved(views)) if len(self.node_of) < needed else set()
        return ", ".join(sorted(lacking | (set(expected) - self.node_of.keys())))

    def by_node(self) -> dict[int, list[str]]:
        """node -> its views, both in name order of the views."""
        served: dict[int, list[str]] = {}
        for view, node in self.node_of.items():
            served.setdefault(node, []).append(view)
        return served

    def welcome(self, grid: Grid, views: Sequence[str]) -> None:
        """Ask nodes that were not there before which of `views` they serve, and deal them those whose node is gone.

        One that did not answer, or whose answer cannot be taken (its ClientApp raises, its views are not of this run or
        another's), is asked again, since it may come back with another configuration; but nobody waits for it again:
        what it says is read at the next look.
        """
        there = set(grid.get_node_ids())
        if not there - self.asked:
            return
        newcomers = self._late_claims(grid)
        newcomers |= self._ask(grid, sorted(there - self.asked - self.met - newcomers.keys()), NEWCOMER_SECONDS)
        served = {view for view in self.claimed if self.node_of[view] in there}
        claimed = {view: node for node, said in newcomers.items() for view in said if view in {*views} - served}
        refused = {node for node, said in newcomers.items() if any(claimed.get(view) != node for view in said)}
        self.asked |= newcomers.keys() - refused  # who is refused may be the same host as who has the view, or its heir
        self.claimed |= claimed.keys()
        lost = [view for view in sorted(views) if view not in self.claimed and self.node_of.get(view) not in there]
        free = [node for node, said in sorted(newcomers.items()) if not said]
        self.node_of = dict(sorted({**self.node_of, **_spread(lost, free), **claimed}.items()))
        under_way = Counter(self.unanswered.values())
        again = hellos((node for node in sorted(there - self.asked) if under_way[node] < MOST_HELLOS), "query.hello")
        grid.push_messages(again)
        self._sent(again)

    def ask(self, grid: Grid, nodes: Sequence[int], patience: float) -> tuple[dict[int, list[str]], list[str]]:
        """({node: the views it says it serves}, why others could not answer). Whoever is late may lag."""
        unable: list[str] = []
        claims = self._ask(grid, nodes, patience / 2, unable)
        if silent := sorted(self.unanswered.values()):
            replies = list(grid.send_and_receive(hellos(silent, *PAIR), timeout=patience / 2))
            claims |= self._claims(replies, unable) | self._late_claims(grid)
            replied = Counter(reply.metadata.src_node_id for reply in replies)
            self.lag.nodes |= {node for node in silent if node in claims and replied[node] < len(PAIR)}
        return claims, unable

    def _ask(
        self, grid: Grid, nodes: Sequence[int], patience: float, unable: list[str] | None = None
    ) -> dict[int, list[str]]:
        """node -> the views it says it serves, of the nodes that answer in time."""
        if not nodes:
            return {}
        self.met |= set(nodes)
        asked = hellos(nodes, "query.hello")
        replies = list(grid.send_and_receive(asked, timeout=patience))
        self._sent(asked)
        return self._claims(replies, unable)

    def _sent(self, asked: Sequence[Message]) -> None:
        self.lag.wrote(asked)
        self.unanswered |= {message.metadata.message_id: message.metadata.dst_node_id for message in asked}

    def _late_claims(self, grid: Grid) -> dict[int, list[str]]:
        """What nodes that had not answered in time have said since."""
        replies = list(grid.pull_messages(sorted(self.unanswered))) if self.unanswered else []
        claims = self._claims(replies)
        for reply in replies:
            self.lag.judge(reply, ", ".join(claims.get(reply.metadata.src_node_id, ())))
        return claims

    def _claims(self, replies: Iterable[Message], unable: list[str] | None = None) -> dict[int, list[str]]:
        """What replies claim; why a node could not answer goes to `unable`."""
        claims = {}
        for reply in replies:
            self.unanswered.pop(reply.metadata.reply_to_message_id, None)
            with suppress(WireError):  # who says nothing of views serves none
                if reply.has_content():
                    claims[reply.metadata.src_node_id] = names(about(reply.content), "views")
                elif unable is not None:
                    unable.append(" ".join(str(reply.error.reason).split())[-300:])
        return claims


def muster(
    grid: Grid,
    views: Sequence[str],
    *,
    together: bool,
    patience: float,
    announce: Announce,
    needed: int = 1,
    expected: Collection[str] = (),
) -> Roster:
    """Wait until nodes are there, ask which views they serve, and deal the rest.

    together  every view must be on one node (recordings are pooled).
    needed    views without which no round counts: nodes that serve so many are waited for.
    expected  views that took part before, in a run that goes on: their nodes are waited for.
    patience  seconds to wait for the first nodes, for their answers, and for the others.
    announce  says to whoever watches what is waited for; whoever is missing then, the run takes up without.
    """
    nodes, roster = _wait_for_nodes(grid, patience, announce), Roster({})
    claims, unable = roster.ask(grid, nodes, patience)
    if not claims:
        why = "; ".join(dict.fromkeys(unable)) or "is the ClientApp running?"
        raise UserError(f"expected an answer from one of {len(nodes)} nodes within {patience:.0f} s, got none; {why}")
    if together:
        return replace(roster, node_of=dict.fromkeys(sorted(views), min(claims)), asked=set(claims))
    claimed = {view for said in claims.values() for view in said}
    roster = replace(roster, node_of=deal(views, claims), asked=set(claims), claimed=claimed)
    deadline = time.monotonic() + patience
    while (awaited := roster.awaited(views, needed, expected)) and (left := deadline - time.monotonic()) > 0:
        if _is_complete(grid):
            break
        announce(f"{len(roster.views)} of {len(views)} views are here: waiting for {awaited}, {left:.0f} s left")
        time.sleep(min(LOOK_SECONDS, left))
        roster.welcome(grid, views)
    announce("")
    return roster


def deal(views: Sequence[str], claims: Mapping[int, Sequence[str]]) -> dict[str, int]:
    """view -> node: a claimed view to the node that claims it, the others in name order to the nodes without claims."""
    node_of: dict[str, int] = {}
    for node in sorted(claims):
        for view in claims[node]:
            if view not in views:
                raise UserError(
                    f"expected nodes to serve views of {', '.join(views)}, "
                    f"got '{view}' from node {node}; mend its node config."
                )
            if view in node_of:
                raise UserError(
                    f"expected each view on one node, but nodes {node_of[view]} and {node} both claim '{view}'; "
                    "mend a node config."
                )
            node_of[view] = node
    free = [node for node in sorted(claims) if not claims[node]]
    unclaimed = [view for view in sorted(views) if view not in node_of]
    return dict(sorted({**node_of, **_spread(unclaimed, free)}.items()))


def _spread(views: Sequence[str], nodes: Sequence[int]) -> dict[str, int]:
    """view -> node, evenly; empty without nodes."""
    return {view: nodes[index * len(nodes) // len(views)] for index, view in enumerate(views)} if nodes else {}


def _wait_for_nodes(grid: Grid, patience: float, announce: Announce) -> list[int]:
    """The nodes that are there once their number has been steady for a moment."""
    deadline = time.monotonic() + patience
    seen: list[int] = []
    while time.monotonic() < deadline:
        nodes = sorted(grid.get_node_ids())
        if nodes and (nodes == seen or _is_complete(grid)):
            return nodes
        if not nodes:
            announce(f"no host is here yet: waiting, {deadline - time.monotonic():.0f} s left")
        seen = nodes
        time.sleep(0.5)
    if seen:
        return seen
    raise UserError(f"expected at least one node within {patience:.0f} s, got none; start the SuperNodes first.")


def _is_complete(grid: Grid) -> bool:
    """Whether all nodes that a grid can have are there from the beginning, as in the places of our own."""
    return bool(getattr(grid, "complete", False))
