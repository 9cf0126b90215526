"""Hosts that lag: their answers come one message late. How they are known, and what brings them into step again.

A SuperNode of Flower 1.41 takes a message, waits until it has a reply, to whichever message, and sends every reply that
it has; then it takes the next message. Once it is left with a reply too many (how: docs/fleet.md, tests/test_lag.py) it
sends that one when a message comes, and the answer to this message when the next one comes, and so on.

known by  a reply that was made before the latest message to its host was, and came after it. A slow host makes its
          reply after that. Of a host whose link was cut it may be true once.
cured by  two messages behind the next one. A SuperNode that lags takes this one and the first of the two before it
          waits; the answer leaves when it is there; it takes the second while the first waits for it on the host
          (clients/meeting.py). So both are replied to at one moment, leave together, and no reply is left.

A SuperNode that is in step takes the second after the first was answered, which has then waited in vain for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid

from fedkd.errors import remark
from fedkd.wire import address

PAIR = ("query.wait", "query.join")
"""The two messages."""


def hellos(nodes: Iterable[int], *kinds: str) -> list[Message]:
    """Ask nodes which views they serve, by a message of each kind."""
    return [Message(address({}, ConfigRecord({"round": 0})), node, kind) for node in nodes for kind in kinds]


@dataclass(slots=True)
class Lag:
    """Which nodes lag.

    latest  when the latest message to each node was made, in Unix seconds.
    cured   when the two messages to each were made: what it had made before says nothing any more.
    """

    nodes: set[int] = field(default_factory=set)
    latest: dict[int, float] = field(default_factory=dict)
    cured: dict[int, float] = field(default_factory=dict)

    def wrote(self, messages: Iterable[Message]) -> None:
        """Remember when these messages were made."""
        for message in messages:
            self.latest[message.metadata.dst_node_id] = message.metadata.created_at

    def judge(self, reply: Message, views: str) -> None:
        """Tell by a reply that nobody waited for any more whether its node lags; `views` names it in the run's log."""
        node = reply.metadata.src_node_id
        if reply.has_error():
            return  # it may be the SuperLink's, or made for a ClientApp that died
        if self.cured.get(node, 0.0) < reply.metadata.created_at < self.latest.get(node, 0.0):
            self.nodes.add(node)
            remark(
                f"An answer of node {node} ({views}) was made before the next message to it and came after it: the "
                "SuperNode may be one message behind. It is brought into step; restart it if it lasts (docs/fleet.md)."
            )

    def bring_into_step(self, grid: Grid) -> None:
        """Send the two messages to each node that lags, and take it for one that does not until it is late again."""
        if self.nodes:
            pairs = hellos(sorted(self.nodes), *PAIR)
            grid.push_messages(pairs)
            self.cured |= {message.metadata.dst_node_id: message.metadata.created_at for message in pairs}
            self.nodes.clear()
