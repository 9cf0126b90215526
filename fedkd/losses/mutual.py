"""Mutual learning: students teach one another, each the mean of what the others say.

Zhang, Xiang, Hospedales, Lu. Deep Mutual Learning. CVPR 2018. https://arxiv.org/abs/1706.00384, equation 8:
    1 / (V - 1) sum_{u != v} KL(p_u || softmax(z_v))

    >>> mutual_loss(torch.zeros(1, 2), torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]]))   # (ln 2 + 0) / 2
    tensor([0.3466])
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def mutual_loss(student_logits: Float[Tensor, "B K"], peer_probs: Float[Tensor, "V B K"]) -> Float[Tensor, "B"]:
    """Per-sample loss in nats of one student against V others, whose probabilities carry no gradient."""
    student_log_probs = torch.log_softmax(student_logits, dim=1)
    divergence = torch.xlogy(peer_probs, peer_probs) - peer_probs * student_log_probs  # V B K
    return divergence.sum(2).mean(0)
