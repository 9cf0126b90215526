"""The server's party: dealing views, sorting answers, pooling beliefs, giving marks."""

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from tiny import JOB
from torch import Tensor

from fedkd.assemble import teacher_course
from fedkd.average import average
from fedkd.config import load
from fedkd.consensus.mean import mean_consensus
from fedkd.errors import UserError
from fedkd.metrics.marks import Marks, fuse
from fedkd.types import Clips, EventLabels, SoftLabels, Tally
from fedkd.wire import (
    Letter,
    address,
    letters,
    pack_events,
    pack_soft,
    pack_tally,
    pack_weights,
    unpack_events,
    unpack_soft,
    unpack_weights,
)
from simulations.host_grid import HostGrid
from simulations.identity import become_server, stamp
from strategies.alone import Alone
from strategies.answers import understand
from strategies.checkpoint import Beginning, keep, last
from strategies.distil import Distil
from strategies.enrol import Enrolment, enrolled, event_letters, refuse_untaught
from strategies.exchange import Exchange
from strategies.failures import reasons
from strategies.fedavg import FedAvg
from strategies.ledger import Ledger
from strategies.post import Post
from strategies.roster import Roster, deal
from strategies.teaching import federate, in_the_lab
from strategies.views import Setting

RUN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _server() -> None:
    become_server(1)


def soft(ids: list[int], first: list[float]) -> SoftLabels:
    return SoftLabels.of(torch.tensor(ids), torch.tensor([[p, 1 - p] for p in first]))


def beginning(**events: EventLabels) -> Beginning:
    return Beginning(Enrolment(dict.fromkeys(("v01", "v02", "v03"), 10), events, {}, [], bool(events)), {})


def setting(**changes: object) -> Setting:
    roster = Roster({"v01": 1, "v02": 2, "v03": 2}, {1, 2})
    given = {
        "post": Post(roster, Ledger(), RUN),
        "views": roster.views,
        "beginning": beginning(),
        "rule": mean_consensus,
        "rounds": 4,
        "num_classes": 2,
        "timeout": 0.1,
        "min_views": 1,
        "patience": 0.1,
        "staleness": 0.5,
        "announce": lambda what: None,
        "exam_every": 2,
        "save_to": "",
    }
    return Setting(**{**given, **changes})  # type: ignore[arg-type]


def nowhere() -> HostGrid:
    """A grid whose hosts never answer."""
    silent = SimpleNamespace(node_ids=lambda: [1, 2], submit=lambda messages: [Future() for _ in messages])
    return HostGrid(silent, 1)  # type: ignore[arg-type]


# Dealing


@given(st.integers(1, 40), st.integers(1, 12))
def test_every_view_has_one_node_and_nodes_share_evenly(num_views: int, num_nodes: int) -> None:
    views = [f"v{n:02d}" for n in range(num_views)]
    node_of = deal(views, {node: [] for node in range(num_nodes)})
    assert list(node_of) == sorted(views)
    loads = [list(node_of.values()).count(node) for node in range(num_nodes)]
    assert max(loads) - min(loads) <= 1


def test_a_claimed_view_stays_with_its_node() -> None:
    assert deal(["v01", "v02", "v03"], {7: ["v03"], 9: []}) == {"v01": 9, "v02": 9, "v03": 7}


@pytest.mark.parametrize(
    ("claims", "sentence"), [({1: ["v09"]}, "got 'v09'"), ({1: ["v01"], 2: ["v01"]}, "both claim 'v01'")]
)
def test_a_wrong_claim_is_named(claims: dict[int, list[str]], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        deal(["v01", "v02"], claims)


# The post


def reply(message: Message, told: dict) -> Message:
    return Message(address(told), reply_to=message)


def test_answers_come_in_name_order_and_failures_with_their_reason() -> None:
    post = Post(Roster({"v01": 1, "v02": 2, "v03": 2}), Ledger(), RUN)
    one, two = post.send(nowhere(), "train", 1, {"v01": {}, "v02": {}, "v03": {}}, {"round": 1})
    stamp(one), stamp(two)
    tally = {"tally": pack_tally(Tally(1))}
    failed = Message(Error(2, "Traceback ...\n  line\nValueError: lens cap"), reply_to=one)
    exchange = post.sort([reply(two, {"v03": tally, "v02": tally}), failed])
    assert list(exchange.letters) == ["v02", "v03"]
    assert exchange.failures == {"v01": "ValueError: lens cap"}


def test_a_host_that_never_answers_is_named() -> None:
    post = Post(Roster({"v01": 1, "v02": 2}), Ledger(), RUN)
    post.send(nowhere(), "train", 1, {"v01": {}, "v02": {}}, {"round": 1})
    silent = dict.fromkeys(("v01", "v02"), "no answer in time")
    assert post.sort([]) == Exchange({}, silent, lost=frozenset(silent))


def test_the_ledger_counts_every_byte_once() -> None:
    ledger = Ledger()
    record = pack_soft(soft([1, 2], [0.5, 0.5]))
    whole = ConfigRecord({"views": ["v01", "v02"], "round": 1})
    letters = {"v01": {"soft": record}, "v02": {"soft": record}}
    ledger.sent(1, letters, whole)
    ledger.received(1, ["v01", "v02"], letters | {"v09": {"soft": record}})
    size = record.count_bytes()
    assert ledger.of(1, "v01") == (2 * size, size + whole.count_bytes()) and ledger.of(1, "v02") == (size, size)
    assert ledger.totals() == (3 * size, 2 * size + whole.count_bytes())


@pytest.mark.parametrize("about", [{}, {"views": ["v01"]}, {"views": 1}])
def test_what_a_reply_says_of_itself_is_not_gone_by(about: dict) -> None:
    post = Post(Roster({"v01": 1, "v02": 2}), Ledger(), RUN)
    one, two = post.send(nowhere(), "train", 1, {"v01": {}, "v02": {}}, {"round": 1})
    stamp(one), stamp(two)
    post.sort([Message(address({"v02": DONE}, ConfigRecord(about)), reply_to=two)])
    assert list(post.exchange.letters) == ["v02"]
    assert post.ledger.of(1, "v02")[0] == sum(record.count_bytes() for record in DONE.values())


@pytest.mark.parametrize("reason", ["", []])
def test_a_reply_whose_bytes_cannot_be_counted_is_its_hosts_failure(reason: object) -> None:
    post = Post(Roster({"v01": 1, "v02": 2}), Ledger(), RUN)
    one, two = post.send(nowhere(), "train", 1, {"v01": {}, "v02": {}}, {"round": 1})
    stamp(one), stamp(two)
    wordless = reply(one, {"v01": {"failed": ConfigRecord({"reason": reason})}})  # Flower refuses to count it
    exchange = post.sort([wordless, reply(two, {"v02": DONE})])
    assert list(exchange.letters) == ["v02"] and "its answer makes no sense" in exchange.failures["v01"]


def test_a_view_of_which_its_host_says_nothing_is_named() -> None:
    post = Post(Roster({"v01": 1, "v02": 1}), Ledger(), RUN)
    [one] = post.send(nowhere(), "train", 1, {"v01": {}, "v02": {}}, {"round": 1})
    stamp(one)
    assert post.sort([reply(one, {"v02": DONE})]).failures == {"v01": "its host's answer says nothing of it"}


def test_a_reason_that_several_views_give_is_given_once() -> None:
    lost = {view: f"{view} recorded no skeleton; choose another teacher=." for view in ("v02", "v01", "v03")}
    assert reasons(lost) == "v01 recorded no skeleton; choose another teacher= (so do v02, v03)"
    assert reasons({"v01": "no power.", "v02": "no power.", "v03": "no light"}) == "no light; no power"
    assert reasons({}) == ""


# Event labels


def test_a_view_is_told_what_others_know_and_it_does_not() -> None:
    events = {
        "v01": EventLabels(torch.tensor([1, 2]), torch.tensor([0, 1])),
        "v02": EventLabels(torch.tensor([2, 3]), torch.tensor([1, 1])),
        "v03": EventLabels.none(),
    }
    told = {view: unpack_events(letter["events"]).ids.tolist() for view, letter in event_letters(events).items()}
    assert told == {"v01": [3], "v02": [1], "v03": [1, 2, 3]}


# Before round 1


def clips(train: float, **more: float) -> MetricRecord:
    return MetricRecord({"train": train, "teachers": 1, **more})


KNOWN = EventLabels(torch.tensor([1, 2]), torch.tensor([0, 1]))
SAID: Letter = {"clips": clips(9), "events": pack_events(KNOWN)}
OTHER_IDS = ArrayRecord({**SAID["events"], "ids": pack_weights({"ids": torch.tensor([2, 1])})["ids"]})
SHORT_IDS = ArrayRecord({**SAID["events"], "ids": pack_events(KNOWN.rows(torch.tensor([0])))["ids"]})


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"clips": clips(-5)},
        {"clips": clips(float("nan"))},
        {"clips": clips(1e300)},
        {"clips": MetricRecord({"train": 9})},
        {"clips": ConfigRecord({"train": "many", "teachers": 1})},
        {"events": pack_events(EventLabels(torch.tensor([1]), torch.tensor([2])))},
        {"events": MetricRecord({"ids": 1})},
        {"events": OTHER_IDS},
        {"events": SHORT_IDS},
    ],
    ids=[
        "nothing",
        "minus five",
        "nan",
        "too many",
        "teachers left out",
        "words",
        "class of K",
        "numbers",
        "int64",
        "short",
    ],
)
def test_whoever_enrols_with_nonsense_takes_no_part(wrong: Letter) -> None:
    post = Post(Roster({"v01": 1, "v02": 2}), Ledger(), RUN)
    one, two = post.send(nowhere(), "query.enrol", 0, {"v01": {}, "v02": {}}, {"tell": True})
    stamp(one), stamp(two)
    exchange = post.sort(
        [reply(one, {"v01": {**SAID, **wrong} if wrong else {"clips": SAID["clips"]}}), reply(two, {"v02": SAID})]
    )
    enrolment = enrolled(exchange, 2, tell=True, needed=1, num_classes=2)
    refuse_untaught(exchange, enrolment, "skeletons")
    assert enrolment.num_clips == {"v02": 9} and list(enrolment.events) == ["v02"]
    assert enrolment.failures["v01"].startswith("its answer makes no sense")


def answering(said: dict[str, Letter]) -> HostGrid:
    """A grid whose hosts answer this at once."""

    def submit(messages: list[Message]) -> list[Future[Message]]:
        futures: list[Future[Message]] = [Future() for _ in messages]
        for message, future in zip(messages, futures, strict=True):
            future.set_result(reply(message, said))
        return futures

    return HostGrid(SimpleNamespace(node_ids=lambda: [1, 2], submit=submit), 1)  # type: ignore[arg-type]


def test_whoever_comes_late_with_nonsense_is_named() -> None:
    enrolment = Enrolment({"v01": 9, "v02": 9}, {}, {}, [], False)
    strategy = Alone(setting(beginning=Beginning(enrolment, {})))
    strategy.configure_train(1, ArrayRecord(), ConfigRecord(), answering({"v03": {"clips": clips(-5)}}))
    assert strategy.notes.failures["v03"].startswith("its answer makes no sense")
    assert "v03" not in strategy.setting.pupils


def test_whoever_comes_late_takes_part_and_what_it_knows_is_told_to_all() -> None:
    before = Enrolment({"v01": 9, "v02": 9}, {"v01": KNOWN, "v02": KNOWN}, {}, [], True)
    strategy = Alone(setting(beginning=Beginning(before, {})))
    strategy._greeted = {"v01", "v02"}
    new = EventLabels(torch.tensor([5]), torch.tensor([1]))
    said: Letter = {"clips": clips(4), "events": pack_events(new)}
    messages = strategy.configure_train(1, ArrayRecord(), ConfigRecord(), answering({"v03": said}))
    told = {view: letter for message in messages for view, letter in letters(message.content).items()}
    assert {view: unpack_events(letter["events"]).ids.tolist() for view, letter in told.items()} == {
        "v01": [5],
        "v02": [5],
        "v03": [1, 2],
    }
    assert strategy.setting.pupils == ("v01", "v02", "v03") and list(before.num_clips) == ["v01", "v02"]


def test_event_labels_that_nobody_asked_for_are_left_unread() -> None:
    post = Post(Roster({"v01": 1, "v02": 2}), Ledger(), RUN)
    one, two = post.send(nowhere(), "query.enrol", 0, {"v01": {}, "v02": {}}, {"tell": False})
    stamp(one), stamp(two)
    exchange = post.sort([reply(one, {"v01": SAID}), reply(two, {"v02": {"clips": SAID["clips"]}})])
    assert list(enrolled(exchange, 2, tell=False, needed=2, num_classes=2).letters()) == ["v01", "v02"]


def taught(*values: float, count: int = 1) -> Letter:
    return {"tally": pack_tally(Tally(count)), "weights": pack_weights({"w": torch.tensor(values)})}


def federated(num_clips: int, *rounds: dict[str, Letter]) -> tuple[list[float], dict[str, str]]:
    """The teacher's weights, and who missed a round, where the views answer this in each round."""
    said, post = iter(rounds), Post(Roster({}), Ledger(), RUN)
    post.ask = lambda *_, **__: None  # type: ignore[method-assign, assignment, return-value]
    told: dict[str, Letter] = {view: {} for view in rounds[0]}
    clips, how = dict.fromkeys(told, 9) | {"v03": num_clips}, {"rounds": len(rounds), "timeout": 1.0, "needed": 1}
    weights, missed = federate(post, nowhere(), told, clips, hold=lambda: Exchange(next(said)), **how)  # type: ignore[arg-type]
    return unpack_weights(weights)["w"].tolist(), missed


WRONG = [
    {},
    {"tally": pack_tally(Tally(1))},
    taught(1.0) | {"tally": ConfigRecord({"count": "many"})},
    taught(1.0) | {"weights": MetricRecord({"w": 1.0})},
    taught(float("nan")),
    taught(5.0, 5.0),
    taught(5.0) | {"weights": pack_weights({"w": torch.tensor([5])})},
    taught(5.0) | {"weights": pack_weights({"v": torch.tensor([5.0])})},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_teacher_of_nonsense_is_left_out_of_the_average(wrong: Letter) -> None:
    good = {"v01": taught(1.0), "v02": taught(3.0)}
    first = federated(9, {**good, "v03": wrong}, {**good, "v03": taught(5.0)})
    assert first[0] == [3.0] and first[1]["v03"].startswith("in round 1 of the teacher: its answer makes no sense")
    later = federated(9, {**good, "v03": taught(5.0)}, {"v02": taught(3.0), "v03": wrong})
    assert later[0] == [3.0] and later[1]["v03"].startswith("in round 2 of the teacher: its answer makes no sense")


def test_a_teacher_without_clips_ends_nothing_but_its_own_round() -> None:
    assert federated(0, {"v01": taught(1.0), "v03": taught(5.0)}) == ([1.0], {})
    with pytest.raises(UserError, match="no view could teach the teacher in round 1: no view has a label"):
        federated(0, {"v03": taught(5.0)})


def lab(**streams: int) -> Clips:
    """Six skeletons in the server's lab: joints by stream."""
    labels = torch.tensor([0, 1] * 3)
    return Clips(torch.arange(6), labels, {name: torch.randn(6, 4, joints, 3) for name, joints in streams.items()})


@pytest.mark.parametrize("seen", [("imu", "imu"), ("skeleton+imu", "skeleton+imu"), ("skeleton", "pose3d")])
def test_a_lab_without_what_the_teacher_sees_says_so(seen: tuple[str, str]) -> None:
    course = replace(TEACHER, modality=seen[0], taught_on=seen[1])
    with pytest.raises(UserError, match=r"expected recordings of (imu|pose3d), .* got skeleton; choose another teach"):
        in_the_lab(course, lab(skeleton=3), 2, seed=0)


def test_a_lab_teaches_what_a_host_would() -> None:
    """By the stream that the teacher is taught on, and a net for the clips that it sees; several streams are joined."""
    taught_on = []

    def narrow(clips: Tensor, chance: torch.Generator) -> Tensor:
        taught_on.append(clips.shape[2])
        return clips[:, :, :3]

    in_the_lab(replace(TEACHER, taught_on="pose3d", augment=narrow), lab(skeleton=3, pose3d=5), 2, seed=0)
    assert set(taught_on) == {5}
    both = replace(TEACHER, modality="skeleton+imu", taught_on="skeleton+imu", augment=None)
    assert in_the_lab(both, lab(skeleton=3, imu=2), 2, seed=0)


TEACHER = teacher_course(load([*JOB, "teaching.origin=lab"]))


def test_a_view_that_lost_its_memory_while_the_teacher_learns_is_told_its_first_letter_again() -> None:
    told, post = list[dict[str, Letter]](), Post(Roster({"v01": 1, "v02": 2}), Ledger(), RUN)
    ask = post.ask
    post.ask = lambda grid, kind, letters, *more, **how: (  # type: ignore[method-assign]
        told.append(letters) or ask(grid, kind, letters, *more, **how)
    )
    said = {"v01": taught(1.0) | {"fresh": ConfigRecord()}, "v02": taught(1.0)}
    first: dict[str, Letter] = {view: {"events": pack_events(KNOWN)} for view in said}
    how = {"rounds": 2, "timeout": 1.0, "needed": 2, "hold": lambda: post.exchange}
    federate(post, answering(said), first, dict.fromkeys(said, 9), **how)  # type: ignore[arg-type]
    assert [[view for view, letter in one.items() if "events" in letter] for one in told] == [["v01", "v02"], ["v01"]]


def test_a_view_that_misses_a_round_of_the_teacher_is_told_its_first_letter_in_the_next() -> None:
    told, post = list[dict[str, Letter]](), Post(Roster({"v01": 1, "v02": 2}), Ledger(), RUN)
    post.ask = lambda grid, kind, letters, *more, **how: told.append(letters)  # type: ignore[method-assign, assignment]
    rounds = iter([{"v01": taught(1.0)}, {"v01": taught(1.0), "v02": taught(1.0)}, {"v01": taught(1.0)}])
    first: dict[str, Letter] = {view: {"events": pack_events(KNOWN)} for view in ("v01", "v02")}
    how = {"rounds": 3, "timeout": 1.0, "needed": 1, "hold": lambda: Exchange(next(rounds))}
    federate(post, nowhere(), first, dict.fromkeys(first, 9), **how)  # type: ignore[arg-type]
    assert [[view for view in one if "events" in one[view]] for one in told] == [["v01", "v02"], ["v02"], []]


def test_a_teacher_below_the_quorum_ends_the_run() -> None:
    post = Post(Roster({"v01": 1, "v02": 2}), Ledger(), RUN)
    post.ask = lambda *_, **__: None  # type: ignore[method-assign, assignment, return-value]
    away = Exchange({"v01": taught(1.0)}, {"v02": "no answer in time"}, lost=frozenset({"v02"}))
    how = {"rounds": 2, "timeout": 1.0, "needed": 2, "hold": lambda: away}
    with pytest.raises(UserError, match="1 of 2 views answered in round 1 of the teacher, 2 needed: no answer in time"):
        federate(post, nowhere(), {"v01": {}, "v02": {}}, {"v01": 9, "v02": 9}, **how)  # type: ignore[arg-type]


# Distillation


def distil(**how: object) -> Distil:
    return Distil(setting(), **{"first": 2, "every": None, **how})  # type: ignore[arg-type]


def heard(strategy: Distil, tables: dict[str, SoftLabels], late: int = 0) -> ArrayRecord:
    said = {view: understand({**DONE, "soft": pack_soft(table)}, 2, late) for view, table in tables.items()}
    return strategy.hear(2, said, ArrayRecord())


DONE = {"tally": pack_tally(Tally(1)), "clock": MetricRecord({"seconds": 1.0})}
TABLES = {"v01": soft([1, 2], [0.8, 0.4]), "v02": soft([1, 3], [0.2, 1.0]), "v03": soft([3], [0.5])}


def test_a_view_hears_of_the_events_it_asked_about() -> None:
    strategy = distil()
    told = strategy.tell("v01", 3, heard(strategy, TABLES))
    pooled = unpack_soft(told["soft"])
    assert pooled.ids.tolist() == [1, 2]
    assert torch.allclose(pooled.probs[:, 0], torch.tensor([0.5, 0.4]), atol=1e-3)
    assert pooled.weight.tolist() == [2, 1]  # two spoke of event 1, one of event 2


def test_a_view_that_abstains_hears_and_is_not_heard() -> None:
    silent = SoftLabels(torch.tensor([1, 2]), torch.full((2, 2), 0.5), torch.zeros(2))
    strategy = distil()
    arrays = heard(strategy, {**TABLES, "v03": silent})
    assert unpack_soft(strategy.tell("v03", 3, arrays)["soft"]).probs[1, 0] == pytest.approx(0.4, abs=1e-3)
    assert strategy.tell("v03", 3, heard(strategy, {"v03": silent})) == {}


def test_a_round_goes_on_without_a_host_that_has_two_to_answer() -> None:
    strategy, grid = Alone(setting(timeout=0.0)), nowhere()
    asked = []
    for round in (1, 2, 3):
        messages = list(strategy.configure_train(round, ArrayRecord(), ConfigRecord(), grid))
        grid.push_messages(messages)
        strategy.aggregate_train(round, [reply(messages[0], {"v01": DONE})])
        asked.append([message.metadata.dst_node_id for message in messages])
    assert asked == [[1, 2], [1, 2], [1]]
    assert strategy.notes.failures == {"v02": "still at round 1", "v03": "still at round 1"}


def test_the_views_speak_once_or_again_and_never_after_the_last_round() -> None:
    assert [r for r in range(1, 5) if distil().speaks(r)] == [2]
    assert [r for r in range(1, 5) if distil(first=1, every=1).speaks(r)] == [1, 2, 3]
    assert distil().tell("v01", 2, ArrayRecord()) == {}


def test_a_view_that_lost_its_memory_hears_the_consensus_again_from_whoever_goes_on(tmp_path: Path) -> None:
    strategy = distil()
    known = EventLabels(torch.tensor([1]), torch.tensor([0]))
    strategy.setting = replace(strategy.setting, beginning=beginning(v02=known))
    arrays = heard(strategy, TABLES)
    strategy.hear(3, {view: understand(DONE, 2) for view in ("v01", "v02")}, arrays)
    keep(tmp_path, strategy.standing(3, arrays))
    standing = last(tmp_path, rounds=4)
    assert standing is not None and standing.enrolment.num_clips == strategy.setting.beginning.enrolment.num_clips
    assert standing.enrolment.events["v02"].ids.tolist() == [1]
    again = distil()
    again.go_on(standing)
    for view in TABLES:
        assert bool(again.tell(view, 4, arrays)) == bool(strategy.tell(view, 4, arrays)) == (view == "v03")
    again.forgot("v01")
    assert again.tell("v01", 4, arrays)["soft"] == told_of(TABLES, "v01")


def told_of(tables: dict[str, SoftLabels], view: str) -> ArrayRecord:
    """What a view is told after `tables`."""
    strategy = distil()
    return strategy.tell(view, 3, heard(strategy, tables))["soft"]  # type: ignore[return-value]


def test_a_view_that_lost_its_memory_by_an_exam_hears_the_consensus_in_the_next_round() -> None:
    strategy = distil()
    arrays = heard(strategy, TABLES)
    strategy.hear(3, dict.fromkeys(TABLES, understand(DONE, 2)), arrays)
    [*messages] = strategy.configure_evaluate(4, arrays, ConfigRecord(), nowhere())
    for message in messages:
        stamp(message)
    truth = EventLabels(torch.tensor([1, 2]), torch.tensor([0, 1]))
    sat: Letter = {"answers": pack_soft(soft([1, 2], [0.8, 0.4])), "truth": pack_events(truth)}
    sat |= {"student": ConfigRecord({"digest": "0"}), "fresh": ConfigRecord()}
    strategy.aggregate_evaluate(4, [reply(messages[0], {"v01": sat})])
    assert strategy.notes.marks and strategy.tell("v01", 5, arrays) and not strategy.tell("v02", 5, arrays)


# Averaging


def test_the_average_weighs_by_clips_and_keeps_counters() -> None:
    states = [{"w": torch.tensor([0.0]), "n": torch.tensor(3)}, {"w": torch.tensor([4.0]), "n": torch.tensor(9)}]
    mean = average(states, [1, 3])
    assert mean["w"].tolist() == [3.0] and mean["n"].item() == 3
    assert unpack_weights(pack_weights(mean))["w"].dtype == torch.float32


def test_nets_of_different_shapes_have_no_average() -> None:
    with pytest.raises(UserError, match="nets differ as their clips do"):
        average([{"w": torch.zeros(3)}, {"w": torch.zeros(1)}], [1, 1])


def test_one_view_whose_net_is_another_costs_itself_alone_from_the_first_round_on() -> None:
    strategy = FedAvg(setting(beginning=beginning()))
    [*messages] = strategy.configure_train(1, ArrayRecord(), ConfigRecord(), nowhere())
    for message in messages:
        stamp(message)
    learned = {
        view: {**DONE, "weights": pack_weights({"w": torch.ones(size)})}
        for view, size in (("v01", 2), ("v02", 2), ("v03", 3))
    }
    first, second = messages
    replies = [reply(first, {"v01": learned["v01"]}), reply(second, {v: learned[v] for v in ("v02", "v03")})]
    left, _ = strategy.aggregate_train(1, replies)
    assert left is not None and unpack_weights(left)["w"].tolist() == [1, 1]
    assert "the net that is averaged, got others in w" in strategy.notes.failures["v03"]
    assert sorted(strategy.notes.tallies) == ["v01", "v02"]


def test_no_clips_weigh_nothing() -> None:
    enrolment = Enrolment({"v01": 0}, {}, {}, [], False)
    strategy, before = FedAvg(setting(beginning=Beginning(enrolment, {}))), pack_weights({"w": torch.ones(1)})
    answer = understand({**DONE, "weights": pack_weights({"w": torch.zeros(1)})}, 2)
    assert strategy.hear(1, {"v01": answer}, before) is before


# Exams


def test_marks_are_shares_of_events_and_confusion_counts_them() -> None:
    marks = Marks(soft([1, 2, 3], [0.9, 0.2, 0.6]), EventLabels(torch.tensor([1, 2, 3]), torch.tensor([0, 1, 1])))
    assert marks.accuracy == pytest.approx(2 / 3)
    assert marks.confusion().tolist() == [[1, 0], [1, 1]]
    nothing = Marks(SoftLabels.empty(2), EventLabels.none())
    assert nothing.accuracy is None


def test_marks_are_given_for_what_was_answered() -> None:
    truth = EventLabels(torch.tensor([1, 2, 3]), torch.tensor([0, 1, 1]))
    assert Marks.of(soft([2, 3], [0.2, 0.6]), truth).accuracy == pytest.approx(1 / 2)
    assert Marks.of(SoftLabels.empty(2), truth).accuracy is None


def test_fused_answers_cover_every_event_that_any_view_saw() -> None:
    truth = {1: 0, 2: 1, 3: 1}

    def marks(table: SoftLabels) -> Marks:
        return Marks(table, EventLabels(table.ids, torch.tensor([truth[e] for e in table.ids.tolist()])))

    fused = fuse({view: marks(table) for view, table in TABLES.items()}, mean_consensus)
    assert fused.truth.ids.tolist() == [1, 2, 3] and fused.truth.classes.tolist() == [0, 1, 1]


def test_a_view_is_greeted_until_it_has_answered() -> None:
    known = EventLabels(torch.tensor([1]), torch.tensor([0]))
    strategy = Alone(setting(beginning=beginning(v01=known, v02=known, v03=known)))

    def greeted(round: int) -> set[str]:
        messages = list(strategy.configure_train(round, ArrayRecord(), ConfigRecord(), nowhere()))
        for message in messages:
            stamp(message)
        said = {view for m in messages for view, letter in letters(m.content).items() if "events" in letter}
        strategy.aggregate_train(round, [reply(messages[0], {"v01": DONE})])
        return said

    assert greeted(1) == {"v01", "v02", "v03"}
    assert greeted(2) == {"v02", "v03"}


def test_an_exam_that_nobody_sits_ends_the_run() -> None:
    strategy = Alone(setting(rounds=1))
    strategy.configure_evaluate(1, ArrayRecord(), ConfigRecord(), nowhere())
    with pytest.raises(UserError, match="0 of 3 views answered at the exam of round 1"):
        strategy.aggregate_evaluate(1, [])


TABLE, TRUTH = soft([1, 2], [0.9, 0.2]), EventLabels(torch.tensor([1, 2]), torch.tensor([0, 1]))
THREE_CLASSES = SoftLabels.of(torch.tensor([1, 2]), torch.full((2, 3), 1 / 3))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"teacher_answers": pack_soft(soft([1, 3], [0.9, 0.2]))}, "of each of 2 events answered, got 1 of them."),
        ({"answers": pack_soft(soft([1, 3], [0.9, 0.2]))}, "of each of 2 events answered, got 1 of them."),
        ({"answers": pack_soft(THREE_CLASSES)}, "expected soft labels over 2 classes, got 3."),
        ({"answers": pack_soft(replace(TABLE, weight=torch.tensor([1.0, 65504.0])))}, "weigh 1 at most, got 65504."),
        ({"truth": pack_events(replace(TRUTH, classes=torch.tensor([0, 7])))}, "true classes 0 to 1, got class 7."),
    ],
)
def test_an_exam_that_makes_no_sense_is_its_views_failure(wrong: Letter, sentence: str) -> None:
    strategy = Alone(setting(rounds=1))
    messages = list(strategy.configure_evaluate(1, ArrayRecord(), ConfigRecord(), nowhere()))
    for message in messages:
        stamp(message)
    sat: Letter = {"answers": pack_soft(TABLE), "truth": pack_events(TRUTH), "student": ConfigRecord({"digest": "0"})}
    replies = [reply(messages[0], {"v01": {**sat, **wrong}}), reply(messages[1], {"v02": sat, "v03": sat})]
    strategy.aggregate_evaluate(1, replies)
    assert list(strategy.notes.marks) == ["v02", "v03"] and not strategy.notes.teachers
    assert strategy.notes.failures["v01"].startswith("its answer makes no sense: WireError: expected")
    assert strategy.notes.failures["v01"].endswith(sentence)


def test_a_host_answers_for_its_own_views_only() -> None:
    post = Post(Roster({"v01": 1, "v02": 2}), Ledger(), RUN)
    one, two = post.send(nowhere(), "train", 1, {"v01": {}, "v02": {}}, {"round": 1})
    stamp(one), stamp(two)
    tally = {"tally": pack_tally(Tally(1))}
    exchange = post.sort([reply(two, {"v01": tally, "v09": tally})])
    assert not exchange.letters and set(exchange.failures) == {"v01", "v02"}


def test_a_view_that_learned_nothing_does_not_dilute_the_average() -> None:
    strategy = FedAvg(setting())
    weights = {view: pack_weights({"w": torch.tensor([value])}) for view, value in (("v01", 1.0), ("v02", 9.0))}
    letters_of = {v: {**DONE, "weights": w, "tally": pack_tally(Tally(int(v == "v01")))} for v, w in weights.items()}
    answers = {view: understand(letter, 2) for view, letter in letters_of.items()}
    assert unpack_weights(strategy.hear(1, answers, ArrayRecord()))["w"].tolist() == [1.0]


def test_letters_of_unknown_hosts_do_no_harm() -> None:
    assert letters(RecordDict()) == {}
