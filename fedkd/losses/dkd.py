"""Decoupled knowledge distillation: "is it this class?" and "which of the others?" are taught apart.

Zhao, Cui, Song, Qiu, Liang. Decoupled Knowledge Distillation. CVPR 2022. https://arxiv.org/abs/2203.08679, equation 7:
    T^2 ( a KL(b_p || b_q) + b KL(o_p || o_q) ),  p the softened target, q the softened student,
    b = (p_c, 1 - p_c) at the class c, o = the other classes' shares of 1 - p_c

The paper's c is the true class. A target here may stand for a clip that nobody labelled, so c is the target's own
first choice: the same class wherever the teacher is right.

    >>> dkd_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), temperature=2.0)   # two classes: KD itself, 4 ln 2
    tensor([2.7726])
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedkd.losses.kd import temper


def dkd_loss(
    student_logits: Float[Tensor, "B K"],
    target_probs: Float[Tensor, "B K"],
    *,
    target_weight: float = 1.0,
    others_weight: float = 8.0,
    temperature: float = 4.0,
) -> Float[Tensor, "B"]:
    """Per-sample loss in nats, times T^2; the weights are the authors' for CIFAR-100."""
    chosen = target_probs.argmax(1, keepdim=True)  # B 1
    target = temper(target_probs, temperature)
    student_log_probs = torch.log_softmax(student_logits / temperature, dim=1)
    its_mass, its_log_mass = _mass_of(chosen, target), _log_mass_of(chosen, student_log_probs)
    of_chosen = (torch.xlogy(its_mass, its_mass) - its_mass * its_log_mass).sum(1)
    others, others_log = _others(chosen, target), _log_others(chosen, student_log_probs)
    of_others = (torch.xlogy(others, others) - others * others_log).sum(1)
    return temperature**2 * (target_weight * of_chosen + others_weight * of_others)


def _mass_of(chosen: Int[Tensor, "B 1"], probs: Float[Tensor, "B K"]) -> Float[Tensor, "B 2"]:
    it = probs.gather(1, chosen)
    return torch.cat([it, 1 - it], dim=1)


def _log_mass_of(chosen: Int[Tensor, "B 1"], log_probs: Float[Tensor, "B K"]) -> Float[Tensor, "B 2"]:
    rest = _without(chosen, log_probs).logsumexp(1, keepdim=True)
    return torch.cat([log_probs.gather(1, chosen), rest], dim=1)


def _others(chosen: Int[Tensor, "B 1"], probs: Float[Tensor, "B K"]) -> Float[Tensor, "B K1"]:
    """The other classes' shares; where they have nothing to share out, no share (and no loss)."""
    rest = _without(chosen, probs)
    mass = rest.sum(1, keepdim=True)
    return torch.where(mass > 0, rest / mass.clamp(min=torch.finfo(mass.dtype).tiny), 0.0)


def _log_others(chosen: Int[Tensor, "B 1"], log_probs: Float[Tensor, "B K"]) -> Float[Tensor, "B K1"]:
    return torch.log_softmax(_without(chosen, log_probs), dim=1)


def _without(chosen: Int[Tensor, "B 1"], values: Float[Tensor, "B K"]) -> Float[Tensor, "B K1"]:
    """Every row without its chosen class."""
    rows, classes = values.shape
    keep = torch.ones_like(values, dtype=torch.bool).scatter(1, chosen, value=False)
    return values[keep].view(rows, classes - 1)
