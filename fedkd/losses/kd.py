"""Knowledge distillation: the student imitates softened beliefs.

Hinton, Vinyals, Dean. Distilling the Knowledge in a Neural Network. NIPS workshop 2014. https://arxiv.org/abs/1503.02531,
section 2:  T^2 KL(p_T || softmax(z / T)),  p_T = p^(1/T) / sum p^(1/T)

    >>> kd_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), temperature=2.0)   # 4 ln 2
    tensor([2.7726])
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def kd_loss(
    student_logits: Float[Tensor, "B K"], target_probs: Float[Tensor, "B K"], *, temperature: float = 4.0
) -> Float[Tensor, "B"]:
    """Per-sample loss in nats, times T^2 so that its gradient keeps its scale as T grows."""
    target = temper(target_probs, temperature)
    student_log_probs = torch.log_softmax(student_logits / temperature, dim=1)
    divergence = (torch.xlogy(target, target) - target * student_log_probs).sum(1)  # B
    return temperature**2 * divergence


def temper(probs: Float[Tensor, "B K"], temperature: float) -> Float[Tensor, "B K"]:
    """softmax(z / T) from p = softmax(z), without z."""
    powers = probs.pow(1 / temperature)
    return powers / powers.sum(1, keepdim=True)
