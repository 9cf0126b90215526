"""Focal channels: of a teacher's feature channels, those that speak for the clip's class.

Gan, Cao, Li, Yang, Li. Focal Channel Knowledge Distillation for Multi-Modality Action Recognition. IEEE Access 11,
2023, pages 78285-78298. RECONSTRUCTED: the abstract says that only focal channels are transferred, because all bring
competition and redundancy; how a channel's focus is measured is this project's choice, that of Grad-CAM (Selvaraju et
al., ICCV 2017, https://arxiv.org/abs/1610.02391, equation 1):
    a_c = mean_s |F_cs| * |mean_s dz_y / dF_cs|

The mask says which channels of each clip count in `channel_distribution` and `channel_correlation`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def focal_channels(
    features: Float[Tensor, "B C S"], slopes: Float[Tensor, "B C S"], *, share: float = 0.5
) -> Bool[Tensor, "B C"]:
    """The `share` of channels with the highest focus; `slopes` are the class's logit's derivatives by the features."""
    focus = features.abs().mean(2) * slopes.mean(2).abs()  # B C
    return _highest(focus, share)


def random_channels(features: Float[Tensor, "B C S"], generator: torch.Generator, *, share: float = 0.5) -> Tensor:
    """As many channels, drawn by chance: what the choice is worth is measured against them."""
    return _highest(torch.rand(features.shape[:2], generator=generator), share)


def _highest(score: Float[Tensor, "B C"], share: float) -> Bool[Tensor, "B C"]:
    count = max(1, round(share * score.shape[1]))
    return torch.zeros_like(score, dtype=torch.bool).scatter(1, score.topk(count, dim=1).indices, value=True)
