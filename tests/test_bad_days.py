"""Rounds on a bad day: hosts that are late, gone, broken or lying, and a run that goes on."""

import contextlib
import os
import random
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from flwr.app import ConfigRecord, Message, MetricRecord
from tiny import late_rounds, no_answer_counted_twice, only_folder, run, statuses, summary

from clients import memory
from fedkd.errors import UserError
from fedkd.wire import about, address, letters
from simulations import local
from simulations.host_grid import LOST, HostGrid, failed
from simulations.identity import stamp
from simulations.run import run_one
from strategies.roster import Roster

WORDS = ("place.workers=1", "timeout=0.05", "patience=5")
Faults = dict[tuple[str, int, str], str]
"""(kind of message, round, view) -> what happens to it."""


class Killed(BaseException):
    """The server is killed: no part of a run catches it."""


class FaultyHosts(local.HostsHere):
    """Hosts in this process, one a view, to which faults happen."""

    faults: ClassVar[Faults] = {}
    views = ("v01", "v02", "v03")
    pinned = False
    """Whether they name their views, so that none is dealt to another."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        for view, context in zip(self.views, self._contexts.values(), strict=False):
            context.node_config["views"] = view if self.pinned else ""
        self._late: list[tuple[Future[Message], Message]] = []

    def submit(self, messages: list[Message]) -> list[Future[Message]]:  # type: ignore[override]
        for future, reply in self._late:
            future.set_result(reply)
        self._late = []
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Future[Message]:
        kind, round = message.metadata.message_type, int(about(message.content).get("round", 0))  # type: ignore[arg-type]
        fault = self.faults.pop((kind, round, self.views[message.metadata.dst_node_id - 1]), "")
        future: Future[Message] = Future()
        match fault:
            case "gone":
                future.set_result(failed(message, ConnectionError("the host is gone"), LOST))
            case "raises":
                future.set_result(failed(message, RuntimeError("lens cap")))
            case "silent":
                pass
            case "late":
                self._late.append((future, self._reply(message)))
            case "raises late":
                self._late.append((future, failed(message, RuntimeError("lens cap"))))
            case "garbage late":
                self._late.append((future, _spoilt(self._reply(message), message)))
            case "twice":
                self._reply(message)
                future.set_result(self._reply(message))
            case "restarted":
                memory.forget(os.getpid())
                future.set_result(self._reply(message))
            case "restarted late":
                memory.forget(os.getpid())
                self._late.append((future, self._reply(message)))
            case "garbage":
                future.set_result(_spoilt(self._reply(message), message))
            case "full disk":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(memory, "seal", _no_room)
                    future.set_result(self._reply(message))
            case "server killed":
                raise Killed
            case _:
                future.set_result(self._reply(message))
        return future

    def _reply(self, message: Message) -> Message:
        return local.answer(message, self._contexts[message.metadata.dst_node_id])


def _no_room(path: Path, tensors: object) -> None:
    raise UserError(f"cannot write to {path.parent}: no space left on device")


def _spoilt(reply: Message, message: Message) -> Message:
    """The same reply with nonsense in every letter, and about it."""
    nonsense = MetricRecord({"count": 1.0, "supervised": float("nan")})
    told = {view: dict.fromkeys(letter, nonsense) for view, letter in letters(reply.content).items()}
    return Message(address(told, ConfigRecord({"round": 1})), reply_to=message)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch):
    """Run the tiny job with these faults; its result folder."""

    def go(results: Path, faults: Faults, *words: str) -> Path:
        monkeypatch.setattr(FaultyHosts, "faults", dict(faults))
        monkeypatch.setattr(local, "HostsHere", FaultyHosts)
        return run(results, *WORDS, *words)

    return go


def failures(folder: Path) -> list[tuple[int, str]]:
    return [(failure["round"], failure["view"]) for failure in summary(folder)["failures"]]


def column(folder: Path, name: str) -> pd.Series:
    """A column of rounds.csv by (round, view)."""
    return pd.read_csv(folder / "rounds.csv").set_index(["round", "view"])[name]


def test_what_a_view_says_late_is_told_with_less_weight(faulty, tmp_path: Path) -> None:
    words, fault = ("rounds=5", "speak_after=2", "evaluate_every=5"), {("train", 2, "v02"): "late"}
    calm = faulty(tmp_path / "calm", {}, *words)
    late = faulty(tmp_path / "late", fault, *words)
    deaf = faulty(tmp_path / "deaf", fault, *words, "strategy.staleness=0")
    assert statuses(late)[2, "v02"] == "no answer in time" and statuses(late)[3, "v02"] == "ok"
    heard = {
        folder: pd.read_csv(folder / "rounds.csv").set_index(["round", "view"])["consensus"]
        for folder in (calm, late, deaf)
    }
    assert heard[calm][3, "v02"] > 0 and heard[late][4, "v02"] > 0 and not heard[deaf][4, "v02"] > 0
    assert heard[deaf][5, "v02"] > 0, "it is asked again"
    assert [late_rounds(folder) for folder in (calm, late, deaf)] == [{}, {(3, "v02"): [2]}, {}]
    assert len({summary(folder)["digest"] for folder in (calm, late, deaf)}) == 3


def test_that_a_late_answer_counted_is_still_written_after_the_server_was_killed(faulty, tmp_path: Path) -> None:
    faults: Faults = {("train", 2, "v02"): "late", ("train", 4, "v01"): "server killed"}
    with pytest.raises(Killed):
        faulty(tmp_path, faults, "rounds=5", "speak_after=2", "evaluate_every=5")
    folder = only_folder(tmp_path)
    memory.forget(os.getpid())
    run_one(summary(folder)["overrides"], folder=folder)
    assert summary(folder)["status"] == "finished" and late_rounds(folder) == {(3, "v02"): [2]}


def test_a_view_whose_host_is_gone_when_the_views_speak_speaks_when_it_is_back(faulty, tmp_path: Path) -> None:
    folder = faulty(tmp_path, {("train", 2, "v02"): "gone"}, "rounds=5", "speak_after=2")
    heard = column(folder, "consensus")
    assert not heard[3, "v02"] > 0 and heard[4, "v02"] > 0


LATE: Faults = {("train", 1, "v01"): "late", ("train", 3, "v02"): "late", ("train.teacher", 2, "v02"): "late"}


@pytest.mark.parametrize("enrolment", ["late", "gone", "garbage"])
def test_the_rows_hold_every_byte_of_the_summary(faulty, tmp_path: Path, enrolment: str) -> None:
    faults: Faults = {**LATE, ("query.enrol", 0, "v03"): enrolment, ("train", 5, "v01"): "server killed"}
    with contextlib.suppress(Killed):
        faulty(tmp_path, faults, "rounds=6", "speak_after=2", "teaching.origin=federated", "teaching.rounds=2")
    folder = only_folder(tmp_path)
    memory.forget(os.getpid())
    run_one(summary(folder)["overrides"], folder=folder)
    assert summary(folder)["status"] == "finished" and not FaultyHosts.faults
    for way in ("bytes_up", "bytes_down"):
        assert column(folder, way).sum() == summary(folder)[way], way
    assert statuses(folder)[0, "v03"] != "enrolled"


def test_an_exam_that_is_answered_late_costs_its_bytes(faulty, tmp_path: Path) -> None:
    calm, late = (
        summary(faulty(tmp_path / name, faults, "rounds=4", "evaluate_every=2"))["bytes_exams"]
        for name, faults in (("calm", {}), ("late", {("evaluate", 2, "v01"): "late"}))
    )
    assert calm == late


def test_late_weights_are_averaged_with_less_weight(faulty, tmp_path: Path) -> None:
    words = ("strategy=fedavg", "teacher=none", "rounds=3")
    faults: Faults = {("train", 1, "v02"): "late", ("train", 2, "v02"): "gone"}
    folders = [
        faulty(tmp_path / weight, faults, *words, f"strategy.staleness={weight}") for weight in ("0.0", "0.5", "1.0")
    ]
    assert len({summary(folder)["digest"] for folder in folders}) == 3
    assert [late_rounds(folder) for folder in folders] == [{}, *[{(2, "v02"): [1]}] * 2]


@pytest.mark.parametrize("strategy", ["distil", "fedavg"])
def test_a_late_answer_that_adds_nothing_to_one_in_time_counts_nothing(faulty, tmp_path: Path, strategy: str) -> None:
    words = (f"strategy={strategy}", "teacher=none", "rounds=4", "speak_after=2")
    late = faulty(tmp_path, {("train", 1, "v02"): "late"}, *words)
    assert statuses(late)[1, "v02"] == "no answer in time" and statuses(late)[2, "v02"] == "ok"
    assert late_rounds(late) == {}


@pytest.mark.parametrize(
    ("kind", "fault", "reason"),
    [
        ("train", "raises late", "late, to round 1: RuntimeError: lens cap"),
        ("train", "garbage late", "late, to round 1: its answer makes no sense"),
        ("evaluate", "raises late", "late, to an exam: RuntimeError: lens cap"),
    ],
)
def test_why_a_host_that_is_late_fails_is_recorded(faulty, tmp_path: Path, kind: str, fault: str, reason: str) -> None:
    folder = faulty(tmp_path, {(kind, 1, "v01"): fault}, "rounds=2", "strategy=alone")
    assert failures(folder) == [(1, "v01"), (2, "v01")]
    first, late = (failure["reason"] for failure in summary(folder)["failures"])
    assert first == "no answer in time" and late.startswith(reason)
    assert statuses(folder)[2, "v01"] == "ok", "to round 2 it has answered"


def test_a_quorum_that_is_missing_ends_the_run_with_what_came_late_too(faulty, tmp_path: Path) -> None:
    faults: Faults = {("train", 1, "v01"): "raises late", ("train", 2, "v01"): "silent", ("train", 2, "v02"): "raises"}
    with pytest.raises(UserError, match=r"1 of 3 .* in round 2, 2 needed: RuntimeError: lens cap; .*late, to round 1"):
        faulty(tmp_path, faults, "patience=0.1", "min_views=2", "strategy=alone")


@pytest.mark.parametrize("strategy", ["distil", "fedavg"])
def test_an_answer_that_makes_no_sense_is_its_views_failure(faulty, tmp_path: Path, strategy: str) -> None:
    faults: Faults = {("train", 1, "v01"): "garbage", ("evaluate", 2, "v03"): "garbage"}
    folder = faulty(tmp_path, faults, f"strategy={strategy}", "teacher=none")
    told = summary(folder)
    assert told["status"] == "finished" and sorted(told["accuracy"]) == ["v01", "v02"]
    assert failures(folder) == [(1, "v01"), (2, "v03")]
    assert all("its answer makes no sense" in failure["reason"] for failure in told["failures"])
    assert statuses(folder)[2, "v01"] == "ok"


def test_an_answer_that_makes_no_sense_costs_the_others_nothing_before_round_1(faulty, tmp_path: Path) -> None:
    faults: Faults = {("query.enrol", 0, "v01"): "garbage", ("train.teacher", 1, "v02"): "garbage"}
    folder = faulty(tmp_path, faults, "teaching.origin=federated", "teaching.rounds=2")
    told = summary(folder)
    assert told["status"] == "finished" and sorted(told["accuracy"]) == ["v02", "v03"]
    assert failures(folder) == [(0, "v01"), (0, "v02")] and statuses(folder)[1, "v02"] == "ok"
    assert told["failures"][1]["reason"].startswith("in round 1 of the teacher: its answer makes no sense")


def test_a_missing_quorum_is_waited_for_and_the_run_goes_on(faulty, tmp_path: Path, monkeypatch) -> None:
    said = []
    monkeypatch.setattr("fedkd.record.Record.wait_for", lambda self, what: said.append(what))
    folder = faulty(tmp_path, {("train", 2, "v02"): "gone"}, "min_views=3")
    assert summary(folder)["status"] == "finished" and not failures(folder)
    assert any("2 views answered, 3 needed: waiting for v02" in what for what in said) and said[-1] == ""


def test_a_quorum_that_stays_away_ends_the_run_and_it_can_go_on(faulty, tmp_path: Path) -> None:
    calm = summary(faulty(tmp_path / "calm", {}))["digest"]
    with pytest.raises(UserError, match=r"2 of 3 views answered in round 2, 3 needed: no answer in time"):
        faulty(tmp_path / "cut", {("train", 2, "v02"): "silent"}, "min_views=3", "patience=1.5")
    folder = only_folder(tmp_path / "cut")
    assert summary(folder)["status"] == "failed"
    memory.forget(os.getpid())
    run_one(summary(folder)["overrides"], folder=folder)
    assert summary(folder)["status"] == "finished" and summary(folder)["digest"] == calm


def test_a_run_does_not_begin_below_its_quorum_while_hosts_may_come(faulty, tmp_path: Path, monkeypatch) -> None:
    looks, said, node_ids = count(), list[str](), FaultyHosts.node_ids
    monkeypatch.setattr(HostGrid, "complete", False)
    monkeypatch.setattr(FaultyHosts, "node_ids", lambda hosts: node_ids(hosts)[: (0, 2, 2, 2, 3)[min(next(looks), 4)]])
    monkeypatch.setattr(FaultyHosts, "pinned", True)
    monkeypatch.setattr("fedkd.record.Record.wait_for", lambda self, what: said.append(what))
    told = summary(faulty(tmp_path, {}, "min_views=3"))
    assert sorted(told["accuracy"]) == ["v01", "v02", "v03"] and not told["failures"]
    assert said[0] == "no host is here yet: waiting, 5 s left"
    assert said[1] == "2 of 3 views are here: waiting for v03, 5 s left" and said[-1] == ""


def test_a_quorum_that_does_not_come_ends_the_run_before_it_begins(faulty, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(HostGrid, "complete", False)
    monkeypatch.setattr(FaultyHosts, "node_ids", lambda hosts: [1, 3])
    monkeypatch.setattr(FaultyHosts, "pinned", True)
    with pytest.raises(UserError, match=r"2 of 2 views answered at enrolment, 3 needed: no node serves the others"):
        faulty(tmp_path, {}, "min_views=3", "patience=1.2")


class OneBehind(HostGrid):
    """A grid with one node, which sends each answer when the next message has come.

    So does a SuperNode of Flower 1.41 that is left with a reply too many.
    """

    def __init__(self) -> None:
        super().__init__(local.HostsHere(1, 1, "", ""), run_id=1)
        self._ready: list[Message] = []
        self._held: list[Message] = []

    def push_messages(self, messages) -> list[str]:
        for message in messages:
            stamp(message)
            self._ready += self._held
            self._held = [Message(address({}, ConfigRecord({"views": ["v02"]})), reply_to=message)]
        return []

    def send_and_receive(self, messages, *, timeout=None) -> list[Message]:
        return self.push_messages(messages)  # type: ignore[return-value]

    def pull_messages(self, message_ids) -> list[Message]:
        return [reply for reply in self._ready if reply.metadata.reply_to_message_id in message_ids]


def test_a_host_that_says_late_what_it_serves_is_heard() -> None:
    roster, grid = Roster({}), OneBehind()
    for _ in range(3):
        roster.welcome(grid, ("v01", "v02"))
    assert roster.node_of == {"v02": 1} and roster.asked == {1}


class Hellos(HostGrid):
    """Nodes that say what `says` has for them (None: nothing, an error: that), and how long they were waited for."""

    def __init__(self, **says: object) -> None:
        super().__init__(local.HostsHere(1, 1, "", ""), run_id=1)
        self.says = {int(node.removeprefix("n")): said for node, said in says.items()}
        self.open: dict[str, Message] = {}
        self.waits = 0

    def get_node_ids(self) -> list[int]:
        return list(self.says)

    def push_messages(self, messages) -> list[str]:
        self.open |= {stamp(message): message for message in messages}
        return list(self.open)

    def pull_messages(self, message_ids) -> list[Message]:
        asked = [self.open[key] for key in message_ids if key in self.open]
        replies = [self._reply(message) for message in asked if self.says[message.metadata.dst_node_id] is not None]
        for reply in replies:
            del self.open[reply.metadata.reply_to_message_id]
        return replies

    def send_and_receive(self, messages, *, timeout=None) -> list[Message]:
        messages = list(messages)
        self.push_messages(messages)
        replies = self.pull_messages([message.metadata.message_id for message in messages])
        self.waits += len(replies) < len(messages)
        return replies

    def _reply(self, message: Message) -> Message:
        said = self.says[message.metadata.dst_node_id]
        if isinstance(said, Exception):
            return failed(message, said)
        return Message(address({}, ConfigRecord({"views": said})), reply_to=message)


@pytest.mark.parametrize("said", [None, ["v09"], ["v01"], RuntimeError("no recordings")])
def test_a_node_of_no_use_is_waited_for_once_and_found_when_it_is_mended(said: object) -> None:
    """It is silent, serves a view of another run or of another node, or its ClientApp raises."""
    roster, grid = Roster({"v01": 1}, asked={1}, claimed={"v01"}), Hellos(n1=["v01"], n2=said)
    for _ in range(20):
        roster.welcome(grid, ("v01", "v02"))
    assert grid.waits == (said is None) and len(grid.open) <= 2 and roster.node_of == {"v01": 1}
    grid.says[2] = ["v02"]
    for _ in range(2):
        roster.welcome(grid, ("v01", "v02"))
    assert roster.node_of == {"v01": 1, "v02": 2} and roster.asked == {1, 2}


def test_the_heir_of_a_host_takes_part_at_the_look_at_which_that_is_gone() -> None:
    roster, grid = Roster({"v01": 1}, asked={1}, claimed={"v01"}), Hellos(n1=["v01"], n2=["v01"])
    for _ in range(3):
        roster.welcome(grid, ("v01",))
    del grid.says[1]
    roster.welcome(grid, ("v01",))
    assert roster.node_of == {"v01": 2}


def test_a_view_that_was_away_at_enrolment_comes_late(faulty, tmp_path: Path) -> None:
    folder = faulty(tmp_path, {("query.enrol", 0, "v03"): "gone"}, "rounds=3")
    assert summary(folder)["status"] == "finished" and sorted(summary(folder)["accuracy"]) == ["v01", "v02", "v03"]
    assert failures(folder) == [(0, "v03")] and statuses(folder)[1, "v03"] == "ok"


def test_a_camera_that_lost_its_memory_is_told_everything_again(faulty, tmp_path: Path) -> None:
    words = ("rounds=4", "resumable=false")
    calm, lost = (
        faulty(tmp_path / "calm", {}, *words),
        faulty(tmp_path / "lost", {("train", 2, "v01"): "restarted"}, *words),
    )
    lacks = [pd.read_csv(folder / "rounds.csv").set_index(["round", "view"])["lack"] for folder in (calm, lost)]
    assert lacks[1][2, "v01"] > lacks[0][2, "v01"] and lacks[1][3, "v01"] == lacks[0][3, "v01"]


@pytest.mark.parametrize("staleness", [0.0, 0.5])
def test_a_camera_that_says_late_that_it_lost_its_memory_is_told(faulty, tmp_path: Path, staleness: float) -> None:
    """It says so once; the answer itself counts less, or nothing."""
    words = ("rounds=4", "resumable=false", "strategy=labels", f"strategy.staleness={staleness}")
    calm, lost = (
        column(faulty(tmp_path / name, faults, *words), "lack")
        for name, faults in (("calm", {}), ("lost", {("train", 2, "v01"): "restarted late"}))
    )
    assert lost[3, "v01"] > calm[3, "v01"] and lost[4, "v01"] == calm[4, "v01"]


@pytest.mark.parametrize("fault", ["restarted", "twice"])
@pytest.mark.parametrize("strategy", ["distil", "fedavg"])
def test_some_faults_leave_no_trace(faulty, tmp_path: Path, fault: str, strategy: str) -> None:
    words = (f"strategy={strategy}", "rounds=4", "speak_after=2")
    calm = summary(faulty(tmp_path / "calm", {}, *words))["digest"]
    assert summary(faulty(tmp_path / fault, {("train", 3, "v02"): fault}, *words))["digest"] == calm
    assert summary(faulty(tmp_path / f"{fault} 1", {("train", 1, "v02"): fault}, *words))["digest"] == calm


COSTS_THE_ROUND = ("gone", "raises", "silent", "late", "garbage")
COSTS_NOTHING = ("twice", "restarted", "full disk", "server killed")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:v0. cannot remember its round:fedkd.errors.Remark")
def test_two_hundred_rounds_with_a_fault_in_each(faulty, tmp_path: Path) -> None:
    words = ("rounds=200", "speak_after=20", "speak_every=20", "data.clips=120", "data.noise=0.7", "teacher=none")
    calm = summary(faulty(tmp_path / "calm", {}, *words))
    chance = random.Random(0)
    faults: Faults = {}
    for round in range(1, 201):
        kind = chance.choice(("train", "train", "evaluate"))
        fault = chance.choice((*COSTS_THE_ROUND, *COSTS_NOTHING))
        faults[kind, round, chance.choice(("v01", "v02", "v03"))] = fault
    expected = {(round, view) for (kind, round, view), fault in faults.items() if fault in COSTS_THE_ROUND}
    with contextlib.suppress(Killed):
        faulty(tmp_path / "faults", faults, *words)
    folder = only_folder(tmp_path / "faults")
    kills = 0
    while summary(folder)["status"] != "finished":
        kills += 1
        memory.forget(os.getpid())
        with contextlib.suppress(Killed):
            run_one(summary(folder)["overrides"], folder=folder)
    assert kills == sum(fault == "server killed" for fault in faults.values()) > 5 and not FaultyHosts.faults
    rows = pd.read_csv(folder / "rounds.csv").query("round > 0 and view != 'fused'")
    assert len(rows) == len(rows.drop_duplicates(["round", "view"])) == 600
    assert {(row.round, row.view) for row in rows.itertuples() if row.status != "ok"} == expected
    no_answer_counted_twice(folder)
    assert summary(folder)["accuracy_mean"] == pytest.approx(calm["accuracy_mean"], abs=0.01)
    assert summary(folder)["accuracy_fused"] == pytest.approx(calm["accuracy_fused"], abs=0.01)
