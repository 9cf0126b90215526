"""A small transformer for sequences, of sensors or of joints: patches of time attend to one another.

Vaswani et al. Attention Is All You Need. NeurIPS 2017. https://arxiv.org/abs/1706.03762 (the encoder; norms first, as
in Xiong et al., ICML 2020, https://arxiv.org/abs/2002.04745); convolutions make the patches (Xiao et al., NeurIPS 2021,
https://arxiv.org/abs/2106.14881).

    >>> SequenceTransformer(num_classes=27, sample_shape=(64, 2, 3))(torch.zeros(2, 64, 2, 3)).shape
    torch.Size([2, 27])
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fedkd.models.shows_maps import ShowsMaps

PATCH = 4
"""Frames that one patch stands for."""


class SequenceTransformer(ShowsMaps):
    """Clips [T S 3] of S vectors a frame; T at least 4.

    channels  width of a patch, a multiple of `heads`.
    """

    def __init__(
        self,
        num_classes: int,
        sample_shape: Sequence[int],
        *,
        channels: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"channels must be a multiple of heads, got {channels} channels and {heads} heads.")
        num_patches = -(-sample_shape[0] // PATCH)
        self.patch = nn.Sequential(
            nn.Conv1d(math.prod(sample_shape[1:]), channels, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv1d(channels, channels, 5, stride=PATCH // 2, padding=2),
        )
        self.place = nn.Parameter(0.02 * torch.randn(num_patches, channels))
        layer = nn.TransformerEncoderLayer(
            channels, heads, 2 * channels, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(channels)
        self.num_maps = channels
        self.classify = nn.Linear(channels, num_classes)

    def maps(self, x: Float[Tensor, "B T *rest"]) -> Float[Tensor, "B C P"]:
        """What every channel makes of every patch: the last features before they are averaged."""
        patches = self.patch(x.flatten(2).transpose(1, 2)).transpose(1, 2)  # B P C
        return self.norm(self.encoder(patches + self.place)).transpose(1, 2)

    def read(self, maps: Float[Tensor, "B C P"]) -> Float[Tensor, "B K"]:
        """Logits from the maps."""
        return self.classify(maps.mean(2))
