"""Several teachers on one host: taught in order, asked together, and hints from their features."""

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from flwr.app import RecordDict
from test_camera import camera
from tiny import run, summary

from clients.camera import Camera
from fedkd.data.depth import DepthAugment
from fedkd.data.reprojection import Reprojection
from fedkd.data.skeleton_augment import SkeletonAugment
from fedkd.errors import Remark, UserError
from fedkd.learn.augment import augmented
from fedkd.learn.hints.contrast import ContrastHint
from fedkd.learn.hints.feature import FeatureHint
from fedkd.learn.hints.focal_channel import FocalChannelHint
from fedkd.learn.hints.relational import RelationalHint
from fedkd.learn.hints.shown import Shown, show, showing
from fedkd.learn.lesson import plain_lesson
from fedkd.losses.channel_correlation import channel_correlation_loss
from fedkd.losses.channel_distribution import channel_distribution_loss
from fedkd.losses.relational import angle_loss, distance_loss
from fedkd.models.branches import Branches
from fedkd.models.pose_net import PoseNet
from fedkd.models.stgcn import StGcn
from fedkd.models.tcn import Tcn
from fedkd.types import UNKNOWN
from fedkd.weights import digest
from fedkd.wire import Letter, letters

HINTS = Path(__file__).parents[1] / "fedkd" / "conf" / "hint"
SKELETON, IMU = (16, 20, 3), (16, 2, 3)
TIME_ALONE = SkeletonAugment(
    turn=0.0, tilt=0.0, roll=0.0, shear=0.0, squeeze=0.0, scale=0.0, flip=0.0, crop=0.5, warp=0.2, jitter=0.0
)
TWO = ("+teacher@assistants.second=tcn", "objective.teacher=1.0")


def progressive(*overrides: str, **habits: object) -> Camera:
    return camera(*TWO, *overrides, **habits)


def test_an_assistant_is_taught_by_the_teacher_before_it() -> None:
    both = progressive()
    both.train(1)
    first, second = both.mentors.values()
    assert first.taught and second.taught
    untaught = progressive()
    untaught.mentors["second"].learn_here(untaught.labels, untaught._chance("second"))
    assert digest(second.pupil.net.state_dict()) != digest(untaught.mentors["second"].pupil.net.state_dict())


def test_all_mentors_guide_the_student() -> None:
    both = progressive()
    both.train(1)
    said = both._teachers_say(torch.arange(len(both.view.train)))
    assert said is not None and said.shape == (2, len(both.view.train), both.view.num_classes)


def test_mispaired_answers_are_the_same_ones_about_other_clips() -> None:
    paired, shuffled = progressive(), progressive(paired=False)
    for seen in (paired, shuffled):
        seen._teach_mentors()
    right, wrong, later = (
        seen._teachers_say(seen._clips_teachers_see(round))
        for seen, round in ((paired, 1), (shuffled, 1), (shuffled, 2))
    )
    assert right is not None and wrong is not None and later is not None
    assert not right.equal(wrong) and not wrong.equal(later)
    assert right.sort(1).values.equal(wrong.sort(1).values)


def test_the_adaptive_guidance_learns_and_a_pause_changes_no_bit() -> None:
    words = ("guidance=adaptive", "hint=contrast", "objective.hint=0.1")
    straight, paused = progressive(*words), progressive(*words)
    for seen in (straight, paused):
        tally = seen.train(1)
        assert tally.sums["hint"] > 0 and "supervised" not in tally.sums
    resumed = progressive(*words)
    resumed.unpack(paused.packed())
    assert straight.train(2) == resumed.train(2) and straight.digest() == resumed.digest()


def test_hints_and_their_layers_do_not_answer() -> None:
    plain, hinted = camera("hint=none"), camera("hint=focal_channel")
    assert plain.pupil.voice.state_dict().keys() == hinted.pupil.voice.state_dict().keys()
    assert len(hinted.pupil.hints) == 1 and not plain.pupil.hints


def shown(n: int = 8) -> tuple[PoseNet, Shown]:
    torch.manual_seed(0)
    teacher = PoseNet(3, SKELETON, channels=24)
    return teacher, show(teacher, torch.randn(n, *SKELETON), torch.tensor([0, 1, 2, UNKNOWN] * (n // 4)))


def test_what_a_teacher_shows_is_its_last_maps_and_the_slopes_of_its_reading() -> None:
    teacher, seen = shown()
    weights = next(layer for layer in teacher.classify if isinstance(layer, torch.nn.Linear)).weight
    assert seen.maps.shape[:2] == (8, 24) and teacher.num_maps == 24
    torch.testing.assert_close(seen.slopes[1].sum(1), weights[1])


def test_what_was_shown_of_a_clip_is_taken_at_the_moments_that_are_left_of_it() -> None:
    whole = Shown(torch.tensor([[[0.0, 1.0, 2.0, 3.0]]]), torch.tensor([[[3.0, 2.0, 1.0, 0.0]]]))
    every, second_half = torch.arange(8) / 8 + 1 / 16, torch.arange(8) / 16 + 1 / 32 + 0.5
    torch.testing.assert_close(whole.at(every[None]).maps, whole.maps)
    half = whole.at(second_half[None])
    torch.testing.assert_close(half.maps.flatten(), torch.tensor([1.75, 2.25, 2.75, 3.0]))  # nothing beyond the last
    torch.testing.assert_close(half.maps + half.slopes, torch.full_like(half.maps, 3.0))


@pytest.mark.parametrize(
    ("augment", "clip"),
    [
        (TIME_ALONE, torch.arange(32.0)[:, None, None].expand(32, 17, 3)),
        (Reprojection(TIME_ALONE, 0.0, 0.0), torch.arange(32.0)[:, None, None].expand(32, 17, 3)),
        (DepthAugment(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, crop=0.5), torch.arange(32, dtype=torch.uint8).view(-1, 1, 1, 1)),
    ],
)  # fmt: skip
def test_a_cropped_clip_and_what_was_shown_of_it_are_of_the_same_moments(augment, clip: torch.Tensor) -> None:
    """A teacher that shows which frame it sees, and an augmentation that changes time alone."""
    clips = clip.expand(6, *clip.shape)
    frames = torch.arange(32.0).expand(6, 1, 32)
    lesson = plain_lesson(clips, torch.zeros(6, dtype=torch.int64), 2)
    part = augmented(replace(lesson, shown=[Shown(frames, frames)]), augment, torch.Generator().manual_seed(0))
    [shown] = part.shown
    seen = part.clips.flatten(2)[..., 0].float()
    assert (seen[:, 0] > 0.5).any(), "no clip begins later"
    torch.testing.assert_close(shown.maps[:, 0], seen, atol=1e-3, rtol=0)
    alone = augmented(lesson, augment, torch.Generator().manual_seed(0))
    assert alone.clips.equal(part.clips), "hints change no clip"


def test_focal_channel_hints_weigh_their_terms_and_choose_as_they_are_told() -> None:
    _, seen = shown()
    torch.manual_seed(1)
    maps, labels, events = torch.randn(8, 16, seen.maps.shape[2]), torch.arange(8), torch.arange(8)

    def judged(**how: object) -> torch.Tensor:
        torch.manual_seed(2)  # the projection, and the random channels
        return FocalChannelHint(16, 24, **how)(maps, seen, labels, events).detach()

    spread, bound = judged(correlation=0.0, distribution=1.0), judged(correlation=1.0, distribution=0.0)
    torch.testing.assert_close(judged(distribution=2.0, correlation=5.0), 2 * spread + 5 * bound)
    torch.manual_seed(2)
    hint = FocalChannelHint(16, 24)
    everything = torch.ones(8, 24, dtype=torch.bool)
    student = hint.project(maps).detach()
    torch.testing.assert_close(
        judged(choice="all", correlation=0.0),
        channel_distribution_loss(student, seen.maps, everything, temperature=1.0),
    )
    torch.testing.assert_close(
        judged(choice="all", distribution=0.0, correlation=1.0),
        channel_correlation_loss(student, seen.maps, everything),
    )
    others = judged(choice="random", correlation=0.0)
    assert not others.equal(spread) and not others.equal(judged(choice="all", correlation=0.0))


@pytest.mark.parametrize("make", [FocalChannelHint, ContrastHint, FeatureHint, RelationalHint])
def test_a_hint_draws_the_student_to_the_teacher(make: type) -> None:
    _, seen = shown()
    student = Tcn(3, IMU, channels=16)
    hint = make(16, 24)
    clips, labels = torch.randn(8, *IMU), torch.arange(8)
    optimiser = torch.optim.Adam([*student.parameters(), *hint.parameters()], lr=1e-2)
    losses = []
    for _ in range(30):
        loss = hint(student.maps(clips), seen, labels, torch.arange(8))
        assert loss.shape == (8,)
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
        losses.append(float(loss.mean().detach()))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", sorted(path.stem for path in HINTS.glob("*.yaml") if path.stem != "none"))
def test_every_hint_can_be_chosen(name: str) -> None:
    tally = camera(f"hint={name}", "objective.hint=0.1").train(1)
    assert tally.count and 0 < tally.sums["hint"] < float("inf")


def test_the_relational_hint_weighs_distances_and_angles() -> None:
    _, seen = shown()
    maps, labels, rows = torch.randn(8, 16, 5), torch.arange(8), torch.arange(8)
    embeddings, teachers = maps.mean(2), seen.maps.mean(2)
    cost = RelationalHint(16, 24, distance=3.0, angle=0.5)(maps, seen, labels, rows)
    torch.testing.assert_close(cost, 3 * distance_loss(embeddings, teachers) + 0.5 * angle_loss(embeddings, teachers))


def test_without_a_label_no_mentor_learns_and_none_guides() -> None:
    seen = progressive("hint=contrast")
    nothing = torch.full_like(seen.view.train.labels, UNKNOWN)
    seen.view = replace(seen.view, train=seen.view.train.knowing(nothing))
    seen.train(1)
    assert not any(mentor.taught for mentor in seen.mentors.values()) and not seen.pupil.taught


def test_the_guidance_is_the_students_alone() -> None:
    seen = progressive("guidance=adaptive")
    assert seen.course.objective.guidance is not None
    assert all(mentor.course.objective.guidance is None for mentor in seen.mentors.values())


def test_a_hint_counts_clips_that_nobody_labelled() -> None:
    seen = camera("hint=contrast", "objective.teacher=0")
    seen._teach_mentors()
    assert seen.course.objective.useful(seen._lesson(1), 0.0).all()


def test_a_net_that_shows_no_features_takes_no_hint() -> None:
    with pytest.raises(UserError, match="Linear does not"):
        showing(torch.nn.Linear(1, 1))


def test_nets_side_by_side_show_the_features_of_each() -> None:
    seen = camera("hint=focal_channel", "teacher=stgcn_streams")
    assert dict(seen.train(1).means())["hint"] > 0


def test_nets_of_other_moments_cannot_lie_side_by_side() -> None:
    slow = partial(StGcn, base_channels=8, strides=(2,))
    net = Branches(4, (16, 22, 3), parts=[20, -1], nets=[slow, Tcn]).eval()
    assert net(torch.zeros(2, 16, 22, 3)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"\[8, 16\] moments"):
        net.maps(torch.zeros(2, 16, 22, 3))


def test_a_clip_drawn_twice_is_no_stranger_to_itself() -> None:
    _, seen = shown(4)
    hint, maps = ContrastHint(24, 24), torch.randn(4, 24, 8)
    unknown, twice = torch.full((4,), UNKNOWN), torch.tensor([0, 0, 1, 2])
    both = Shown(seen.maps[[0, 0, 1, 2]], seen.slopes[[0, 0, 1, 2]])
    strange, same = hint(maps, both, unknown, torch.arange(4)), hint(maps, both, unknown, twice)
    torch.testing.assert_close(same[0], strange[:1].squeeze() * 0.5 + strange[0] * 0.5)  # both partners are one clip


def test_unknown_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="focal, all or random"):
        FocalChannelHint(4, 4, choice="best")


def test_a_run_with_all_of_it_is_the_same_in_this_process_and_in_workers(tmp_path: Path) -> None:
    words = (
        "+teacher@assistants.second=tcn",
        "guidance=adaptive",
        "hint=contrast",
        "+student@students.v02=imu_tcn",
        "+students.v02.model.channels=32",
    )
    folders = [run(tmp_path / str(workers), *words, f"place.workers={workers}") for workers in (1, 2)]
    assert len({summary(folder)["digest"] for folder in folders}) == 1
    with open(folders[0] / "rounds.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["view"] == "v02" and row["round"] == "2"]
    assert rows[0]["status"] == "ok", rows[0]["status"]
    assert float(rows[0]["hint"]) > 0 and float(rows[0]["teacher"]) > 0


def test_a_student_of_a_view_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"students names v09, but the data has the views v01.*~student@students.v09"):
        run(tmp_path, "+student@students.v09=imu_tcn", "place.workers=1")


@pytest.mark.parametrize(
    "words",
    [
        ("teacher=tcn", "+teacher@assistants.second=tcn", "hint=focal_channel", "objective.hint=0.1"),
        ("teacher=tcn", "+teacher@assistants.second=tcn", "guidance=adaptive"),
    ],
    ids=["focal_channel", "progressive"],
)
def test_what_teachers_show_and_answer_stays_with_their_host(
    tmp_path: Path, monkeypatch, words: tuple[str, ...]
) -> None:
    """A paper's system with a client for each view: all that the server opens."""
    sent: set[str] = set()

    def opened(content: RecordDict) -> dict[str, Letter]:
        found = letters(content)
        sent.update(kind for letter in found.values() for kind in letter)
        return found

    monkeypatch.setattr("strategies.post.letters", opened)
    folder = run(tmp_path, *words, "strategy=distil", "data.labels=0.4", "place.workers=1")
    assert sent == {"events", "clips", "tally", "clock", "soft", "answers", "truth", "student", "teacher_answers"}
    with open(folder / "rounds.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert any(float(row["teacher"] or 0) > 0 for row in rows)
    assert any(float(row["hint"] or 0) > 0 for row in rows) == ("hint=focal_channel" in words)
    assert any(float(row["consensus"] or 0) > 0 for row in rows)


def test_a_federation_that_lacks_no_label_says_that_nothing_travels(tmp_path: Path) -> None:
    with pytest.warns(Remark, match="no soft label travels"):
        run(tmp_path, "strategy=distil", "data.labels=1.0", "place.workers=1")
