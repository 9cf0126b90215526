"""A view at work: what it knows, whom it listens to, and that a pause changes nothing."""

from dataclasses import replace

import pytest
import torch

from clients.camera import Camera, Habits
from fedkd.assemble import mentor_courses, student_course
from fedkd.build import build
from fedkd.config import load
from fedkd.data.pool import pool
from fedkd.errors import Remark, UserError
from fedkd.learn.predict import confident_guesses
from fedkd.types import UNKNOWN, Clips, EventLabels, SoftLabels
from fedkd.weights import digest

JOB = (
    "data=tiny",
    "student=imu_tcn",
    "teacher=tcn",
    "teaching.rounds=1",
    "rounds=4",
    "speak_after=2",
    "data.labels=0.25",
)


def camera(*overrides: str, view: str = "v01", **habits: object) -> Camera:
    cfg = load([*JOB, *overrides])
    recorded = build(cfg.data).view(view, cfg.seed)
    return Camera(recorded, student_course(cfg), mentor_courses(cfg), Habits(cfg.seed, **habits))  # type: ignore[arg-type]


def consensus_for(seen: Camera) -> SoftLabels:
    ids = seen.view.train.ids[seen.labels == UNKNOWN]
    probs = torch.full((len(ids), seen.view.num_classes), 0.1)
    probs[:, 0] = 0.8
    return SoftLabels.of(ids, probs)


def test_a_view_tells_labels_it_has_and_speaks_of_events_nobody_labelled() -> None:
    seen = camera()
    told, spoken = seen.event_labels(), seen.speak()
    assert 0 < len(told) < len(seen.view.train)
    assert len(told) + len(spoken) == len(seen.view.train)
    assert not torch.isin(told.ids, spoken.ids).any()


def test_a_told_label_is_known_and_no_longer_spoken_of() -> None:
    seen = camera()
    before, lack = seen.speak(), seen.lack
    seen.hear_events(EventLabels(before.ids[:3], torch.zeros(3, dtype=torch.int64)))
    assert len(seen.speak()) == len(before) - 3
    assert seen.lack < lack


def test_a_view_whose_teacher_is_on_its_way_teaches_none_in_its_place() -> None:
    waits, teaches = camera("objective.teacher=1.0", awaits_teacher=True), camera("objective.teacher=1.0")
    assert "teacher" not in dict(waits.train(1).means()) and "teacher" in dict(teaches.train(1).means())
    assert not waits.teacher.taught and teaches.teacher.taught
    waits.adopt_teacher(teaches.teacher.pupil.net.state_dict())
    assert "teacher" in dict(waits.train(2).means())


def test_a_view_with_every_label_listens_to_nobody() -> None:
    full = camera("data.labels=1.0")
    full.hear_consensus(SoftLabels.of(full.view.train.ids, torch.full((len(full.view.train), 3), 1 / 3)), 3)
    assert not full.listens
    assert "consensus" not in full.train(3).sums


def test_a_view_that_lacks_little_can_be_deaf() -> None:
    assert camera().listens and not camera(deaf_below=0.9).listens


def test_a_student_keeps_what_it_learned_when_it_first_hears_a_consensus() -> None:
    seen = camera()
    seen.train(1)
    learned, step = seen.digest(), seen.pupil.step
    seen.hear_consensus(consensus_for(seen), 3)
    assert seen.digest() == learned and seen.pupil.step == step > 0
    seen.train(3)
    seen.hear_consensus(consensus_for(seen), 4)
    assert seen.first_heard == 3


def test_a_consensus_is_learned_from() -> None:
    seen = camera("strategy.teacher=false")
    seen.hear_consensus(consensus_for(seen), 1)
    assert seen.train(1).sums["consensus"] > 0


def test_teacher_answers_are_computed_once_for_each_teacher(monkeypatch) -> None:
    seen = camera()
    asked = []
    monkeypatch.setattr(
        type(seen.course), "ask", lambda self, net, clips: asked.append(1) or torch.zeros(len(clips), 3)
    )
    seen.teacher.answers(), seen.teacher.answers()
    assert len(asked) == 1
    weights = seen.teacher.pupil.net.state_dict()
    other = {name: value + 1 if value.is_floating_point() else value for name, value in weights.items()}
    seen.adopt_teacher(other)
    seen.teacher.answers()
    assert len(asked) == 2


def test_a_camera_packed_and_unpacked_goes_on_with_the_same_bits() -> None:
    straight, paused = camera(), camera()
    for seen in (straight, paused):
        seen.train(1)
        seen.hear_consensus(consensus_for(seen), 3)
        seen.train(3)
    resumed = camera()
    resumed.unpack(paused.packed())
    assert (resumed.lack, resumed.first_heard) == (paused.lack, paused.first_heard)
    assert [straight.train(4), digest(straight.pupil.net.state_dict())] == [
        resumed.train(4),
        digest(resumed.pupil.net.state_dict()),
    ]


def test_students_start_apart_unless_their_weights_are_to_be_averaged() -> None:
    apart = {camera(view=view).digest() for view in ("v01", "v02")}
    alike = {camera(view=view, common_start=True).digest() for view in ("v01", "v02")}
    assert len(apart) == 2 and len(alike) == 1


def test_a_view_that_learned_nothing_asks_and_abstains() -> None:
    fresh = camera("strategy.teacher=false")
    asked = fresh.speak()
    assert len(asked) and (asked.weight == 0).all()
    fresh.train(1)
    assert (fresh.speak().weight == 1).all()


def test_a_consensus_of_nothing_is_none() -> None:
    seen = camera()
    seen.hear_consensus(SoftLabels.empty(3), 3)
    assert not seen.first_heard


def test_a_student_ends_at_a_low_rate() -> None:
    seen = camera()
    rates = []
    for round in range(1, 5):
        seen.train(round)
        rates.append(seen.pupil.optimiser.param_groups[0]["lr"])
    assert rates[3] < rates[2] and rates[3] < 0.3 * max(rates)


def test_a_student_for_recordings_that_are_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="the student sees rgb, but v01 has"):
        camera("student=rgb_small")


IMU = ("assistants.second.modality=imu", "assistants.second.augment=null")


def test_a_host_keeps_the_teachers_that_see_its_recordings() -> None:
    cfg = load([*JOB, "teacher=pose_net", "+teacher@assistants.second=tcn", *IMU])
    assert list(camera("teacher=pose_net", "+teacher@assistants.second=tcn").mentors) == ["teacher", "second"]
    recorded = build(cfg.data).view("v01", cfg.seed)
    sensed = Clips(recorded.train.ids, recorded.train.labels, {"imu": recorded.train.streams["imu"]})
    sensor = Camera(replace(recorded, train=sensed), student_course(cfg), mentor_courses(cfg), Habits(0))
    assert list(sensor.mentors) == ["second"]
    sensor.train(1)
    assert sensor.mentors["second"].taught and sensor.speak().weight.sum() > 0
    with pytest.raises(UserError, match="recorded nothing that the teacher sees"):
        sensor.train_teacher(1)


def test_a_host_whose_recordings_no_teacher_sees_goes_without_one() -> None:
    cfg = load([*JOB, "teacher=pose_net", "objective.teacher=1.0"])
    recorded = build(cfg.data).view("v01", cfg.seed)
    sensed = Clips(recorded.train.ids, recorded.train.labels, {"imu": recorded.train.streams["imu"]})
    with pytest.warns(Remark, match="v01 goes without teacher"):
        sensor = Camera(replace(recorded, train=sensed), student_course(cfg), mentor_courses(cfg), Habits(0))
    assert sensor.mentors == {} and sensor.train(1).count > 0


def test_of_an_exam_in_another_modality_nothing_is_answered() -> None:
    seen = camera()
    seen.train(1)
    test = seen.view.test
    bones = Clips(test.ids, test.labels, {"skeleton": test.streams["skeleton"]})
    assert len(seen.sit("v01", bones)) == 0


def test_a_teacher_sits_an_exam_that_it_sees_once_it_is_taught() -> None:
    seen = camera("teacher=pose_net")
    test = seen.view.test
    assert seen.teacher_sits(test) is None, "nobody taught it yet"
    seen.train(1)
    answers = seen.teacher_sits(test)
    assert answers is not None and answers.ids.equal(test.ids)
    assert seen.teacher_sits(Clips(test.ids, test.labels, {"imu": test.streams["imu"]})) is None
    assert camera("teacher=none").teacher_sits(test) is None


def test_guesses_are_of_clips_that_nobody_labelled_and_counted_over_them_alone(monkeypatch) -> None:
    """FlexMatch's thresholds follow the clips without a label; those with one are learned by heart."""
    seen, counted = camera("objective.pseudo=0.5", threshold=0.3), []

    def guess(probs: torch.Tensor, threshold: float) -> torch.Tensor:
        counted.append(len(probs))
        return confident_guesses(probs, threshold)

    monkeypatch.setattr("clients.camera.confident_guesses", guess)
    unknown = seen.labels == UNKNOWN
    assert 0 < unknown.sum() < len(unknown)
    seen.train(1)
    pseudo = seen._lesson(2).pseudo
    assert counted == [int(unknown.sum())] * 2
    assert (pseudo[~unknown] == UNKNOWN).all() and (pseudo[unknown] != UNKNOWN).any()


def test_clips_of_one_event_that_lie_together_keep_their_event() -> None:
    views = [camera(view=name).view for name in ("v01", "v02")]
    train = pool(views, share_labels=False).train
    assert len(train.ids.unique()) == len(train) > len(train.events.unique())
    assert train.events.tolist() == torch.cat([view.train.ids for view in views]).tolist()
    assert train.rows(torch.tensor([0, len(train) - 1])).events.tolist() == train.events[[0, -1]].tolist()
