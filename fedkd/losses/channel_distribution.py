"""Channel distribution: where each focal channel is active.

Shu, Liu, Gao, Yan, Shen. Channel-wise Knowledge Distillation for Dense Prediction. ICCV 2021.
https://arxiv.org/abs/2011.13256, equation 5, here over the focal channels of each clip (Gan et al., IEEE Access 2023;
RECONSTRUCTED, see `focal_channels`):
    T^2 / |K| sum_{c in K} KL( softmax_s(F_c / T) || softmax_s(G_c / T) )
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def channel_distribution_loss(
    student: Float[Tensor, "B C S"],
    teacher: Float[Tensor, "B C S"],
    focal: Bool[Tensor, "B C"],
    *,
    temperature: float = 4.0,
) -> Float[Tensor, "B"]:
    """Per-sample loss in nats, times T^2; S are the places of a map: here its moments."""
    target = (teacher / temperature).softmax(2)
    divergence = target * ((teacher / temperature).log_softmax(2) - (student / temperature).log_softmax(2))
    return temperature**2 * (divergence.sum(2) * focal).sum(1) / focal.sum(1)
