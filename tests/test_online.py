"""Online distillation: numbers of the joint loss, what attention sees, and that a pause changes no bit."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_camera import JOB
from tiny import run, summary

from clients.camera import Habits
from clients.studio import Studio
from fedkd.assemble import online_course, peer_course
from fedkd.build import build
from fedkd.config import load
from fedkd.consensus.viewpoint_attention import viewpoint_attention
from fedkd.data.meet import meet
from fedkd.errors import UserError
from fedkd.learn.lesson import Lesson
from fedkd.learn.objective import Objective
from fedkd.learn.online import Sight, strengthen, transfer
from fedkd.learn.peers import peers_say
from fedkd.losses.kd import kd_loss
from fedkd.models.viewpoint_attention import MeanOfViews, ViewpointAttention
from fedkd.types import UNKNOWN, UNSEEN, EventLabels, SoftLabels, View
from fedkd.weights import digest
from strategies.checkpoint import arrays_in

WORDS = ("teaching.origin=online", "hint=feature", "consensus=viewpoint_attention")
DOUBLE = torch.float64


def views(*overrides: str) -> list[View]:
    data = build(load([*JOB, *overrides]).data)
    return [data.view(name, 0) for name in data.view_names()]


def studio(*overrides: str, seen: list[View] | None = None) -> Studio:
    """All tiny views in one place, or those given."""
    cfg = load([*JOB, "objective.label_smoothing=0", *WORDS, *overrides])
    return Studio(seen or views(), online_course(cfg), Habits(cfg.seed))


def alone(*overrides: str) -> Studio:
    """The first tiny view by itself."""
    return studio(*overrides, seen=views()[:1])


def lesson(labels: list[int], num_classes: int) -> Lesson:
    n, nobody = len(labels), torch.full((len(labels), num_classes), 1 / num_classes, dtype=DOUBLE)
    known, unknown = torch.tensor(labels), torch.full((n,), UNKNOWN)
    return Lesson(torch.zeros(n, 1), torch.arange(n), known, None, nobody, torch.zeros(n, dtype=DOUBLE), unknown)


def sight(embeddings: list[list[list[float]]], present: list[list[bool]]) -> Sight:
    maps = torch.tensor(embeddings, dtype=DOUBLE)[..., None].expand(-1, -1, -1, 2)
    return Sight(maps, maps.mean(3), torch.tensor(present))


# The losses


def test_each_side_learns_from_the_label_and_from_the_other() -> None:
    part = lesson([0, UNKNOWN], 2)
    z_student, z_teacher = torch.zeros(2, 2, dtype=DOUBLE), torch.tensor([[math.log(3), 0], [0, 0]], dtype=DOUBLE)
    objective = Objective(lambda z, p: kd_loss(z, p, temperature=1.0), teacher=0.5)
    student = transfer(z_student, z_teacher, part, objective, 0.0)
    teacher = transfer(z_teacher, z_student, part, objective, 0.0)
    of_student = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # KL(3/4 1/4 || 1/2 1/2)
    of_teacher = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    close(student["supervised"], [math.log(2), 0])
    close(student["teacher"], [0.5 * of_student, 0])
    close(teacher["supervised"], [-math.log(0.75), 0])
    close(teacher["teacher"], [0.5 * of_teacher, 0])


def test_the_other_side_is_a_target_without_slope() -> None:
    mine, other = torch.zeros(1, 2, requires_grad=True), torch.ones(1, 2, requires_grad=True)
    part = replace(lesson([0], 2), consensus=torch.ones(1, 2) / 2, trust=torch.zeros(1))
    sum(t.sum() for t in transfer(mine, other, part, Objective(kd_loss), 0.0).values()).backward()  # type: ignore[union-attr]
    assert mine.grad is not None and other.grad is None


def test_single_views_are_drawn_to_all_views_together() -> None:
    """Two views of two events, the second event seen by the second view only: three clips."""
    seen = sight([[[1.0, 3.0], [0.0, 0.0]], [[3.0, 3.0], [2.0, 0.0]]], [[True, False], [True, True]])
    maps, logits = seen.together(MeanOfViews())
    close(maps.mean(2), [[2, 3], [2, 0]])
    close(logits, [[2, 3], [2, 0]])
    terms = strengthen(seen, maps, lesson([1, 0], 2), Objective(kd_loss), 0.0, pull=0.5)
    close(terms["hint"], [0.25, 0.25, 0])  # half of the mean over channels of (1, 0), (1, 0), (0, 0)
    close(terms["supervised"], [math.log(1 + math.exp(-2)), math.log(2), math.log(1 + math.exp(-2))])


def test_attention_sums_to_one_and_a_view_that_did_not_see_has_none() -> None:
    torch.manual_seed(0)
    present = torch.tensor([[True, False, True], [True, True, False], [True, True, False]])
    for attention in (ViewpointAttention(4).double(), MeanOfViews()):
        embeddings = torch.randn(3, 3, 4, dtype=DOUBLE)
        weight = attention(embeddings, present)
        close(weight.sum(0), [1, 1, 1])
        assert not weight[~present].any() and weight[present].all()
        embeddings[~present] = 99.0
        assert torch.equal(attention(embeddings, present), weight)


def test_a_view_by_itself_is_what_it_is() -> None:
    seen = sight([[[1.0, 3.0], [0.1, 0.7]]], [[True, True]])
    maps, logits = seen.together(ViewpointAttention(2).double())
    assert torch.equal(maps, seen.maps[0]) and torch.equal(logits, seen.logits[0])


def test_the_server_attends_to_views_that_agree() -> None:
    """Two views are sure of the first class, one of the second: q = (2/3, 1/3)."""
    ids, sure = torch.tensor([5]), torch.tensor([[1.0, 0.0]])
    tables = [SoftLabels.of(ids, sure), SoftLabels.of(ids, sure), SoftLabels.of(ids, sure.flip(1))]
    outvoted = math.exp(-1 / 3 / 0.1)
    assert viewpoint_attention(tables).probs[0, 1].item() == pytest.approx(outvoted / (2 + outvoted))
    assert viewpoint_attention(tables, temperature=1e6).probs[0, 1].item() == pytest.approx(1 / 3, abs=1e-5)


# Events that several views filmed


def test_views_meet_at_their_events() -> None:
    first, second, _ = views("data.labels=0.5")
    second = replace(second, train=second.train.rows(torch.arange(3, 24)), shared=second.shared[3:])
    both, rows = meet([first.train, second.train])
    assert len(both) == 24 and rows[:, 0].tolist() == list(range(24))
    assert rows[:, 1].tolist() == [UNSEEN] * 3 + list(range(21))
    known = {
        event: label
        for view in (first, second)
        for event, label in zip(view.train.ids.tolist(), view.train.labels.tolist(), strict=True)
        if label != UNKNOWN
    }
    assert both.labels.tolist() == [known.get(event, UNKNOWN) for event in both.ids.tolist()]


def test_an_event_that_one_view_missed_is_learned_from() -> None:
    first, second, third = views()
    third = replace(third, train=third.train.rows(torch.tensor([7])), shared=third.shared[:1])
    tally = studio(seen=[first, second, third]).train(1)
    assert tally.count and all(math.isfinite(value) for value in tally.sums.values())


# Teaching


@pytest.mark.parametrize("place", [alone, studio])
def test_teacher_and_students_learn_in_the_same_steps(place) -> None:  # type: ignore[no-untyped-def]
    seen = place()
    before = [digest(net.state_dict()) for net in (seen.teacher.pupil.net, seen.net("v01"))]
    means = [dict(seen.train(round).means()) for round in range(1, 5)]
    after = [digest(net.state_dict()) for net in (seen.teacher.pupil.net, seen.net("v01"))]
    assert not set(before) & set(after) and seen.teacher.pupil.step == seen.pupil.step > 0
    assert means[3]["supervised"] < 0.7 * means[0]["supervised"] and means[3]["hint"] < means[0]["hint"]


@pytest.mark.parametrize(
    ("words", "term"), [("hint=none", "hint"), ("objective.teacher=0", "teacher")], ids=["features", "answers"]
)
def test_a_part_that_is_left_out_has_no_term(words: str, term: str) -> None:
    assert term in alone().train(1).sums and term not in alone(words).train(1).sums


def test_what_each_part_changes() -> None:
    def student(*words: str) -> str:
        seen = studio(*words)
        seen.train(1)
        return seen.digest("v02")

    without = ("online.attention=false", "online.strengthen=0", "hint=none", "objective.teacher=0")
    digests = [student(), *(student(word) for word in (*without, "online.teacher_first=true"))]
    assert len(set(digests)) == len(digests) and student() == digests[0]


def test_a_teacher_that_comes_first_stays_as_it_is() -> None:
    seen = studio("online.teacher_first=true")
    seen.train(1)
    assert seen.teacher.pupil.step == seen.teacher.course.rounds * seen.teacher.course.schooling.steps(24)
    first = digest(seen.teacher.pupil.state())
    seen.train(2)
    assert digest(seen.teacher.pupil.state()) == first


def test_without_a_label_nobody_learns_until_a_consensus_comes() -> None:
    [view] = views()[:1]
    view = replace(view, train=view.train.knowing(torch.full_like(view.train.labels, UNKNOWN)))
    seen = studio(seen=[view])
    assert seen.train(1).count == 0 and not seen.pupil.taught and (seen.speak().weight == 0).all()
    seen.hear_consensus(SoftLabels.of(view.train.ids, torch.full((24, 3), 0.1) + 0.7 * torch.eye(3)[[0] * 24]), 2)
    assert seen.train(2).sums["consensus"] > 0


def test_the_rates_of_a_teacher_and_a_student_who_began_late_fall_to_zero() -> None:
    [view] = views()[:1]
    labels = view.train.labels
    nothing = replace(view, train=view.train.knowing(torch.full_like(labels, UNKNOWN)))
    early, late = studio(seen=[view]), studio(seen=[nothing])
    for round in range(1, 5):
        early.train(round)
        if round == 3:
            late.hear_events(EventLabels(view.train.ids[labels != UNKNOWN], labels[labels != UNKNOWN]))
        assert bool(late.train(round).count) == (round >= 3)
    for pupil in (early.pupil, early.teacher.pupil, late.pupil, late.teacher.pupil):
        steps, total = pupil.schooling.steps(24), pupil.step
        assert total == (4 if pupil in (early.pupil, early.teacher.pupil) else 2) * steps
        assert pupil.optimiser.param_groups[0]["lr"] == pupil.schooling.rate(total - 1, total)


GUIDED = [(), ("objective.teacher=0",), ("hint=none",)]


@pytest.mark.parametrize("words", GUIDED, ids=["both", "features", "answers"])
def test_students_without_labels_of_their_own_learn_by_their_teacher(words: tuple[str, ...]) -> None:
    for seen in (alone("objective.supervised=0", *words), together("objective.supervised=0", "hint=contrast", *words)):
        tally = seen.train(1)
        assert tally.count and seen.pupil.taught and "supervised" not in tally.sums


def test_students_whom_nobody_guides_do_not_learn() -> None:
    nobody = ("objective.supervised=0", "objective.teacher=0", "hint=none")
    for seen in (alone(*nobody), studio(*nobody), together(*nobody)):
        assert seen.train(1).count == 0 and not seen.pupil.taught


@pytest.mark.parametrize("place", [alone, studio])
def test_a_studio_packed_and_unpacked_goes_on_with_the_same_bits(place) -> None:  # type: ignore[no-untyped-def]
    straight, resumed = place(), place()
    straight.train(1)
    resumed.unpack(straight.packed())
    assert straight.train(2) == resumed.train(2)
    assert straight.packed() == resumed.packed()
    assert any(name.startswith("attention.") for name in straight.teacher.pupil.state())
    assert any(name.startswith("optimiser.") for name in straight.teacher.pupil.state())


def test_students_start_alike_in_one_place_and_at_home() -> None:
    assert studio().digest("v01") == alone().digest("v01") != studio().digest("v02")


# Runs


@pytest.mark.parametrize("strategy", ["distil", "central", "fedavg"])
def test_a_run_gives_the_same_bits_twice_in_this_process_and_in_workers(tmp_path: Path, strategy: str) -> None:
    words = ("experiment=online", "data.labels=0.4", f"strategy={strategy}")
    runs = [summary(run(tmp_path / str(n), *words, *WORDS, f"place.workers={n}")) for n in (1, 2)]
    assert runs[0]["digest"] == runs[1]["digest"] and runs[0]["status"] == "finished"
    assert set(runs[0]["accuracy"]) == {"v01", "v02", "v03"} and runs[0]["accuracy_fused"] is not None


def test_soft_labels_are_all_the_server_gets(tmp_path: Path) -> None:
    folder = run(tmp_path, "experiment=online", "data.labels=0.4", *WORDS, "place.workers=1")
    kinds = {name.rpartition("/")[2] for name in arrays_in(load_file(folder / "checkpoint" / "server.safetensors"))}
    assert kinds == {"ids", "probs", "weight"}
    with open(folder / "rounds.csv", newline="") as file:
        assert any(float(row["consensus"] or 0) > 0 for row in csv.DictReader(file))


@pytest.mark.parametrize(
    "words",
    [["strategy.teacher=false"], ["+teacher@assistants.a=tcn"], ["objective.pseudo=0.5"], ["teaching.paired=false"]],
)
def test_what_does_not_go_with_it_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match="origin=online needs"):
        load(["experiment=online", *words])


def close(made: torch.Tensor, expected: list) -> None:  # type: ignore[type-arg]
    torch.testing.assert_close(made, torch.tensor(expected, dtype=DOUBLE))


# Peers: a teacher first, then students who teach one another


def together(*overrides: str, seen: list[View] | None = None) -> Studio:
    words = ("strategy=together", "objective.label_smoothing=0", *overrides)
    cfg = load([*JOB, *words])
    habits = Habits(cfg.seed, threshold=cfg.objective.threshold)
    return Studio(seen or views(*overrides), peer_course(cfg), habits)


def test_peers_say_the_mean_of_those_who_filmed_the_event() -> None:
    logits = torch.tensor([[[math.log(3), 0]] * 2, [[0, 0]] * 2, [[0, math.log(3)]] * 2], dtype=DOUBLE)  # V B K
    present = torch.tensor([[True, True], [True, False], [True, False]])
    half = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # KL(3/4 1/4 || 1/2 1/2)
    back = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    across = 0.25 * math.log(0.25 / 0.75) + 0.75 * math.log(0.75 / 0.25)
    close(peers_say(logits, present), [[(back + across) / 2, 0], [half, 0], [(back + across) / 2, 0]])


@pytest.mark.parametrize(
    ("words", "term"),
    [("objective.teacher=0", "teacher"), ("objective.consensus=0", "consensus"), ("hint=none", "hint"),
     ("objective.pseudo=0", "pseudo")],
)  # fmt: skip
def test_each_term_of_peers_can_be_left_out(words: str, term: str) -> None:
    all_of_it = ("hint=contrast", "objective.pseudo=0.5", "objective.threshold=0.3", "objective.hint=0.1")
    taught, without = together(*all_of_it), together(*all_of_it, words)
    assert taught.train(1).sums[term] > 0 and term not in without.train(1).sums
    assert taught.digest("v01") != without.digest("v01")


def test_peers_learn_from_events_that_one_view_missed_and_alone() -> None:
    first, second, third = views()
    few = replace(second, train=second.train.rows(torch.arange(5)), shared=second.shared[:5])
    assert together(seen=[first, few, third]).train(1).count > 0
    assert "consensus" not in together(seen=[first]).train(1).sums


def test_a_run_of_peers_is_the_same_in_this_process_and_in_workers(tmp_path: Path) -> None:
    words = ("strategy=together", "hint=contrast", "objective.pseudo=0.5")
    here, there = (summary(run(tmp_path / n, *words, f"place.workers={n}")) for n in "12")
    assert here["digest"] == there["digest"] and here["views"] == ["v01", "v02", "v03"]
    assert len(set(here["accuracy"])) == 3
