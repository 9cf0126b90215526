"""Losses on more than two tables of beliefs: features, relations, several teachers. Laws and reference numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fedkd.losses.adaptive_confidence import adaptive_confidence_loss
from fedkd.losses.channel_correlation import channel_correlation_loss
from fedkd.losses.channel_distribution import channel_distribution_loss
from fedkd.losses.contrastive import info_nce
from fedkd.losses.dkd import dkd_loss
from fedkd.losses.focal_channels import focal_channels, random_channels
from fedkd.losses.kd import kd_loss
from fedkd.losses.mutual import mutual_loss
from fedkd.losses.relational import angle_loss, distance_loss
from fedkd.types import UNKNOWN

DRAW = torch.Generator().manual_seed(0)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=DRAW, dtype=torch.float64)


ALL = torch.ones(3, 4, dtype=torch.bool)
FEATURE_LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = {
    "distance": (distance_loss, numbers(5, 4)),
    "angle": (angle_loss, numbers(5, 4)),
    "channel_distribution": (lambda s, t: channel_distribution_loss(s, t, ALL), numbers(3, 4, 6)),
    "channel_correlation": (lambda s, t: channel_correlation_loss(s, t, ALL), numbers(3, 4, 6)),
}
every_feature_loss = pytest.mark.parametrize(("loss", "teacher"), FEATURE_LOSSES.values(), ids=FEATURE_LOSSES.keys())


@every_feature_loss
def test_a_copy_of_the_teacher_costs_nothing_and_stays(loss: Callable[..., Tensor], teacher: Tensor) -> None:
    student = teacher.clone().requires_grad_()
    costs = loss(student, teacher)
    costs.sum().backward()
    assert costs.shape == teacher.shape[:1] and costs.abs().max() < 1e-12
    assert student.grad is not None and student.grad.abs().max() < 1e-9


@every_feature_loss
def test_descent_lowers_it(loss: Callable[..., Tensor], teacher: Tensor) -> None:
    student = numbers(*teacher.shape)
    before = loss(student, teacher).sum()
    for _ in range(50):
        student = student.detach().requires_grad_()
        loss(student, teacher).sum().backward()
        assert student.grad is not None
        student = student - 0.3 * student.grad
    assert loss(student, teacher).sum() < 0.7 * before


@every_feature_loss
def test_float32_agrees(loss: Callable[..., Tensor], teacher: Tensor) -> None:
    student = numbers(*teacher.shape)
    torch.testing.assert_close(
        loss(student.float(), teacher.float()).double(), loss(student, teacher), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("loss", [distance_loss, angle_loss])
def test_relations_do_not_mind_where_and_how_large(loss: Callable[..., Tensor]) -> None:
    teacher = numbers(5, 4)
    turn = torch.linalg.qr(numbers(4, 4)).Q
    assert loss(3 * teacher @ turn + 7, teacher).abs().max() < 1e-9


def test_relational_distance_of_a_triangle() -> None:
    """Sides 3 4 5 against 1 1 1: in units of the mean, 4, they differ by 1/4, 0, 1/4; huber is half the square."""
    student = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    side = 0.5 * 0.25**2
    expected = torch.tensor([side / 2, side, side / 2], dtype=torch.float64)  # each corner ends two sides
    torch.testing.assert_close(distance_loss(student, teacher), expected)


def test_equal_points_have_finite_slopes() -> None:
    points = torch.zeros(3, 2, requires_grad=True)
    (distance_loss(points, numbers(3, 2).float()) + angle_loss(points, numbers(3, 2).float())).sum().backward()
    assert points.grad is not None and torch.isfinite(points.grad).all()


def test_contrastive_of_perfect_and_of_swapped_pairs() -> None:
    same, other = math.log(1 + math.exp(-2.0)), math.log(1 + math.exp(2.0))
    eye = torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(info_nce(eye, eye, temperature=0.5), torch.full((2,), same, dtype=torch.float64))
    torch.testing.assert_close(
        info_nce(eye, eye.flip(0), temperature=0.5), torch.full((2,), other, dtype=torch.float64)
    )


def test_contrastive_counts_the_same_class_as_like_but_not_the_unknown() -> None:
    anchors, partners = numbers(3, 4), numbers(3, 4)
    alone = info_nce(anchors, partners)
    nobody = info_nce(anchors, partners, labels=torch.tensor([UNKNOWN, UNKNOWN, UNKNOWN]))
    torch.testing.assert_close(nobody, alone)
    log_share = (torch.nn.functional.normalize(anchors) @ torch.nn.functional.normalize(partners).T / 0.07).log_softmax(
        1
    )
    mates = info_nce(anchors, partners, labels=torch.tensor([2, 2, UNKNOWN]))
    torch.testing.assert_close(mates[0], -(log_share[0, 0] + log_share[0, 1]) / 2)
    torch.testing.assert_close(mates[2], alone[2])


def test_mutual_is_the_mean_divergence_from_the_peers() -> None:
    logits, peers = numbers(4, 3), numbers(2, 4, 3).softmax(2)
    apart = torch.stack([kd_loss(logits, peer, temperature=1.0) for peer in peers]).mean(0)
    torch.testing.assert_close(mutual_loss(logits, peers), apart)


def test_dkd_at_equal_weights_of_its_parts_is_kd() -> None:
    """Zhao et al., equation 5: KD = TCKD + (1 - p_c) NCKD; with p_c = 1/2 at T = 1 that is TCKD + NCKD / 2."""
    logits, rest = numbers(6, 4), numbers(6, 3).softmax(1)
    target = torch.cat([torch.full((6, 1), 0.5, dtype=torch.float64), rest / 2], dim=1)
    both = dkd_loss(logits, target, target_weight=1.0, others_weight=0.5, temperature=1.0)
    torch.testing.assert_close(both, kd_loss(logits, target, temperature=1.0))


def test_adaptive_confidence_follows_the_teacher_that_is_surest_of_the_truth() -> None:
    logits, labels = numbers(4, 3), torch.tensor([0, 0, 1, UNKNOWN])
    sure, unsure = torch.tensor([0.9, 0.05, 0.05]), torch.tensor([0.6, 0.2, 0.2])
    teachers = torch.stack([sure.repeat(4, 1), unsure.repeat(4, 1)]).double()
    costs = adaptive_confidence_loss(logits, teachers, labels, share=0.5, threshold=0.5, temperature=2.0)
    truth = -logits.log_softmax(1)
    distance = kd_loss(logits, sure.double().repeat(4, 1), temperature=2.0)
    torch.testing.assert_close(costs[:2], (0.55 * truth[:, 0] + 0.45 * distance)[:2])
    torch.testing.assert_close(costs[2], truth[2, 1])  # both teachers are wrong: the label alone
    torch.testing.assert_close(costs[3], 0.9 * distance[3])  # nobody knows: the surest teacher alone


def test_adaptive_confidence_costs_nothing_where_nobody_is_sure_and_nobody_knows() -> None:
    teachers = torch.full((2, 1, 3), 1 / 3, dtype=torch.float64)
    assert adaptive_confidence_loss(numbers(1, 3), teachers, torch.tensor([UNKNOWN])).item() == 0


def test_focal_channels_are_active_and_matter() -> None:
    features = torch.tensor([[[5.0, 5.0], [5.0, 5.0], [0.1, 0.1], [1.0, 1.0]]])
    slopes = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [-2.0, -2.0]]])
    assert focal_channels(features, slopes, share=0.5).tolist() == [[False, True, False, True]]
    assert focal_channels(features, slopes, share=0.01).sum() == 1
    assert random_channels(features, torch.Generator().manual_seed(0), share=0.5).sum() == 2


def test_channels_that_are_not_focal_do_not_count() -> None:
    teacher, student = numbers(1, 4, 6), numbers(1, 4, 6)
    focal = torch.tensor([[True, True, False, False]])
    changed = student.clone()
    changed[:, 2:] = numbers(1, 2, 6)
    for loss in (channel_distribution_loss, channel_correlation_loss):
        torch.testing.assert_close(loss(student, teacher, focal), loss(changed, teacher, focal))


def test_correlation_of_opposite_channels() -> None:
    """Two channels alike in the teacher, opposite in the student: off the diagonal 1 - (-1) = 2, twice, over 4."""
    teacher = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    student = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float64)
    assert channel_correlation_loss(student, teacher, torch.ones(1, 2, dtype=torch.bool)).item() == pytest.approx(2.0)
