"""How much a host is given to do: what it can answer in time, and never a queue that grows.

A SuperNode takes one message after the other and drops none. A host that needs longer for a round than its `timeout`
would be ever more rounds late, and its last exam would wait behind all that it has yet to do. So

* a host has two train messages at most, one to work at and one that waits for it;
* one whose last answer was late has one. Its answers are then one round late as long as it needs less than two;
* a host has one exam at most, but for the last, which all are given.

Until it answers, rounds go on without it, unless a round wishes more of the views than those before: they speak in few.

A message may be lost for good, with the process that was at work on it. Flower says so where it is asked while the node
is away. Else the answer to a later message, an exam's too, tells that none to an earlier one will come; and any host is
written to again after a few rounds. (Messages with a short life in the SuperLink, Flower's `ttl`, would not do: a
slow host would always be at work on one about to die, whose answer is refused.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from flwr.app import Metadata

from strategies.ledger import EXAM

TRAIN, ENROL = "train", "query.enrol"
"""The kinds of message whose answers are of use when they come late."""

EXAMINE = "evaluate"

SILENT_ROUNDS = 5
"""Rounds after which a host that does not answer is written to again; as many times as it has messages."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way to a host.

    number    of this among all that were sent: the server's clock may be put back, and they are still in order.
    views     those it is for.
    wishes    what it asks beside the tally.
    metadata  of the message no more than its address.
    """

    number: int
    round: int
    views: Sequence[str]
    wishes: Set[str]
    metadata: Metadata

    @property
    def id(self) -> str:
        """Given by the grid when it is sent."""
        return self.metadata.message_id

    @property
    def node(self) -> int:
        """Where it goes."""
        return self.metadata.dst_node_id

    @property
    def kind(self) -> str:
        """Of message."""
        return str(self.metadata.message_type)

    @property
    def trains(self) -> bool:
        """Whether it is a round's."""
        return self.kind == TRAIN


@dataclass(slots=True)
class Pace:
    """What is known of how fast hosts answer.

    answered  number of the latest message that each node has answered.
    slow      nodes whose last answer to a train message was late.
    """

    answered: dict[int, int] = field(default_factory=dict)
    slow: set[int] = field(default_factory=set)

    def heard(self, sent: Sent, *, late: bool) -> None:
        """A node has answered a message. What it says of an earlier one than the last that it answered is no news."""
        if sent.number <= self.answered.get(sent.node, 0):
            return
        self.answered[sent.node] = sent.number
        if sent.trains:
            (self.slow.add if late else self.slow.discard)(sent.node)

    def open(self, unanswered: Iterable[Sent]) -> list[Sent]:
        """Those of the messages whose answers may yet come: their host has answered no later one."""
        return [sent for sent in unanswered if sent.number > self.answered.get(sent.node, 0)]

    def still_at(self, node: int, round: int, wishes: Set[str], unanswered: Iterable[Sent]) -> int:
        """The earlier round that a host must answer before it gets this round's message; 0 where it need not."""
        before = [sent for sent in self.open(unanswered) if sent.node == node and sent.trains]
        if not before or wishes - {wish for sent in before for wish in sent.wishes}:
            return 0
        recent = round - before[-1].round < SILENT_ROUNDS * len(before)
        return before[0].round if recent and (len(before) > 1 or node in self.slow) else 0

    def still_at_exam(self, node: int, unanswered: Iterable[Sent]) -> int:
        """EXAM where a host has one that it must answer before it gets another; 0 where it has none."""
        return EXAM if any(sent.node == node and sent.kind == EXAMINE for sent in self.open(unanswered)) else 0
