"""Jensen-Shannon divergence: symmetric and never above ln 2, so that one absurd target cannot take over a batch.

Lin. Divergence Measures Based on the Shannon Entropy. IEEE Trans. Information Theory 37(1), 1991.
https://doi.org/10.1109/18.61115
    1/2 KL(q || m) + 1/2 KL(p || m),   q = softmax(z),  m = (q + p) / 2

    >>> jsd_loss(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 1.0]]))   # ln 2: they share nothing
    tensor([0.6931])
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def jsd_loss(student_logits: Float[Tensor, "B K"], target_probs: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """Per-sample loss in nats, 0 to ln 2."""
    student_log_probs = torch.log_softmax(student_logits, dim=1)
    # The student's logarithm is finite, hence the middle's too, even where the target is exactly zero.
    middle_log_probs = torch.logaddexp(student_log_probs, target_probs.log()) - math.log(2)
    student_part = student_log_probs.exp() * (student_log_probs - middle_log_probs)
    target_part = torch.xlogy(target_probs, target_probs) - target_probs * middle_log_probs
    return 0.5 * (student_part + target_part).sum(1)
