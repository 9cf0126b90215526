"""Laws of every loss in conf/loss: a new YAML brings its own tests.

Zero gradient at its target; descent lowers it; permuting the batch permutes the result; float32 agrees with float64;
never negative; finite, with finite gradients, for targets of exact zeros and ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from fedkd.losses.dkd import dkd_loss
from fedkd.losses.kd import kd_loss
from fedkd.rules import RANGES

CONF = Path(__file__).parents[1] / "fedkd" / "conf" / "loss"
Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {path.stem: instantiate(OmegaConf.load(path)) for path in sorted(CONF.glob("*.yaml"))}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def beliefs(seed: int, *, scale: float = 2.0, num_classes: int = 6, batch: int = 5) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits, target_logits = scale * torch.randn(2, batch, num_classes, generator=draw)
    return logits, target_logits.softmax(1)


def gradient(loss: Loss, logits: Tensor, target: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    loss(logits, target).sum().backward()
    assert logits.grad is not None
    return logits.grad


@every_loss
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 4.0))
def test_gradient_is_zero_at_its_target(loss: Loss, seed: int, scale: float) -> None:
    target = beliefs(seed, scale=scale)[1].double() + 1e-4  # no class under reverse_kl's floor
    target = target / target.sum(1, keepdim=True)
    assert gradient(loss, target.log(), target).abs().max() < 1e-9


@every_loss
def test_descent_nears_its_target(loss: Loss) -> None:
    logits, target = (part.double() for part in beliefs(1, scale=1.0))
    before, least = loss(logits, target), loss(target.log(), target)
    for _ in range(200):
        logits = logits - 0.5 * gradient(loss, logits, target)
    assert (loss(logits, target) - least < 0.1 * (before - least)).all()


@every_loss
def test_gives_one_number_a_sample_and_follows_a_permutation(loss: Loss) -> None:
    logits, target = beliefs(2)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert loss(logits, target).shape == (5,)
    torch.testing.assert_close(loss(logits[order], target[order]), loss(logits, target)[order])


@every_loss
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.0, 30.0))
def test_float32_agrees_with_float64_and_is_never_negative(loss: Loss, seed: int, scale: float) -> None:
    logits, target = beliefs(seed, scale=scale)
    single, double = loss(logits, target), loss(logits.double(), target.double())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
    assert (double > -1e-5).all()  # as exactly as the target's float32 rows sum to 1


@every_loss
@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
def test_certain_targets_and_certain_students_stay_finite(loss: Loss, scale: float) -> None:
    logits = scale * torch.tensor([[1.0, 0.0, -1.0], [1.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    target = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    assert torch.isfinite(loss(logits, target)).all()
    assert torch.isfinite(gradient(loss, logits, target)).all()


@pytest.mark.parametrize("loss", [kd_loss, dkd_loss])
def test_the_least_temperature_that_is_allowed_is_safe(loss: Loss) -> None:
    """Of a thousand classes none of which is likely."""
    least, (words, holds) = 0.1, RANGES["loss.temperature"]
    assert holds(least) and not holds(0.99 * least) and str(least) in words
    target = torch.full((1, 1000), 1 / 1000)
    logits = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
    at_least = partial(loss, temperature=least)
    assert torch.isfinite(at_least(logits, target)).all() and torch.isfinite(gradient(at_least, logits, target)).all()


@every_loss
def test_descent_moves_towards_a_certain_target(loss: Loss) -> None:
    logits, target = torch.zeros(1, 3), torch.tensor([[0.0, 1.0, 0.0]])
    step = -gradient(loss, logits, target)
    assert step.argmax() == 1 and step[0, 1] > 0
