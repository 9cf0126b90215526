"""What a camera was told or has said may be lost on the way: it is told again, and asked again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord

from fedkd.consensus.mean import mean_consensus
from fedkd.types import SoftLabels, Tally
from fedkd.wire import Letter, about, address, letters, pack_soft, pack_tally, unpack_soft
from simulations.host_grid import HostGrid
from simulations.identity import become_server, stamp
from strategies import checkpoint
from strategies.checkpoint import Beginning
from strategies.distil import Distil
from strategies.enrol import Enrolment
from strategies.ledger import Ledger
from strategies.pace import SILENT_ROUNDS
from strategies.post import ANEW, WENT_BACK, Post
from strategies.roster import Roster
from strategies.views import Setting

VIEWS = ("v01", "v02", "v03")
SAID = {view: SoftLabels.of(torch.tensor([1, 2]), torch.tensor([[p, 1 - p], [0.5, 0.5]]))
        for view, p in zip(VIEWS, (0.9, 0.8, 0.1), strict=True)}  # fmt: skip


class Hosts(HostGrid):
    """A host for each view, which answers when a test lets it."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(node_ids=lambda: [1, 2, 3]), 1)  # type: ignore[arg-type]
        self.sent: dict[tuple[int, str], Message] = {}
        self.ready: list[Message] = []
        self.enrols = 0
        self.waits: list[float] = []

    def push_messages(self, messages) -> list[str]:
        outgoing = list(messages)
        for message in outgoing:
            stamp(message)
            self.enrols += message.metadata.message_type == "query.enrol"
            round, [view] = int(about(message.content).get("round", 0)), about(message.content)["views"]  # type: ignore[arg-type, misc]
            self.sent[round, view] = message  # type: ignore[index]
        return [message.metadata.message_id for message in outgoing]

    def pull_messages(self, message_ids) -> list[Message]:
        asked = set(message_ids)
        came = [reply for reply in self.ready if reply.metadata.reply_to_message_id in asked]
        self.ready = [reply for reply in self.ready if reply not in came]
        return came

    def send_and_receive(self, messages, *, timeout=None) -> list[Message]:
        self.waits.append(timeout)
        return self.pull_messages(self.push_messages(messages))

    def answers(self, round: int, view: str, **more: object) -> None:
        """The answer of a view to a round is there now."""
        message = self.sent[round, view]
        said: Letter = {"tally": pack_tally(Tally(1)), "clock": MetricRecord({"seconds": 1.0}), **more}  # type: ignore[dict-item]
        if about(message.content).get("wants_soft"):
            said["soft"] = pack_soft(SAID[view])
        self.ready.append(Message(address({view: said}), reply_to=message))

    def is_asked_to_speak(self, round: int, view: str) -> bool:
        return bool(about(self.sent[round, view].content).get("wants_soft"))

    def is_told(self, round: int, view: str) -> bool:
        """Whether a round's message brings the consensus."""
        return "soft" in letters(self.sent[round, view].content).get(view, {})


@pytest.fixture
def hosts() -> Hosts:
    become_server(1)
    return Hosts()


def distil(
    first: int = 1, rounds: int = 20, staleness: float = 0.5, pupils: tuple[str, ...] = VIEWS, timeout: float = 0.0
) -> Distil:
    roster = Roster({"v01": 1, "v02": 2, "v03": 3}, {1, 2, 3}, claimed=set(VIEWS))
    enrolment = Enrolment(dict.fromkeys(pupils, 10), {}, {}, [], False)
    setting = Setting(
        post=Post(roster, Ledger(), "0123456789abcdef"), views=VIEWS, beginning=Beginning(enrolment, {}),
        rule=mean_consensus, rounds=rounds, num_classes=2, timeout=timeout, min_views=1, patience=0.0,
        staleness=staleness, announce=lambda what: None, exam_every=100, save_to="",
    )  # fmt: skip
    return Distil(setting, first=first, every=None)


class Run:
    """Rounds of a strategy, in which some views answer in time."""

    def __init__(self, strategy: Distil, hosts: Hosts) -> None:
        self.strategy, self.hosts, self.round, self.arrays = strategy, hosts, strategy.done, ArrayRecord()

    def round_of(self, *in_time: str, **more: object) -> None:
        self.round += 1
        sent = list(
            self.strategy.configure_train(self.round - self.strategy.done, self.arrays, ConfigRecord(), self.hosts)
        )
        ids = self.hosts.push_messages(sent)
        for view in in_time:
            self.hosts.answers(self.round, view, **more)
        replies = self.hosts.pull_messages(ids)
        left, _ = self.strategy.aggregate_train(self.round - self.strategy.done, replies)
        assert left is not None
        self.arrays = left


def test_a_view_whose_word_is_lost_is_asked_again_and_heard(hosts: Hosts) -> None:
    run = Run(distil(), hosts)
    run.round_of("v01", "v02")
    run.round_of(*VIEWS)  # v03 answers: what it was asked before it will not answer any more
    assert [hosts.is_asked_to_speak(2, view) for view in VIEWS] == [False] * 3, "its answer might have come"
    run.round_of(*VIEWS)
    assert [hosts.is_asked_to_speak(3, view) for view in VIEWS] == [False, False, True]
    run.round_of(*VIEWS)
    assert [hosts.is_asked_to_speak(4, view) for view in VIEWS] == [False] * 3
    assert [hosts.is_told(4, view) for view in VIEWS] == [True] * 3, "all hear what it had to say"
    pooled = unpack_soft(letters(hosts.sent[4, "v03"].content)["v03"]["soft"])
    assert pooled.probs[0, 0].item() == pytest.approx(0.6, abs=1e-3)


def test_a_view_that_never_answers_is_asked_as_often_as_it_is_written_to(hosts: Hosts) -> None:
    run = Run(distil(), hosts)
    for _ in range(3 * SILENT_ROUNDS):
        run.round_of("v01", "v02")
    asked = [round for round, view in hosts.sent if view == "v03" and hosts.is_asked_to_speak(round, view)]
    assert 1 < len(asked) <= 4


def test_nobody_is_asked_where_nobody_would_listen(hosts: Hosts) -> None:
    run = Run(distil(rounds=3), hosts)
    run.round_of("v01", "v02")
    run.round_of(*VIEWS)
    run.round_of(*VIEWS)
    assert "v03" not in run.strategy._tables and not hosts.is_asked_to_speak(3, "v03")


def test_whoever_goes_on_knows_who_has_spoken_and_pools_what_comes_with_it(hosts: Hosts) -> None:
    """The late word of v02 counts for half, in the run that was killed as in the one that goes on."""
    first = Run(distil(), hosts)
    first.round_of("v01")
    hosts.answers(1, "v02")
    first.round_of("v01", "v02")
    standing = first.strategy.standing(2, first.arrays)
    again = distil()
    again.go_on(standing)
    for view, table in first.strategy._tables.items():
        assert torch.equal(again._tables[view].probs, table.probs) and torch.equal(
            again._tables[view].weight, table.weight
        )
    assert sorted(again._tables) == ["v01", "v02"] and again._tables["v02"].weight[0] == 0.5 * SAID["v02"].weight[0]
    second = Run(again, hosts)
    second.arrays = standing.arrays
    second.round_of(*VIEWS)
    assert [hosts.is_asked_to_speak(3, view) for view in VIEWS] == [False, False, True]
    assert sorted(again._tables) == list(VIEWS)


def test_of_two_late_answers_the_older_ones_soft_labels_count(hosts: Hosts) -> None:
    run = Run(distil(), hosts)
    run.round_of("v01", "v02")
    run.round_of("v01", "v02")
    hosts.answers(2, "v03"), hosts.answers(1, "v03")
    run.round_of("v01", "v02")
    assert "v03" in run.strategy._tables
    assert run.strategy._tables["v03"].weight[0] == 0.5**2 * SAID["v03"].weight[0], "it is of round 1"
    assert run.strategy.notes.late["v03"] == [1, 2]


def test_an_answer_to_an_earlier_letter_does_not_tell_that_a_later_one_was_read(hosts: Hosts) -> None:
    """Round 3's message, which brings the consensus, never reaches v01; its answer to round 1 comes then."""
    run = Run(distil(first=2), hosts)
    run.round_of("v02", "v03")
    run.round_of(*VIEWS)
    hosts.answers(1, "v01")
    run.round_of("v02", "v03")
    assert hosts.is_told(3, "v01")
    run.round_of(*VIEWS)
    assert [hosts.is_told(4, view) for view in VIEWS] == [True, False, False]
    run.round_of(*VIEWS)
    assert not hosts.is_told(5, "v01")


def test_a_late_answer_to_the_letter_itself_tells_that_it_was_read(hosts: Hosts) -> None:
    run = Run(distil(), hosts)
    run.round_of(*VIEWS)
    run.round_of("v02", "v03")
    hosts.answers(2, "v01")
    run.round_of(*VIEWS)
    run.round_of(*VIEWS)
    assert hosts.is_told(2, "v01") and not hosts.is_told(4, "v01")


def test_a_student_that_began_anew_is_named(hosts: Hosts) -> None:
    run = Run(distil(), hosts)
    run.round_of(*VIEWS)
    run.round_of("v02", "v03")
    hosts.answers(2, "v01", fresh=ConfigRecord({"anew": True}))
    run.round_of("v02", "v03")
    assert run.strategy.notes.reasons["v01"].endswith(ANEW)


def test_a_student_that_lost_rounds_it_had_made_is_named_once(hosts: Hosts) -> None:
    """Not one that was not there in the rounds between."""
    run = Run(distil(), hosts)
    run.round_of(*VIEWS)
    run.round_of("v02", "v03")
    run.round_of(*VIEWS, fresh=ConfigRecord({"stands": 1}))
    assert run.strategy.notes.reasons.keys() == {"v02", "v03"}
    assert run.strategy.notes.reasons["v02"] == WENT_BACK.format(stands=1, lost="2")
    run.round_of(*VIEWS, fresh=ConfigRecord({"stands": 1}))
    assert run.strategy.notes.reasons["v02"] == WENT_BACK.format(stands=1, lost="3"), "2 was said before"
    run.round_of(*VIEWS)
    assert not run.strategy.notes.reasons


def test_a_student_that_lost_rounds_while_the_server_was_away_is_named(hosts: Hosts, tmp_path: Path) -> None:
    before = Run(distil(), hosts)
    for _ in range(3):
        before.round_of(*VIEWS)
    strategy = distil()
    checkpoint.keep(tmp_path, before.strategy.standing(3, before.arrays))
    strategy.go_on(checkpoint.last(tmp_path, 9))
    run = Run(strategy, hosts)
    run.round_of("v01", fresh=ConfigRecord({"stands": 1}))
    assert run.strategy.notes.reasons["v01"] == WENT_BACK.format(stands=1, lost="2, 3")


def test_a_view_that_needs_long_to_enrol_takes_part_when_its_answer_comes(hosts: Hosts) -> None:
    run = Run(distil(pupils=("v01", "v02")), hosts)
    for _ in range(4):
        run.round_of("v01", "v02")
    assert hosts.enrols == 2, "one may be lost"
    said: Letter = {"clips": MetricRecord({"train": 9, "teachers": 0})}
    hosts.ready.append(Message(address({"v03": said}), reply_to=hosts.sent[0, "v03"]))
    run.round_of(*VIEWS)
    assert run.strategy.setting.pupils == VIEWS and hosts.enrols == 2


def test_a_newcomer_that_hangs_is_waited_for_twice_and_no_longer_than_a_round(hosts: Hosts) -> None:
    run = Run(distil(pupils=("v01", "v02"), timeout=0.01), hosts)
    for _ in range(3 * SILENT_ROUNDS):
        run.round_of("v01", "v02")
    assert hosts.waits[:2] == [0.01, 0.01] and hosts.enrols > 2, "it is asked again now and then"
    assert not any(hosts.waits[2:])
