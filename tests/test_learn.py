"""The laws of teaching: what is known is learned, what is unknown stays silent, and a pause changes no bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fedkd.learn.course import Course
from fedkd.learn.lesson import Lesson, plain_lesson, spread
from fedkd.learn.mixup import Mixture
from fedkd.learn.objective import Objective
from fedkd.learn.predict import confident_guesses, predict
from fedkd.learn.pupil import Pupil, Schooling
from fedkd.losses.kd import kd_loss
from fedkd.types import UNKNOWN, SoftLabels
from fedkd.weights import digest

K = 3


def net(clip_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, num_classes))


def course(ema: float = 0.0, mixup: float = 0.0, **weights: float) -> Course:
    schooling = Schooling(batch=8, epochs=15, learning_rate=2e-2, ema=ema, mixup=mixup)
    return Course("x", "x", net, None, None, schooling, Objective(kd_loss, **weights), rounds=4)


def clips(n: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % K
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(1)) * 0.1
    x[torch.arange(n), labels] += 2
    return x, labels


def taught(course: Course, lesson: Lesson, rounds: int = 4, **how: float) -> Pupil:
    pupil = course.new_pupil((4,), K, (0, "student"))
    for round in range(1, rounds + 1):
        course.teach(pupil, lesson, round, (0, "student"), **how)
    return pupil


def test_known_labels_are_learned() -> None:
    x, labels = clips()
    pupil = taught(course(), plain_lesson(x, labels, K))
    assert (predict(pupil.voice, x).argmax(1) == labels).all()


def test_mixed_clips_are_judged_by_what_is_known_of_both() -> None:
    mixture = Mixture(partner=torch.tensor([1, 0]), share=0.75)
    assert mixture.clips(torch.tensor([[0.0], [4.0]])).tolist() == [[1.0], [3.0]]
    assert mixture.clips(torch.tensor([[0], [6]], dtype=torch.uint8)).tolist() == [[2], [4]]
    logits, labels = torch.randn(2, K), torch.tensor([0, 2])
    own, partners = (
        F.cross_entropy(logits, labels, reduction="none"),
        F.cross_entropy(logits, labels[mixture.partner], reduction="none"),
    )
    target = 0.75 * F.one_hot(labels, K) + 0.25 * F.one_hot(labels[mixture.partner], K)
    mixed = mixture.losses({"supervised": own}, {"supervised": partners})["supervised"]
    assert torch.allclose(mixed, F.cross_entropy(logits, target, reduction="none"))


def test_mixed_clips_teach_known_labels() -> None:
    x, labels = clips()
    pupil = taught(course(mixup=0.4), plain_lesson(x, labels, K))
    assert (predict(pupil.voice, x).argmax(1) == labels).all()
    assert digest(pupil.net.state_dict()) == digest(
        taught(course(mixup=0.4), plain_lesson(x, labels, K)).net.state_dict()
    )
    assert digest(pupil.net.state_dict()) != digest(taught(course(), plain_lesson(x, labels, K)).net.state_dict())


def test_a_consensus_teaches_where_no_label_is_known() -> None:
    x, labels = clips()
    belief = nn.functional.one_hot(labels, K).float()
    nothing = torch.full_like(labels, UNKNOWN)
    lesson = Lesson(x, torch.arange(len(x)), nothing, None, belief, torch.ones(len(x)), nothing)
    deaf = taught(course(), lesson, listening=0.0)
    assert deaf.step == 0
    heard = taught(course(), lesson, listening=1.0)
    assert (predict(heard.voice, x).argmax(1) == labels).float().mean() > 0.9


def test_a_lesson_without_anything_known_teaches_nothing() -> None:
    x, labels = clips()
    silent = plain_lesson(x, torch.full_like(labels, UNKNOWN), K)
    pupil = course().new_pupil((4,), K, (0, "student"))
    before = digest(pupil.voice.state_dict())
    assert course().teach(pupil, silent, 1, (0, "student")).count == 0
    assert digest(pupil.voice.state_dict()) == before


def test_a_pupil_put_away_and_taken_up_again_goes_on_with_the_same_bits() -> None:
    x, labels = clips()
    lesson, way = plain_lesson(x, labels, K), course(ema=0.9)
    straight = taught(way, lesson, rounds=4)
    paused = taught(way, lesson, rounds=2)
    resumed = way.new_pupil((4,), K, (1, "another start"))
    resumed.restore({name: value.clone() for name, value in paused.state().items()})
    for round in (3, 4):
        way.teach(resumed, lesson, round, (0, "student"))
    assert digest(resumed.voice.state_dict()) == digest(straight.voice.state_dict())
    assert digest(resumed.net.state_dict()) == digest(straight.net.state_dict())


def test_beliefs_are_laid_along_the_views_own_clips() -> None:
    told = SoftLabels(torch.tensor([2, 5]), torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([1.0, 0.5]))
    probs, trust = spread(told, torch.tensor([1, 2, 5, 9]))
    assert torch.allclose(trust, torch.tensor([0, 0.9, 0.5 * 0.8, 0]))  # sure voices, and how many
    assert probs[1].tolist() == told.probs[0].tolist() and probs[0].tolist() == [0.5, 0.5]


def test_the_bar_for_a_guess_is_lower_for_a_class_seldom_sure() -> None:
    probs = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.3, 0.7], [0.6, 0.4], [0.05, 0.95]])
    assert confident_guesses(probs, 0.9).tolist() == [0, 0, 1, UNKNOWN, 1]
    assert confident_guesses(probs[3:4], 0.9).tolist() == [UNKNOWN]


def test_the_rate_warms_up_and_ends_at_zero() -> None:
    way = Schooling(learning_rate=1.0)
    rates = [way.rate(step, 100) for step in range(100)]
    assert max(rates) == 1.0 and rates[0] < 0.2 and rates[-1] < 0.01


def rates_of(pupil: Pupil) -> list[float]:
    """The learning rate of every step that it takes from now on."""
    rates: list[float] = []
    pupil.optimiser.register_step_pre_hook(lambda optimiser, *_: rates.append(optimiser.param_groups[0]["lr"]))
    return rates


STEPS = 45  # of a round of `course()` on 24 clips


def test_who_learns_in_every_round_has_the_rates_of_the_whole_course() -> None:
    way, (x, labels) = course(), clips()
    pupil = way.new_pupil((4,), K, (0, "student"))
    rates = rates_of(pupil)
    for round in range(1, 5):
        way.teach(pupil, plain_lesson(x, labels, K), round, (0, "student"))
    assert rates == [way.schooling.rate(step, 4 * STEPS) for step in range(4 * STEPS)], "to the bit"


@pytest.mark.parametrize("rounds", [[3, 4], [4], [1, 4], [1, 2, 4]], ids=str)
def test_the_rate_of_who_missed_rounds_falls_to_zero_too(rounds: list[int]) -> None:
    """Nothing to learn from before, or a host that was away; put away and taken up again between any two rounds."""
    way, (x, labels) = course(), clips()
    pupil = way.new_pupil((4,), K, (0, "student"))
    for round in range(1, 5):
        known = labels if round in rounds else torch.full_like(labels, UNKNOWN)
        state, pupil = pupil.state(), way.new_pupil((4,), K, (1, "another start"))
        pupil.restore({name: value.clone() for name, value in state.items()})
        rates = rates_of(pupil)
        way.teach(pupil, plain_lesson(x, known, K), round, (0, "student"))
        assert bool(rates) == (round in rounds)
    total = len(rounds) * STEPS
    assert rates == [way.schooling.rate(step, total) for step in range(total - STEPS, total)]
    assert rates[-1] < 0.002 * way.schooling.learning_rate and way.schooling.rate(total, total) == 0


def test_the_ramp_gives_the_consensus_its_weight_by_and_by() -> None:
    objective = Objective(kd_loss, ramp_rounds=5)
    ramp = [objective.ramp(r) for r in range(7)]
    assert ramp == sorted(ramp) and ramp[0] < 0.01 and ramp[5] == 1.0
