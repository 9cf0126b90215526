"""Channel correlation: which focal channels are active together.

Liu, Huang, Lin, Wang, Liu, Ding, Yang. Exploring Inter-Channel Correlation for Diversity-Preserved Knowledge
Distillation. ICCV 2021. https://arxiv.org/abs/2202.03680, equation 4, here over the focal channels of each clip (Gan et
al., IEEE Access 2023; RECONSTRUCTED, see `focal_channels`):
    || R(F) - R(G) ||_F^2 / |K|^2,   R(F) = F F^T over the focal channels, each of length 1
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize


def channel_correlation_loss(
    student: Float[Tensor, "B C S"], teacher: Float[Tensor, "B C S"], focal: Bool[Tensor, "B C"]
) -> Float[Tensor, "B"]:
    """Per-sample loss, 0 to 4."""
    difference = correlations(student, focal) - correlations(teacher, focal)
    return difference.square().sum((1, 2)) / focal.sum(1).square()


def correlations(features: Float[Tensor, "B C S"], focal: Bool[Tensor, "B C"]) -> Float[Tensor, "B C C"]:
    """Cosines between the focal channels' maps; rows and columns of the others are 0."""
    channels = normalize(features, dim=2) * focal[:, :, None]
    return channels @ channels.transpose(1, 2)
