"""Hosts that lag: their answers come one message late. How they are known, and what makes them answer in time.

A SuperNode of Flower 1.41 takes a message, waits until it has a reply, to whichever message, and sends every reply that
it has; then it takes the next message. Once it is left with a reply too many (how: docs/fleet.md, tests/test_lag.py) it
sends that one when a message comes, and the answer to this message when the next one comes, and so on.

known by    a reply that was made before the latest message to its host was, and came after it. A slow host makes its
            reply after that. Of a host whose link was cut it is true once.
cured by    a hello right behind each message. A SuperNode that lags takes both before it waits for a reply. So the
            answer to the message leaves as soon as it is there; and where both replies are there when it looks (every
            half second), both leave and it is in step. Tried on Flower's own code; that it comes to that on a fleet is
            not shown.
over when   the reply to a hello came by itself. One that never lagged was sent one hello more than it needed; so one
            that had to be asked twice at the muster, and is slow or lags, is taken for one that does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from flwr.app import ConfigRecord, Message

from fedkd.errors import remark
from fedkd.wire import address


def hello(node: int) -> Message:
    """Asks a host which views it serves."""
    return Message(address({}, ConfigRecord({"round": 0})), node, "query.hello")


@dataclass(slots=True)
class Lag:
    """Which nodes lag.

    latest  when the latest message to each node was made, in Unix seconds.
    """

    nodes: set[int] = field(default_factory=set)
    latest: dict[int, float] = field(default_factory=dict)

    def wrote(self, messages: Iterable[Message]) -> None:
        """Remember when these messages were made."""
        for message in messages:
            self.latest[message.metadata.dst_node_id] = message.metadata.created_at

    def judge(self, reply: Message, views: str) -> None:
        """Tell by a reply that nobody waited for any more whether its node lags; `views` names it in the run's log."""
        node = reply.metadata.src_node_id
        if reply.has_error():
            return  # it may be the SuperLink's, or made for a ClientApp that died
        if reply.metadata.created_at > self.latest.get(node, 0.0):
            self.nodes.discard(node)
        else:
            self.nodes.add(node)
            remark(
                f"An answer of node {node} ({views}) was made before the next message to it, and came after that: its "
                "SuperNode may be one message behind. Until it is in step, each message to it is followed by another; "
                "restart it if this lasts (docs/fleet.md)."
            )

    def behind(self, messages: Iterable[Message]) -> list[Message]:
        """What is to follow these messages: a hello to each node that lags."""
        return [hello(node) for node in (message.metadata.dst_node_id for message in messages) if node in self.nodes]
