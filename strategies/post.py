"""The post: letters to views become messages to hosts, and the hosts' replies become letters of views.

Every letter is booked in the ledger. Answers are sorted by view name, never by node id or by arrival, so that the same
answers give the same bits in every place. A failure is an answer too: it is given back with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import count

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid

from fedkd.data.pool import POOLED
from fedkd.wire import Kind, Letter, Record, address, letters
from strategies.answers import nonsense
from strategies.exchange import Exchange
from strategies.failures import Failures, add, brief, late_reason, said_reason
from strategies.lag import PAIR
from strategies.ledger import EXAM, Ledger
from strategies.pace import ENROL, EXAMINE, SILENT_ROUNDS, TRAIN, Pace, Sent
from strategies.roster import Roster

GONE = (3, 4, 5)
"""Flower's error codes of a message or a reply that cannot be had, and of a node that is gone."""

ANEW = "its student began anew: its host remembers nothing of this run"

WENT_BACK = "its student went back to round {stands}: its host has lost what it learned in {lost}"

Late = list[tuple[int, Letter]]
"""Letters of a view, each with the round that it answers, in the order of rounds."""


class Post:
    """One exchange at a time: a message for each host, with a letter for each of its views, and what they answer.

    A message's group id is `run` and the round: hosts keep what they remember of one run apart from another's. A reply
    counts once, and only to a message of ours; one to an earlier exchange's is given by `late`. Its bytes count in the
    round in which it came: what was written of earlier ones stays true.

    exchange  how this one stands.
    """

    def __init__(self, roster: Roster, ledger: Ledger, run: str) -> None:
        self.roster, self.ledger, self.run = roster, ledger, run
        self.exchange = Exchange()
        self._kind, self._round, self._now = "", 0, 0  # an exam has no round of its own; it is always in one
        self._told: Mapping[str, Letter] = {}
        self._files: dict[int, Record] = {}
        self._asked: Mapping[str, bool | int | str] = {}
        self._wished: Mapping[str, Mapping[str, bool]] = {}
        self._to_all = False
        self._numbers = count(1)
        self._waiting: list[Sent] = []
        self._older: list[Sent] = []
        self._late: dict[str, dict[str, Late]] = {}  # by kind of message, by view
        self._late_failures: Failures = {}
        self._forgetful: set[str] = set()
        self._learned: dict[str, set[int]] = {}  # rounds that views have said they made
        self._pace = Pace()

    def ask(
        self,
        grid: Grid,
        kind: str,
        told: Mapping[str, Letter],
        asked: Mapping[str, bool | int],
        *,
        timeout: float,
        round: int = 0,
    ) -> Exchange:
        """Send before a round's train messages (0: before round 1), wait, and sort the replies."""
        return self.sort(grid.send_and_receive(self.send(grid, kind, round, told, asked), timeout=timeout))

    def send(
        self,
        grid: Grid,
        kind: str,
        round: int,
        told: Mapping[str, Letter],
        asked: Mapping[str, bool | int | str],
        wished: Mapping[str, Mapping[str, bool]] | None = None,
        *,
        to_all: bool = False,
    ) -> list[Message]:
        """Begin an exchange: one message for each host that serves a view of `told`, booked under `round`.

        asked   what every message says of itself.
        wished  what is asked of each view beside it; a host with several is asked for what one of them is.
        to_all  to hosts, too, that are still at an earlier round or exam.

        Whoever calls sends them. What follows them to hosts that lag is sent here: it was made after them, and a
        SuperLink hands out what there is in the order in which it was made.
        """
        self._older += self._waiting
        self._now = max(self._now, round)
        self.hear(grid)
        self._kind, self._round, self._told, self._asked, self._wished = kind, round, told, asked, wished or {}
        self._to_all = to_all
        self._files = {}
        self.exchange, self._waiting = Exchange.among(told), []
        written = self._write(list(told))
        pairs = self.roster.lag.bring_into_step(grid)
        self._older += [self._sent(message, (), frozenset()) for message in pairs]  # nobody waits for them
        return written

    def sort(self, replies: Iterable[Message]) -> Exchange:
        """How the exchange stands now that these replies have come."""
        said, failed, there = dict[str, Letter](), Failures(), set[str]()
        for reply in replies:
            sent = _taken(self._waiting, reply)
            if sent is None:
                continue
            its_letters, its_failures = self._open(reply, sent)
            said |= its_letters
            failed |= its_failures
            if _is_there(reply):
                there |= set(sent.views)
                self._pace.heard(sent, late=False)
        self.exchange = self.exchange.heard(said, failed, there)
        return self.exchange

    def ask_again(self, grid: Grid) -> Exchange:
        """Sort what has come since; whose host is lost and back gets the exchange's message once more."""
        if waiting := [sent.id for sent in self._waiting]:
            self.sort(grid.pull_messages(waiting))
        self.hear(grid)
        there, under_way = set(grid.get_node_ids()), {view for sent in self._waiting for view in sent.views}
        back = [v for v in sorted(self.exchange.lost) if v not in under_way and self.node_of(v) in there]
        if back:
            grid.push_messages(self._write(back))
        return self.exchange

    def node_of(self, view: str) -> int | None:
        """The node that serves a view, or all of them where recordings are pooled."""
        return next(iter(self.roster.node_of.values())) if view == POOLED else self.roster.node_of.get(view)

    def late(self, grid: Grid, kind: str = TRAIN) -> dict[str, Late]:
        """What views have said since to messages of this kind of earlier exchanges."""
        self.hear(grid)
        return self._late.pop(kind, {})

    def learned(self) -> dict[str, list[int]]:
        """The rounds that each view has said it made."""
        return {view: sorted(rounds) for view, rounds in sorted(self._learned.items())}

    def go_on(self, learned: Mapping[str, Sequence[int]]) -> None:
        """Know what another knew of the rounds that views had made."""
        self._learned = {view: set(rounds) for view, rounds in learned.items()}

    def unanswered(self, view: str, kind: str) -> int:
        """Messages of this kind that a view was sent and has not answered."""
        return sum(sent.kind == kind and view in sent.views for sent in (*self._older, *self._waiting))

    def answers_due(self, view: str, kind: str, round: int, wish: str = "") -> int:
        """Answers to messages of this kind (with this wish) that may yet come; after some rounds none will."""
        return sum(
            sent.kind == kind and view in sent.views and (not wish or wish in sent.wishes)
            for sent in self._pace.open((*self._older, *self._waiting))
            if round - sent.round < SILENT_ROUNDS
        )

    def late_failures(self) -> Failures:
        """What has come since in place of answers to messages of earlier exchanges, or is wrong though one came."""
        came, self._late_failures = self._late_failures, {}
        return came

    def forgetful(self) -> set[str]:
        """Views that have said since, in time or late, that they may have lost what they were told."""
        said, self._forgetful = self._forgetful, set()
        return said

    def is_held_up(self) -> bool:
        """Whether a host that got no message of this exchange is still at an earlier one."""
        return any(self._still_at(node, served) for node, served in self._hosts(sorted(self.exchange.held)).items())

    def hear(self, grid: Grid) -> None:
        """Take in what has come to messages of earlier exchanges; by when it was made, hosts that lag are known."""
        replies = grid.pull_messages([sent.id for sent in self._older]) if self._older else ()
        for reply in sorted(replies, key=lambda reply: reply.metadata.created_at):
            sent = _taken(self._older, reply)
            if sent is None or sent.metadata.message_type in PAIR:
                continue
            lags = self.roster.lag.judge(reply, ", ".join(self.roster.by_node().get(reply.metadata.src_node_id, ())))
            if _is_there(reply):
                self._pace.heard(sent, late=not lags)  # a host that lags is not slow
            said, failed = self._open(reply, sent)
            for view, reason in failed.items():
                add(self._late_failures, view, late_reason(sent.round, reason))
            if sent.kind in (TRAIN, ENROL):
                late = self._late.setdefault(sent.kind, {})
                for view, letter in said.items():
                    late[view] = sorted((*late.get(view, ()), (sent.round, letter)), key=lambda one: one[0])

    def _still_at(self, node: int, served: Sequence[str]) -> int:
        """The earlier round, or EXAM, that a host must answer before it gets this exchange's message; 0: none."""
        if self._to_all:
            return 0
        if self._kind == EXAMINE:
            return self._pace.still_at_exam(node, self._older)
        wishes = _wishes(self._about(served))
        return self._pace.still_at(node, self._round, wishes, self._older) if self._kind == TRAIN else 0

    def _write(self, views: Sequence[str]) -> list[Message]:
        """The messages to the hosts of views of this exchange, those that are still at an earlier one left out."""
        written, asked, held = list[Message](), list[str](), dict[str, int]()
        for node, served in self._hosts(views).items():
            if earlier := self._still_at(node, served):
                held |= dict.fromkeys(served, earlier)
                continue
            letters_told = {view: self._told[view] for view in served}
            asks = self._about(served)
            about = ConfigRecord({"views": list(served), **asks})
            self.ledger.sent(self._round, letters_told, about)
            content = address(letters_told, about, self._files)
            message = Message(content, node, self._kind, group_id=f"{self.run}/{max(self._round, 0)}")
            written.append(message)
            asked += served
            self._waiting.append(self._sent(message, served, _wishes(asks)))
        self.exchange = self.exchange.written(asked, held)
        self.roster.lag.wrote(written)
        return written

    def _sent(self, message: Message, views: Sequence[str], wishes: Set[str]) -> Sent:
        return Sent(next(self._numbers), self._round, views, wishes, message.metadata)

    def _about(self, served: Sequence[str]) -> dict[str, bool | int | str]:
        """What a message to the host of these views says of itself."""
        wished = [self._wished.get(view, {}) for view in served]
        names = dict.fromkeys(name for wish in wished for name in wish)
        return {**self._asked, **{name: any(wish.get(name, False) for wish in wished) for name in names}}

    def _open(self, reply: Message, sent: Sent) -> tuple[dict[str, Letter], Failures]:
        """What a host's views say in a reply; a host answers for the views that it was asked about."""
        if reply.has_error():
            return {}, dict.fromkeys(sent.views, _reason(reply))
        try:
            came = letters(reply.content)
            self.ledger.received(EXAM if sent.round == EXAM else self._now, sent.views, came)
        except Exception as error:
            return {}, dict.fromkeys(sent.views, nonsense(error))
        said = {view: letter for view, letter in came.items() if view in sent.views}
        for view, fresh in ((view, letter[Kind.FRESH]) for view, letter in said.items() if Kind.FRESH in letter):
            self._forgetful.add(view)
            if fresh.get("anew"):
                add(self._late_failures, view, ANEW)
            if lost := self._lost(view, fresh.get("stands"), sent):
                why = WENT_BACK.format(stands=fresh["stands"], lost=", ".join(map(str, lost)))
                add(self._late_failures, view, why)
        failed = {view: "its host's answer says nothing of it" for view in sent.views if view not in said}
        failed |= {view: said_reason(letter[Kind.FAILED]) for view, letter in said.items() if Kind.FAILED in letter}
        if sent.trains:
            for view in said.keys() - failed.keys():
                self._learned.setdefault(view, set()).add(sent.round)
        return {view: letter for view, letter in said.items() if view not in failed}, failed

    def _lost(self, view: str, stands: object, sent: Sent) -> list[int]:
        """Rounds before a message that a view had made, and that its student no longer knows of; each is given once."""
        known = self._learned.get(view, set())
        before = sent.round if sent.trains else self._now + 1
        lost = sorted(round for round in known if isinstance(stands, int) and stands < round < before)
        known -= set(lost)
        return lost

    def _hosts(self, views: Sequence[str]) -> dict[int, Sequence[str]]:
        if POOLED in views:  # all views are on one node
            return {next(iter(self.roster.node_of.values())): list(views)}
        hosts = {node: [view for view in served if view in views] for node, served in self.roster.by_node().items()}
        return {node: served for node, served in hosts.items() if served}


def _wishes(about: Mapping[str, object]) -> Set[str]:
    return {name for name, wished in about.items() if wished is True}


def _taken(sent: list[Sent], reply: Message) -> Sent | None:
    """The message that a reply is to, taken from those sent; None if it is to none of them."""
    for index, one in enumerate(sent):
        if one.id and one.id == reply.metadata.reply_to_message_id:
            return sent.pop(index)
    return None


def _is_there(reply: Message) -> bool:
    return not reply.has_error() or reply.error.code not in GONE


def _reason(reply: Message) -> str:
    """The last line of a client's error: what went wrong, without the stack above it."""
    lines = [line.strip() for line in (reply.error.reason or "").splitlines() if line.strip()]
    if not lines:
        return f"error {reply.error.code}"
    words = lines[-1].rpartition(" occurred. Message: ")[2].removesuffix("'>")  # Flower's engine wraps a client's words
    return brief(words)
