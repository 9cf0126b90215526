"""The post: letters to views become messages to hosts, and the hosts' replies become answers of views.

Every letter is booked in the ledger. Answers are sorted by view name, never by node id or by arrival, so that the same
answers give the same bits in every place. A failure is an answer too: it is given back with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid

from fedkd.wire import Letter, about, address, letters, names
from strategies.ledger import Ledger
from strategies.roster import Roster

Answers = dict[str, Letter]
Failures = dict[str, str]


class Post:
    """One message for each host at a time, with a letter for each of its views.

    A message's group id is `run` and the round: hosts keep what they remember of one run apart from another's.
    """

    def __init__(self, roster: Roster, ledger: Ledger, run: str) -> None:
        self.roster, self.ledger, self.run = roster, ledger, run
        self._out: list[Message] = []

    def ask(
        self, grid: Grid, kind: str, told: Mapping[str, Letter], asked: Mapping[str, bool | int], *, timeout: float
    ) -> tuple[Answers, Failures]:
        """Send before round 1, wait, and sort the replies."""
        return self.sort(grid.send_and_receive(self.send(kind, 0, told, asked), timeout=timeout), 0)

    def send(
        self, kind: str, round: int, told: Mapping[str, Letter], asked: Mapping[str, bool | int | str]
    ) -> list[Message]:
        """One message for each host that serves a view of `told`, booked under `round`."""
        self._out = []
        for node, views in self._hosts(told).items():
            content = address({view: told[view] for view in views}, ConfigRecord({"views": list(views), **asked}))
            self.ledger.sent(round, content)
            self._out.append(Message(content, node, kind, group_id=f"{self.run}/{max(round, 0)}"))
        return self._out

    def sort(self, replies: Iterable[Message], round: int) -> tuple[Answers, Failures]:
        """(letters by view in name order, reasons by view that did not answer) to what was sent last."""
        expected: dict[int, list[str]] = {m.metadata.dst_node_id: _views(m) for m in self._out}
        node_of = {message.metadata.message_id: message.metadata.dst_node_id for message in self._out}
        answers: Answers = {}
        failures = {view: "no answer in time" for views in expected.values() for view in views}
        for reply in replies:
            node = node_of.get(reply.metadata.reply_to_message_id, reply.metadata.src_node_id)
            if reply.has_error():
                failures |= dict.fromkeys(expected.get(node, []), _reason(reply))
            else:
                self.ledger.received(round, reply.content)
                for view, letter in letters(reply.content).items():
                    if view not in expected.get(node, []):
                        continue  # a host answers for its own views
                    if "failed" in letter:
                        failures[view] = str(letter["failed"]["reason"])  # type: ignore[call-overload]
                    else:
                        answers[view] = letter
        missing = {view: reason for view, reason in failures.items() if view not in answers}
        return dict(sorted(answers.items())), missing

    def _hosts(self, told: Mapping[str, Letter]) -> dict[int, Sequence[str]]:
        if not set(told) <= set(self.roster.views):  # recordings are pooled: all views are on one node
            return {next(iter(self.roster.node_of.values())): list(told)}
        hosts = {node: [view for view in views if view in told] for node, views in self.roster.by_node().items()}
        return {node: views for node, views in hosts.items() if views}


def _views(message: Message) -> list[str]:
    return names(about(message.content), "views")


def _reason(reply: Message) -> str:
    """The last line of a client's error: what went wrong, without the stack above it."""
    lines = [line.strip() for line in (reply.error.reason or "").splitlines() if line.strip()]
    if not lines:
        return f"error {reply.error.code}"
    return lines[-1].rpartition(" occurred. Message: ")[2].removesuffix("'>")  # Flower's engine wraps a client's words


def too_few(answered: int, asked: int, needed: int, when: str, failures: Failures) -> str:
    """The sentence that ends a run for want of answers."""
    why = reasons(failures) or "no node serves the others"
    return f"{answered} of {asked} views answered {when}, {needed} needed: {why}."


def reasons(failures: Failures) -> str:
    """Each reason once; where views give one that differs in their names only, in the words of the first of them."""
    alike: dict[str, list[str]] = {}
    for view, reason in sorted(failures.items()):
        alike.setdefault(re.sub(rf"\b{re.escape(view)}\b", "", reason), []).append(view)
    said = []
    for without_name, (first, *others) in alike.items():
        named = without_name != failures[first] and others
        said.append(failures[first].rstrip(".") + (f" (so do {', '.join(others)})" if named else ""))
    return "; ".join(sorted(said))
