"""Reverse KL: the student settles on one of the target's peaks instead of spreading over all of them.

    KL(softmax(z) || p)

Gu, Dong, Wei, Huang. MiniLLM: Knowledge Distillation of Large Language Models. ICLR 2024.
https://arxiv.org/abs/2306.08543, equation 1.

    >>> reverse_kl_loss(torch.zeros(1, 2), torch.tensor([[0.25, 0.75]]))   # ln(2 / sqrt 3)
    tensor([0.1438])

A class that the target rules out would cost the student infinitely much; FLOOR makes it a finite price, ln(1 / FLOOR).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

FLOOR = 1e-6
"""Least probability of a class in the target: about float32's resolution of a probability near 1."""


def reverse_kl_loss(student_logits: Float[Tensor, "B K"], target_probs: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """Per-sample loss in nats. Its target is `target_probs` itself wherever no class lies under FLOOR."""
    target = target_probs.clamp(min=FLOOR)
    target = target / target.sum(1, keepdim=True)
    student_log_probs = torch.log_softmax(student_logits, dim=1)
    return (student_log_probs.exp() * (student_log_probs - target.log())).sum(1)
