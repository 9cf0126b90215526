"""Cross-entropy with soft targets, at temperature 1.

    - sum_k p_k log softmax(z)_k

Hinton, Vinyals, Dean. Distilling the Knowledge in a Neural Network. NIPS workshop 2014. https://arxiv.org/abs/1503.02531,
section 2, with T = 1 and the entropy of the target left in.
At its minimum, softmax(z) = p, it is the target's own entropy rather than zero.

    >>> soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))   # ln 2
    tensor([0.6931])
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def soft_cross_entropy(student_logits: Float[Tensor, "B K"], target_probs: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """Per-sample loss in nats."""
    return -(target_probs * torch.log_softmax(student_logits, dim=1)).sum(1)
