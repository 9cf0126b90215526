"""Laws of every hint in conf/hint and every guidance in conf/guidance: a new YAML brings its own tests.

One number a sample, finite; permuting the batch permutes the result; the student learns from it, the teacher does not.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fedkd.build import build
from fedkd.config import load, options
from fedkd.learn.hints.shown import MakeHint, Shown, show
from fedkd.models.pose_net import PoseNet
from fedkd.types import UNKNOWN

SKELETON, CLASSES = (16, 20, 3), 3
LABELS = torch.tensor([0, 1, 2, UNKNOWN, 1, UNKNOWN])
ORDER = torch.tensor([3, 0, 5, 4, 1, 2])


def chosen(group: str) -> list[str]:
    return [name for name in options(group) if load([f"{group}={name}", "teacher=tcn"])[group].get("_target_")]


@pytest.fixture(params=chosen("hint"))
def hint(request: pytest.FixtureRequest) -> tuple[nn.Module, PoseNet, Shown, Tensor]:
    """A hint as a run makes it, a teacher, what it shows of six clips, and a student's maps of them."""
    torch.manual_seed(0)
    make: MakeHint = build(load([f"hint={request.param}", "teacher=tcn"]).hint, _partial_=True)
    teacher = PoseNet(CLASSES, SKELETON, channels=24)
    shown = show(teacher, torch.randn(len(LABELS), *SKELETON), LABELS)
    maps = torch.randn(len(LABELS), 10, 5)  # of other channels and moments than the teacher's
    return make(10, shown.maps.shape[1]), teacher, shown, maps


def test_a_hint_gives_one_number_a_sample_and_follows_a_permutation(hint: tuple) -> None:
    module, _, shown, maps = hint
    events = torch.arange(len(LABELS))
    losses = module(maps, shown, LABELS, events)
    assert losses.shape == LABELS.shape and losses.isfinite().all()
    permuted = module(maps[ORDER], shown.rows(ORDER), LABELS[ORDER], events[ORDER])
    torch.testing.assert_close(permuted, losses[ORDER])


def test_a_hint_teaches_the_student_and_not_the_teacher(hint: tuple) -> None:
    module, teacher, shown, maps = hint
    maps.requires_grad_()
    module(maps, shown, LABELS, torch.arange(len(LABELS))).sum().backward()
    assert maps.grad is not None and maps.grad.isfinite().all() and maps.grad.any()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in module.parameters())
    assert all(weight.grad is None for weight in teacher.parameters()) and not shown.maps.requires_grad


@pytest.mark.parametrize("num_teachers", [1, 2])
@pytest.mark.parametrize("name", chosen("guidance"))
def test_guidance_gives_one_number_a_sample_and_teaches_the_student(name: str, num_teachers: int) -> None:
    torch.manual_seed(0)
    guidance = build(load([f"guidance={name}", "teacher=tcn"]).guidance)
    probs = (3 * torch.randn(num_teachers, len(LABELS), CLASSES)).softmax(2)
    logits = torch.randn(len(LABELS), CLASSES, requires_grad=True)
    losses = guidance(logits, probs, LABELS)
    assert losses.shape == LABELS.shape and losses.isfinite().all() and (losses > -1e-6).all()
    torch.testing.assert_close(guidance(logits[ORDER], probs[:, ORDER], LABELS[ORDER]), losses[ORDER])
    losses.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and logits.grad[LABELS != UNKNOWN].any(1).all()
