"""Hosts that lag: their answers come one message late. How they are known, and what brings them into step again.

A SuperNode of Flower 1.41 takes a message, waits until it has a reply, to whichever message, and sends every reply that
it has; then it takes the next message. Once it is left with a reply too many (how: docs/fleet.md, tests/test_lag.py) it
sends that one when a message comes, and the answer to this message when the next one comes, and so on.

known by  a reply that was made before the latest message to its host was, and came after it. A slow host makes its
          reply after that. Of a host whose link was cut it may be true once; of a slow one whose clock is late (Flower
          takes 305 seconds), or whose reply takes long to upload, again and again. So each time that a node is taken
          for one that lags it takes twice as many such replies until the next time.
cured by  two messages behind the next one. A SuperNode that lags takes this one and the first of the two before it
          waits; the answer leaves when it is there; it takes the second while the first waits for it on the host
          (clients/meeting.py). So both are replied to at one moment, leave together, and no reply is left.

A SuperNode that is in step takes the second after the first was answered, which has then waited in vain for a while:
ten seconds that a slow host does not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid

from fedkd.errors import remark
from fedkd.wire import address

PAIR = ("query.wait", "query.join")
"""The two messages."""

MOST_SIGNS = 8
"""The most replies, made before the latest message and come after it, by which a node is taken for one that lags."""


def hellos(nodes: Iterable[int], *kinds: str) -> list[Message]:
    """Ask nodes which views they serve, by a message of each kind."""
    return [Message(address({}, ConfigRecord()), node, kind) for node in nodes for kind in kinds]


@dataclass(slots=True)
class Lag:
    """Which nodes lag.

    latest  when the latest message to each node was made, in Unix seconds.
    cured   when the two messages to each were made: what it had made before says nothing any more.
    signs   replies since then by which a node may lag.
    needed  how many of them it takes; one where nothing is said.
    """

    nodes: set[int] = field(default_factory=set)
    latest: dict[int, float] = field(default_factory=dict)
    cured: dict[int, float] = field(default_factory=dict)
    signs: Counter[int] = field(default_factory=Counter)
    needed: dict[int, int] = field(default_factory=dict)

    def wrote(self, messages: Iterable[Message]) -> None:
        """Remember when these messages were made."""
        for message in messages:
            self.latest[message.metadata.dst_node_id] = message.metadata.created_at

    def judge(self, reply: Message, views: str) -> bool:
        """Whether a reply that nobody waited for any more looks like that of a node that lags.

        views  name it in the run's log.
        """
        node = reply.metadata.src_node_id
        if reply.has_error():
            return False  # it may be the SuperLink's, or made for a ClientApp that died
        if not self.cured.get(node, 0.0) < reply.metadata.created_at < self.latest.get(node, 0.0):
            return False
        self.signs[node] += 1
        if self.signs[node] >= self.needed.get(node, 1):
            self.nodes.add(node)
            remark(
                f"An answer of node {node} ({views}) was made before the next message to it and came after it: the "
                "SuperNode may be one message behind. It is brought into step; restart it if it lasts (docs/fleet.md)."
            )
        return True

    def bring_into_step(self, grid: Grid) -> list[Message]:
        """Send the two messages to each node that lags, and take it for one that does not until it is late again."""
        pairs = hellos(sorted(self.nodes), *PAIR)
        if pairs:
            grid.push_messages(pairs)
        for node in self.nodes:
            self.cured[node] = max(m.metadata.created_at for m in pairs if m.metadata.dst_node_id == node)
            self.needed[node] = min(2 * self.needed.get(node, 1), MOST_SIGNS)
            self.signs[node] = 0
        self.nodes.clear()
        return pairs
