"""A temporal convolutional net for any sequence: poses, skeletons, body-worn sensors.

Bai, Kolter, Koltun. An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling.
2018. https://arxiv.org/abs/1803.01271, section 3; here not causal, because a clip is classified once it is over.

    >>> Tcn(num_classes=10, sample_shape=(32, 20, 2))(torch.zeros(2, 32, 20, 2)).shape
    torch.Size([2, 10])

Each sample is normalised by itself (GroupNorm: Wu, He. ECCV 2018, https://arxiv.org/abs/1803.08494), so a batch of one
trains, and no running statistics leave a view. Values should arrive near unit scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fedkd.models.shows_maps import ShowsMaps

NUM_GROUPS = 8
"""Channel groups of GroupNorm."""


class Tcn(ShowsMaps):
    """Residual dilated convolutions over frames, averaged over time, for clips [T ...].

    velocity  also show the net each value's change since the frame before.
    dropout   probability that a whole channel of a block is silenced.
    """

    def __init__(
        self,
        num_classes: int,
        sample_shape: Sequence[int],
        *,
        channels: int = 64,
        dilations: Sequence[int] = (1, 2, 4, 8, 1),
        velocity: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if channels % NUM_GROUPS:
            raise ValueError(f"Tcn needs channels divisible by {NUM_GROUPS}, its groups, got {channels}.")
        self.velocity = velocity
        num_features = math.prod(sample_shape[1:]) * (2 if velocity else 1)
        self.enter = nn.Sequential(
            nn.Conv1d(num_features, channels, 3, padding=1), nn.GroupNorm(NUM_GROUPS, channels), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(DilatedBlock(channels, dilation, dropout) for dilation in dilations))
        self.num_maps = channels
        self.classify = nn.Linear(channels, num_classes)

    def maps(self, x: Float[Tensor, "B T *rest"]) -> Float[Tensor, "B C T"]:
        """What every channel makes of every frame: the last features before they are averaged."""
        frames = x.flatten(2).transpose(1, 2)  # B F T
        if self.velocity:
            frames = torch.cat([frames, F.pad(frames.diff(dim=2), (1, 0))], dim=1)  # B 2F T
        return self.blocks(self.enter(frames))

    def read(self, maps: Float[Tensor, "B C T"]) -> Float[Tensor, "B K"]:
        """Logits from the maps."""
        return self.classify(maps.mean(2))


class DilatedBlock(nn.Module):
    """x + dropout(relu(norm(conv(x))))."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm = nn.GroupNorm(NUM_GROUPS, channels)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        """The frames, changed a little."""
        return x + self.dropout(torch.relu(self.norm(self.conv(x))))
