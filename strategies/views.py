"""The one Flower strategy under all exchanges: views instead of nodes.

An exchange (`alone`, `distil`, `fedavg`) says what is told to a view and what becomes of the answers. Everything else
about a round is here, once; `Strategy.start` stays Flower's.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedkd.data.pool import POOLED
from fedkd.errors import UserError
from fedkd.metrics.marks import Marks, fuse
from fedkd.types import Consensus, Tally
from fedkd.wire import Kind, Letter, WireError, unpack_events
from strategies.answers import Answer, believed, merged, part, understand, understood
from strategies.checkpoint import Beginning, Standing
from strategies.enrol import enrol_late
from strategies.failures import Failures, add, late_reason, said_reason, too_few
from strategies.ledger import EXAM
from strategies.pace import EXAMINE, TRAIN
from strategies.post import Post
from strategies.quorum import linger, wait
from strategies.roster import Announce


@dataclass
class RoundNotes:
    """What became of one round: filled by the strategy, read by the observer.

    failures       why views have not answered in it.
    late           earlier rounds whose answers, or soft labels, counted in it since they came late.
    late_failures  what came in it in place of answers to earlier messages.
    """

    round: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    clocks: dict[str, Mapping[str, float]] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    late: dict[str, list[int]] = field(default_factory=dict)
    late_failures: Failures = field(default_factory=dict)
    marks: dict[str, Marks] = field(default_factory=dict)
    teachers: dict[str, Marks] = field(default_factory=dict)
    fused: Marks | None = None
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> Failures:
        """All that went wrong, by view."""
        said = dict(self.failures)
        for view, reason in self.late_failures.items():
            add(said, view, reason)
        return said


@dataclass(frozen=True)
class Setting:
    """What every exchange of a run is given.

    post           the way to the hosts.
    views          all views of the data set; those that no node serves yet may come later.
    beginning      who trains, with how many clips, and what each pupil is told first: event labels, a teacher.
    rule           how the views' beliefs about one event are pooled, for a consensus and at an exam.
    num_classes    K.
    timeout        seconds that a round waits for answers.
    min_views      the quorum: fewer answers than this in a round end the run,
    patience       but only after so many seconds of waiting for hosts that were lost, which `announce` tells of.
    staleness      weight of an answer that comes n rounds late: staleness ** n. 0 drops it.
    exam_every     rounds from one exam to the next; the last round always has one.
    save_to        folder for the final students of hosts without a disk of their own ("" keeps none, nowhere).
    """

    post: Post
    views: Sequence[str]
    beginning: Beginning
    rule: Consensus
    rounds: int
    num_classes: int
    timeout: float
    min_views: int
    patience: float
    staleness: float
    announce: Announce
    exam_every: int
    save_to: str

    @property
    def pupils(self) -> tuple[str, ...]:
        """Names of the views that train: those that enrolled, or the one that holds the pooled recordings."""
        return tuple(sorted(self.beginning.enrolment.num_clips))


class ViewStrategy(Strategy):
    """A Flower `Strategy` whose parties are views."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.notes = RoundNotes()
        self._arrays = ArrayRecord()
        self._greeted: set[str] = set()  # views that have answered a first letter
        self._since: dict[str, int] = {}  # the round from which on a view is told what it had not been told before
        enrolment, node_of = setting.beginning.enrolment, setting.post.roster.node_of
        unable = enrolment.failures.keys() - set(enrolment.lost)
        self._refused = {(view, node_of.get(view)) for view in unable}  # who said that it cannot enrol, and where
        self._grid: Grid
        self._until = 0.0  # when the round's time is over, by the monotonic clock
        self.done = 0  # rounds before the one that Flower counts as its first

    @property
    def examined(self) -> tuple[str, ...]:
        """The views that sit an exam: those that enrolled, or all whose recordings are pooled."""
        roster = self.setting.post.roster.views
        return tuple(view for view in roster if view in self.setting.pupils) or roster

    # What an exchange says

    @abstractmethod
    def tell(self, view: str, server_round: int, arrays: ArrayRecord) -> Letter:
        """What `view` is told before its round, given what the last round left in `arrays`."""

    @abstractmethod
    def wish(self, view: str, server_round: int) -> dict[str, bool]:
        """What is asked of a view beside its tally: ``wants_soft``, ``wants_weights``."""

    @abstractmethod
    def hear(self, server_round: int, answers: Mapping[str, Answer], arrays: ArrayRecord) -> ArrayRecord:
        """What the answers, in name order of the views, leave for the next round. Some may be `late`."""

    def weight_of(self, answer: Answer) -> float:
        """1 of an answer that came in time, less of a late one."""
        return float(self.setting.staleness**answer.late) if answer.late else 1.0

    def refuse(self, answer: Answer, beside: Collection[Answer]) -> None:
        """Raise a ValueError for an answer that this exchange cannot use; `beside` are all that came with it."""

    def remind(self, arrays: ArrayRecord) -> Letter:
        """What a view is told before an exam (nothing, unless its student lives at the server)."""
        return {}

    def forgot(self, view: str) -> None:
        """A view may have lost what it was told: it is told its first letter again."""
        self._greeted.discard(view)
        self._since[view] = self.notes.round + 1

    # How it goes on where another was killed

    def standing(self, server_round: int, arrays: ArrayRecord) -> Standing:
        """How it stands after a round that left `arrays`."""
        post, enrolment = self.setting.post, self.setting.beginning.enrolment
        greeted, books = frozenset(self._greeted), post.ledger.books()
        return Standing(server_round, arrays, enrolment, greeted, learned=post.learned(), books=books)

    def go_on(self, standing: Standing) -> None:
        """Stand as another did: Flower's first round is then the one after its last."""
        self.done, self._greeted = standing.round, set(standing.greeted)
        self.setting.post.go_on(standing.learned)

    # The round (Flower counts its rounds from 1; those `done` before come on top)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message for each host, with a letter for each of its views."""
        server_round += self.done
        self.notes = RoundNotes(server_round)
        self._arrays, self._grid = arrays, grid
        self._welcome(grid)
        first = {view: letter for view, letter in self.setting.beginning.letters().items() if view not in self._greeted}
        told = {view: {**self.tell(view, server_round, arrays), **first.get(view, {})} for view in self.setting.pupils}
        wished = {view: self.wish(view, server_round) for view in self.setting.pupils}
        self._until = time.monotonic() + self.setting.timeout
        return self.setting.post.send(grid, TRAIN, server_round, told, {"round": server_round}, wished)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """What the views that answered, now or late, leave for the next round."""
        server_round += self.done
        linger(self.setting.post, self._grid, self._until)
        in_time, late = self._in_time(replies), self._late()
        self._require(len(in_time), len(self.setting.pupils), f"in round {server_round}")
        answers = merged(in_time, late if self.setting.staleness else {})
        self._greeted |= {view for view, answer in answers.items() if not answer.unaware}
        self.notes.late = {v: sorted(server_round - delay for delay in a.delays) for v, a in answers.items()}
        left = self.hear(server_round, answers, self._arrays)
        self._tell_the_forgetful_again()
        return left, None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """An exam for every view, in the rounds that have one; the last one also saves the students."""
        server_round += self.done
        if not self._has_exam(server_round):
            return []
        last = server_round == self.setting.rounds
        asked = {"round": server_round} | ({"save_to": self.setting.save_to} if last and self.setting.save_to else {})
        self._grid = grid
        told = {view: self.remind(arrays) for view in self.examined}
        return self.setting.post.send(grid, EXAMINE, EXAM, told, asked, to_all=last)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Every view's marks and its teacher's, and the marks of the views fused."""
        server_round += self.done
        if not self._has_exam(server_round):
            return None
        _, nonsense = understood(self._enough(replies), self._mark)
        self.notes.failures |= nonsense
        self._note_late(self.setting.post.late_failures())
        self._tell_the_forgetful_again()
        self._require(len(self.notes.marks), len(self.examined), f"at the exam of round {server_round}")
        self.notes.fused = fuse(self.notes.marks, self.setting.rule)
        return None

    def summary(self) -> None:
        """Nothing to say before the first round: the record says it."""

    # Inside

    def _welcome(self, grid: Grid) -> None:
        """Let hosts that come late, or come back elsewhere, take part from here on."""
        post, enrolment = self.setting.post, self.setting.beginning.enrolment
        if POOLED in enrolment.num_clips:
            return
        post.roster.welcome(grid, self.setting.views)
        there = set(grid.get_node_ids())
        late = [
            view
            for view, node in post.roster.node_of.items()
            if view not in enrolment.num_clips and node in there and (view, node) not in self._refused
        ]
        if not late:
            return
        joined, failures = enrol_late(
            post, grid, enrolment, late, self.setting.num_classes, self.notes.round, timeout=self.setting.timeout
        )
        if len(joined.num_clips) > len(enrolment.num_clips):
            self._greeted.clear()  # what the newcomers know is told to all
            self._since = dict.fromkeys(joined.num_clips, self.notes.round)
        self.setting = replace(self.setting, beginning=replace(self.setting.beginning, enrolment=joined))
        self.notes.failures |= failures
        away = (view for view in late if view in failures and view not in post.exchange.lost)
        self._refused |= {(view, post.roster.node_of[view]) for view in away}

    def _in_time(self, replies: Iterable[Message]) -> dict[str, Answer]:
        """The answers to this round, taken down with the failures."""
        letters = self._enough(replies)
        answers, nonsense = self._understood({view: (self.notes.round, letter) for view, letter in letters.items()})
        self.notes.failures |= nonsense
        self.notes.tallies |= {view: answer.tally for view, answer in answers.items()}
        self.notes.clocks |= {view: answer.clock for view, answer in answers.items()}
        return answers

    def _late(self) -> dict[str, Answer]:
        """The answers to earlier rounds that have come since; what came in their place is taken down."""
        post, known = self.setting.post, dict[str, Answer]()
        came = post.late(self._grid)
        for nth in range(max(map(len, came.values()), default=0)):  # a view's first one, its second, ...
            letters = {view: late[nth] for view, late in came.items() if nth < len(late)}
            answers, nonsense = self._understood(letters)
            self._note_late({view: late_reason(letters[view][0], reason) for view, reason in nonsense.items()})
            for view, answer in answers.items():
                new = replace(answer, unaware=letters[view][0] < self._since.get(view, 0))
                known[view] = new.after(known[view]) if view in known else new
        self._note_late(post.late_failures())
        return known

    def _tell_the_forgetful_again(self) -> None:
        """Views that may have lost what they were told, and say so in time or late, are told it in the next round."""
        for view in self.setting.post.forgetful():
            self.forgot(view)

    def _enough(self, replies: Iterable[Message]) -> Mapping[str, Letter]:
        """The letters that came, if need be after waiting for those that were lost."""
        setting = self.setting
        setting.post.sort(replies)
        needed, patience = setting.min_views, setting.patience
        exchange = wait(
            setting.post, self._grid, setting.views, needed=needed, patience=patience, announce=setting.announce
        )
        self.notes.failures |= exchange.failures
        return exchange.letters

    def _note_late(self, failures: Failures) -> None:
        """Take down what came late and was no answer, or one that makes no sense."""
        for view, reason in failures.items():
            add(self.notes.late_failures, view, reason)

    def _understood(self, letters: Mapping[str, tuple[int, Letter]]) -> tuple[dict[str, Answer], Failures]:
        """The answers in letters of rounds, and why others make no sense."""

        def read(view: str, came: tuple[int, Letter]) -> Answer:
            round, letter = came
            return understand(letter, self.setting.num_classes, self.notes.round - round)

        def fitting(view: str, answer: Answer) -> Answer:
            self.refuse(answer, answers.values())
            return answer

        answers, nonsense = understood(letters, read)
        fit, others = understood(answers, fitting)
        return fit, {**nonsense, **others}

    def _mark(self, view: str, letter: Letter) -> None:
        """Take down what a view answered at an exam."""
        truth, k = unpack_events(part(letter, Kind.TRUTH)), self.setting.num_classes
        marks = Marks.of(believed(part(letter, Kind.ANSWERS), k), truth)
        teachers = None
        if Kind.TEACHER_ANSWERS in letter:
            teachers = Marks.of(believed(letter[Kind.TEACHER_ANSWERS], k), truth)
        if (wrong := truth.classes[truth.classes >= k]).numel():
            raise WireError(f"expected true classes 0 to {k - 1}, got class {int(wrong[0])}.")
        for given in (marks, teachers or marks):
            if (told := len(given.truth)) != (answered := len(given.answers)):
                raise WireError(f"expected the true class of each of {answered} events answered, got {told} of them.")
        student = str(part(letter, Kind.STUDENT)["digest"])  # type: ignore[call-overload]
        self.notes.digests[view], self.notes.marks[view] = student, marks
        if teachers is not None:
            self.notes.teachers[view] = teachers
        if Kind.UNSAVED in letter:
            self.notes.failures[view] = said_reason(letter[Kind.UNSAVED])

    def _has_exam(self, server_round: int) -> bool:
        return server_round == self.setting.rounds or server_round % self.setting.exam_every == 0

    def _require(self, answered: int, asked: int, when: str) -> None:
        needed = self.setting.min_views
        if answered < needed:
            raise UserError(too_few(answered, asked, needed, when, self.notes.reasons))
