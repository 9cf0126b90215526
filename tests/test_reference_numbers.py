"""Losses and consensus rules against their formulas, written once more from the papers in plain float64 numpy.

Losses on features: `test_reference_features`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedkd.consensus.enhanced_era import enhanced_era
from fedkd.consensus.era import era
from fedkd.consensus.log_pool import log_pool
from fedkd.consensus.mean import mean_consensus
from fedkd.consensus.viewpoint_attention import viewpoint_attention
from fedkd.losses.adaptive_confidence import adaptive_confidence_loss
from fedkd.losses.cross_entropy import soft_cross_entropy
from fedkd.losses.dkd import dkd_loss
from fedkd.losses.jsd import jsd_loss
from fedkd.losses.kd import kd_loss
from fedkd.losses.mutual import mutual_loss
from fedkd.losses.reverse_kl import FLOOR, reverse_kl_loss
from fedkd.types import UNKNOWN, SoftLabels

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
    """Hinton et al., section 2: T^2 KL(softmax(v / T) || softmax(z / T)), v the teacher's logits."""
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
    """- sum_k p_k ln softmax(z)_k."""
    np.testing.assert_allclose(soft_cross_entropy(Z, P).numpy(), -(p * np.log(z)).sum(1), rtol=1e-12)


def test_jsd() -> None:
    """Lin, 1991: 1/2 KL(q || m) + 1/2 KL(p || m), m = (q + p) / 2."""
    middle = (p + z) / 2
    np.testing.assert_allclose(jsd_loss(Z, P).numpy(), (kl(p, middle) + kl(z, middle)) / 2, rtol=1e-12)


def test_jsd_is_symmetric_and_bounded_by_ln_2() -> None:
    np.testing.assert_allclose(jsd_loss(Z, P).numpy(), jsd_loss(torch.tensor(TEACHER), torch.tensor(z)).numpy())
    apart = jsd_loss(torch.tensor([[500.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    np.testing.assert_allclose(apart.numpy(), np.log(2), rtol=1e-6)


def test_reverse_kl() -> None:
    """Gu et al., equation 1: KL(q || p), q the student: the mean over the *student's* classes."""
    np.testing.assert_allclose(reverse_kl_loss(Z, P).numpy(), kl(z, p), rtol=1e-12)


def test_reverse_kl_of_a_class_that_is_ruled_out() -> None:
    """A student of two halves under a target (1, 0), read as (1, f) / (1 + f), f the floor:

    1/2 ln(1/2) + 1/2 ln(1/2) - 1/2 ln(1 / (1 + f)) - 1/2 ln(f / (1 + f)) = ln(1 + f) - ln 2 - 1/2 ln f
    """
    cost = reverse_kl_loss(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    np.testing.assert_allclose(cost.numpy(), np.log(1 + FLOOR) - np.log(2) - np.log(FLOOR) / 2, rtol=1e-12)


def test_dkd_by_hand() -> None:
    """Zhao et al., equation 7: T^2 (a KL(b_p || b_q) + b KL(o_p || o_q)), at T = 3 (where T^2 is not 2T).

    The target (27, 8, 1) / 36 at T = 3 is (3, 2, 1) / 6: b_p = (1/2, 1/2), o_p = (2/3, 1/3).
    The student's equal logits:                          b_q = (1/3, 2/3), o_q = (1/2, 1/2).
    KL(b_p || b_q) = 1/2 ln(3/2) + 1/2 ln(3/4) = 1/2 ln(9/8);   KL(o_p || o_q) = 2/3 ln(4/3) + 1/3 ln(2/3)
    """
    target = torch.tensor([[27.0, 8.0, 1.0]], dtype=torch.float64) / 36
    cost = dkd_loss(torch.zeros_like(target), target, target_weight=2.0, others_weight=5.0, temperature=3.0)
    of_chosen, of_others = np.log(9 / 8) / 2, 2 / 3 * np.log(4 / 3) + 1 / 3 * np.log(2 / 3)
    np.testing.assert_allclose(cost.numpy(), 9 * (2 * of_chosen + 5 * of_others), rtol=1e-12)


def test_dkd_with_the_authors_weights() -> None:
    """Zhao et al., equation 7, at the authors' 1, 8 and T = 4, their T^2 included; c is the target's first choice."""
    expected = []
    for student, teacher in zip(STUDENT, TEACHER, strict=True):
        q, p_soft, c = softmax(student / 4), softmax(teacher / 4), int(teacher.argmax())
        two = [np.array([soft[c], 1 - soft[c]]) for soft in (p_soft, q)]
        rest = [np.delete(soft, c) / (1 - soft[c]) for soft in (p_soft, q)]
        expected.append(16 * (kl(*two) + 8 * kl(*rest)))
    np.testing.assert_allclose(dkd_loss(Z, P).numpy(), expected, rtol=1e-11)


def test_mutual() -> None:
    """Zhang et al., equation 8: the mean over the others of KL(p_u || q), q the student; targets come first."""
    peers = np.stack([p, softmax(0.5 * TEACHER[::-1]), softmax(TEACHER**2)])
    expected = (kl(peers[0], z) + kl(peers[1], z) + kl(peers[2], z)) / 3
    np.testing.assert_allclose(mutual_loss(Z, torch.tensor(peers)).numpy(), expected, rtol=1e-12)


def test_adaptive_confidence_by_hand() -> None:
    """(1 - a c) CE(y, z) + a c D(t_k, z) of the module's docstring, at a = 1/2, T = 2 and a threshold of 0.9.

    Every student answers (9/10, 1/10), at T = 2 (3/4, 1/4): CE = ln(10/9) or ln 10, by the label. A teacher's
    (9/10, 1/10) is (3/4, 1/4) at T = 2: D = 0; its (1/10, 9/10): D = 4 (1/4 ln(1/3) + 3/4 ln 3) = 2 ln 3.
    """
    label, first, second, expected = zip(
        (1, 0.9, 0.6, 0.55 * np.log(10) + 0.45 * 2 * np.log(3)),  # the first is surest, just as sure as it must be
        (0, 0.4, 0.1, 0.55 * np.log(10 / 9)),  # the second is surest, and the student agrees with it
        (1, 0.1, 0.2, np.log(10)),  # both are wrong: the label alone
        (1, 0.6, 0.1, np.log(10)),  # the only one that is right is unsure: the label alone
        (UNKNOWN, 0.9, 0.4, 0.9 * 2 * np.log(3)),  # no label: the surest alone, at a = 1
        (UNKNOWN, 0.6, 0.4, 0.0),  # no label, and nobody sure
        strict=True,
    )  # of each clip, the probabilities that the two teachers give class 1
    teachers = torch.tensor([first, second], dtype=torch.float64)
    logits = torch.tensor([[2 * np.log(3), 0.0]] * len(label), dtype=torch.float64)
    costs = adaptive_confidence_loss(
        logits, torch.stack([1 - teachers, teachers], 2), torch.tensor(label), share=0.5, threshold=0.9, temperature=2.0
    )
    np.testing.assert_allclose(costs.numpy(), expected, rtol=1e-12)
    smoothed = adaptive_confidence_loss(
        logits, torch.stack([1 - teachers, teachers], 2), torch.tensor(label), threshold=2.0, label_smoothing=0.2
    )  # nobody is that sure: 9/10 of the mass on the label (0.8 + 0.2 / 2), 1/10 on the other class
    right, wrong = 0.9 * np.log(10 / 9) + 0.1 * np.log(10), 0.9 * np.log(10) + 0.1 * np.log(10 / 9)
    np.testing.assert_allclose(smoothed.numpy(), [wrong, right, wrong, wrong, 0, 0], rtol=1e-12)
    both_wrong = torch.stack([1 - teachers, teachers], 2)[:, 2:3]
    cost = adaptive_confidence_loss(logits[:1], both_wrong, torch.tensor([1]), threshold=0.0)
    np.testing.assert_allclose(cost.numpy(), [np.log(10)], rtol=1e-12)  # however little trust is asked for


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


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_viewpoint_attention(temperature: float) -> None:
    """sum_v a_v p_v of the module's docstring, event by event."""
    expected = []
    for n in range(len(EVENTS)):
        say = np.array([WEIGHT[v, n] * np.exp(BELIEFS[v, n] @ MEAN[n] / temperature) for v in range(len(TABLES))])
        expected.append((say / say.sum()) @ BELIEFS[:, n])
    np.testing.assert_allclose(viewpoint_attention(TABLES, temperature=temperature).probs.numpy(), expected, rtol=1e-5)
