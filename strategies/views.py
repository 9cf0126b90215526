"""The one Flower strategy under all exchanges: views instead of nodes.

An exchange (`alone`, `distil`, `fedavg`) says what is told to a view and what becomes of the answers. Everything else
about a round is here, once; `Strategy.start` stays Flower's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedkd.errors import UserError
from fedkd.types import Tally
from fedkd.wire import Letter, number, unpack_events, unpack_soft, unpack_tally
from strategies.checkpoint import Standing
from strategies.exam import Consensus, Marks, fuse
from strategies.ledger import EXAM
from strategies.post import Failures, Post, too_few


@dataclass
class RoundNotes:
    """What became of one round: filled by the strategy, read by the observer."""

    round: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    clocks: dict[str, Mapping[str, float]] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    marks: dict[str, Marks] = field(default_factory=dict)
    teachers: dict[str, Marks] = field(default_factory=dict)
    fused: Marks | None = None
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """What every exchange of a run is given.

    post           the way to the hosts.
    pupils         names of the views that train: the roster's, or the one that holds the pooled recordings.
    num_clips      training clips of each pupil.
    first_letters  what each pupil is told before round 1: event labels, a teacher.
    rule           how the views' beliefs about one event are pooled, for a consensus and at an exam.
    min_views      fewer answers than this in a round end the run.
    exam_every     rounds from one exam to the next; the last round always has one.
    save_to        folder on the hosts' disks for the final students ("" keeps none).
    """

    post: Post
    pupils: tuple[str, ...]
    num_clips: Mapping[str, int]
    first_letters: Mapping[str, Letter]
    rule: Consensus
    rounds: int
    min_views: int
    exam_every: int
    save_to: str


class ViewStrategy(Strategy):
    """A Flower `Strategy` whose parties are views."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.notes = RoundNotes()
        self._arrays = ArrayRecord()
        self._greeted: set[str] = set()  # views that have answered a first letter
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
    def wish(self, server_round: int) -> dict[str, bool]:
        """What is asked of every view beside its tally: ``wants_soft``, ``wants_weights``."""

    @abstractmethod
    def hear(self, server_round: int, answers: Mapping[str, Letter], arrays: ArrayRecord) -> ArrayRecord:
        """What the answers, in name order of the views, leave for the next round."""

    def remind(self, arrays: ArrayRecord) -> Letter:
        """What a view is told before an exam (nothing, unless its student lives at the server)."""
        return {}

    def to_tell(self) -> dict[str, ArrayRecord]:
        """What it has yet to tell, by view, so that a run can go on elsewhere."""
        return {}

    def told_before(self, to_tell: Mapping[str, ArrayRecord]) -> None:
        """Go on with what another had yet `to_tell`."""

    # How it goes on where another was killed

    def standing(self, server_round: int, arrays: ArrayRecord) -> Standing:
        """How it stands after a round that left `arrays`."""
        return Standing(server_round, arrays, self.to_tell(), frozenset(self._greeted))

    def go_on(self, standing: Standing) -> None:
        """Stand as another did: Flower's first round is then the one after its last."""
        self.done, self._greeted = standing.round, set(standing.greeted)
        self.told_before(standing.told)

    # The round (Flower counts its rounds from 1; those `done` before come on top)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message for each host, with a letter for each of its views."""
        server_round += self.done
        self.notes = RoundNotes(server_round)
        self._arrays = arrays
        first = {v: letter for v, letter in self.setting.first_letters.items() if v not in self._greeted}
        told = {view: {**self.tell(view, server_round, arrays), **first.get(view, {})} for view in self.setting.pupils}
        asked = {"round": server_round, **self.wish(server_round)}
        return self.setting.post.send("train", server_round, told, asked)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """What the views that answered leave for the next round."""
        server_round += self.done
        answers, self.notes.failures = self.setting.post.sort(replies, server_round)
        self._require(len(answers), len(self.setting.pupils), f"in round {server_round}")
        self._greeted |= answers.keys()
        self._greeted -= {view for view, letter in answers.items() if "fresh" in letter}  # it remembers no letter
        for view, letter in answers.items():
            self.notes.tallies[view] = unpack_tally(letter["tally"])
            self.notes.clocks[view] = {name: number(letter["clock"], name) for name in letter["clock"]}
        return self.hear(server_round, answers, self._arrays), None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """An exam for every view, in the rounds that have one; the last one also saves the students."""
        server_round += self.done
        if not self._has_exam(server_round):
            return []
        last = server_round == self.setting.rounds
        asked = {"round": server_round} | ({"save_to": self.setting.save_to} if last and self.setting.save_to else {})
        told = {view: self.remind(arrays) for view in self.examined}
        return self.setting.post.send("evaluate", EXAM, told, asked)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Every view's marks and its teacher's, and the marks of the views fused."""
        server_round += self.done
        if not self._has_exam(server_round):
            return None
        answers, failures = self.setting.post.sort(replies, EXAM)
        self.notes.failures |= failures
        self._require(len(answers), len(self.examined), f"at the exam of round {server_round}")
        for view, letter in answers.items():
            truth = unpack_events(letter["truth"])
            self.notes.marks[view] = Marks.of(unpack_soft(letter["answers"]), truth)
            self.notes.digests[view] = str(letter["student"]["digest"])  # type: ignore[call-overload]
            if "teacher_answers" in letter:
                self.notes.teachers[view] = Marks.of(unpack_soft(letter["teacher_answers"]), truth)
            if "unsaved" in letter:
                self.notes.failures[view] = str(letter["unsaved"]["reason"])  # type: ignore[call-overload]
        self.notes.fused = fuse(self.notes.marks, self.setting.rule)
        return None

    def summary(self) -> None:
        """Nothing to say before the first round: the record says it."""

    def _has_exam(self, server_round: int) -> bool:
        return server_round == self.setting.rounds or server_round % self.setting.exam_every == 0

    def _require(self, answered: int, asked: int, when: str) -> None:
        needed = self.setting.min_views
        if answered < needed:
            raise UserError(too_few(answered, asked, needed, when, self.notes.failures))
