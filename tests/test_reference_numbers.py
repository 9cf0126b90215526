"""Losses and consensus rules against their formulas, written once more from the papers in plain float64 numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedkd.consensus.enhanced_era import enhanced_era
from fedkd.consensus.era import era
from fedkd.consensus.log_pool import log_pool
from fedkd.consensus.mean import mean_consensus
from fedkd.losses.cross_entropy import soft_cross_entropy
from fedkd.losses.jsd import jsd_loss
from fedkd.losses.kd import kd_loss
from fedkd.losses.reverse_kl import reverse_kl_loss
from fedkd.types import SoftLabels

STUDENT = np.array([[1.2, -0.3, 0.5, 0.0], [-2.0, 0.1, 0.4, 3.0]])
TEACHER = np.array([[2.0, 1.0, -1.0, 0.5], [0.2, 0.0, 0.7, 0.1]])


def softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * np.log(p / q)).sum(-1)


Z, P = torch.tensor(STUDENT), torch.tensor(softmax(TEACHER))
z, p = softmax(STUDENT), softmax(TEACHER)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_kd_tempers_probabilities_as_hinton_tempers_logits(temperature: float) -> None:
    expected = temperature**2 * kl(softmax(TEACHER / temperature), softmax(STUDENT / temperature))
    np.testing.assert_allclose(kd_loss(Z, P, temperature=temperature).numpy(), expected, rtol=1e-12)


def test_kd_gradient_nears_that_of_squared_logits_at_high_temperature() -> None:
    # Hinton et al., section 2.1: with zero-mean logits the gradient tends to (z - v) / N, here times T^2 / T^2.
    student, teacher = STUDENT - STUDENT.mean(1, keepdims=True), TEACHER - TEACHER.mean(1, keepdims=True)
    logits = torch.tensor(student, requires_grad=True)
    kd_loss(logits, torch.tensor(softmax(teacher)), temperature=1e4).sum().backward()
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), (student - teacher) / 4, rtol=1e-2, atol=1e-3)


def test_cross_entropy() -> None:
    np.testing.assert_allclose(soft_cross_entropy(Z, P).numpy(), -(p * np.log(z)).sum(1), rtol=1e-12)


def test_jsd() -> None:
    middle = (p + z) / 2
    np.testing.assert_allclose(jsd_loss(Z, P).numpy(), (kl(p, middle) + kl(z, middle)) / 2, rtol=1e-12)


def test_jsd_is_symmetric_and_bounded_by_ln_2() -> None:
    np.testing.assert_allclose(jsd_loss(Z, P).numpy(), jsd_loss(torch.tensor(TEACHER), torch.tensor(z)).numpy())
    apart = jsd_loss(torch.tensor([[500.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    np.testing.assert_allclose(apart.numpy(), np.log(2), rtol=1e-6)


def test_reverse_kl() -> None:
    np.testing.assert_allclose(reverse_kl_loss(Z, P).numpy(), kl(z, p), rtol=1e-12)


EVENTS = torch.tensor([3, 5])
BELIEFS = np.array([[[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]], [[0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], [[0.5, 0.25, 0.25]] * 2])
WEIGHT = np.array([[1.0, 0.5], [2.0, 0.25], [0.0, 1.0]])
TABLES = [
    SoftLabels.of(EVENTS, torch.tensor(beliefs).float(), torch.tensor(weight).float())
    for beliefs, weight in zip(BELIEFS, WEIGHT, strict=True)
]
MEAN = (WEIGHT[..., None] * BELIEFS).sum(0) / WEIGHT.sum(0)[:, None]


def test_mean() -> None:
    np.testing.assert_allclose(mean_consensus(TABLES).probs.numpy(), MEAN, rtol=1e-6)
    np.testing.assert_allclose(MEAN[0], [0.8 / 3, 1.9 / 3, 0.1])  # by hand: (1 x 0.6 + 2 x 0.1) / 3, ...


def test_era() -> None:
    np.testing.assert_allclose(era(TABLES, temperature=0.1).probs.numpy(), softmax(MEAN / 0.1), rtol=1e-5)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_enhanced_era(beta: float) -> None:
    expected = MEAN**beta / (MEAN**beta).sum(1, keepdims=True)
    np.testing.assert_allclose(enhanced_era(TABLES, beta=beta).probs.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_log_pool(beta: float) -> None:
    certainty = 1 + (BELIEFS * np.log(BELIEFS)).sum(2) / np.log(3)
    say = WEIGHT * certainty / (WEIGHT * certainty).sum(0)
    product = np.prod(BELIEFS ** (beta * say[..., None]), axis=0)
    expected = product / product.sum(1, keepdims=True)
    np.testing.assert_allclose(log_pool(TABLES, beta=beta).probs.numpy(), expected, rtol=1e-5)
