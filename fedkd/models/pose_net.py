"""A small net for poses: bones, velocities and joints relative to the hip, through three temporal convolutions.

The features are those of two-stream skeleton nets (Shi, Zhang, Cheng, Lu. CVPR 2019,
https://arxiv.org/abs/1805.07694: joints and bones; their motion as a further stream), given to one net at once, which
is what a small host affords.

    >>> PoseNet(num_classes=10, sample_shape=(32, 20, 2))(torch.zeros(2, 32, 20, 2)).shape
    torch.Size([2, 10])
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fedkd.models._graph import skeleton_of
from fedkd.models.shows_maps import ShowsMaps

KERNEL = 5
"""Frames that a convolution sees at once."""


class PoseNet(ShowsMaps):
    """Clips [T J D] of a skeleton that `fedkd.skeleton` knows by its number of joints.

    strides  of the convolutions over time, one block each.
    dropout  probability that a pooled channel is silenced.
    """

    def __init__(
        self,
        num_classes: int,
        sample_shape: Sequence[int],
        *,
        channels: int = 64,
        strides: Sequence[int] = (2, 1, 1),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.parents = list(skeleton_of(sample_shape).parents)
        _, num_joints, num_coordinates = sample_shape
        num_features = 3 * num_joints * num_coordinates
        self.enter = nn.Sequential(
            nn.BatchNorm1d(num_features),
            nn.Conv1d(num_features, channels, 1, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(Block(channels, stride) for stride in strides))
        self.num_maps = channels
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))

    def maps(self, x: Float[Tensor, "B T J D"]) -> Float[Tensor, "B C U"]:
        """What every channel makes of every moment: the last features before they are averaged."""
        return self.blocks(self.enter(self.features(x)))

    def read(self, maps: Float[Tensor, "B C U"]) -> Float[Tensor, "B K"]:
        """Logits from the maps."""
        return self.classify(maps.mean(2))

    def features(self, x: Float[Tensor, "B T J D"]) -> Float[Tensor, "B F T"]:
        """Joints from the hip, the hip's path, bones, and how all joints move."""
        root = x[:, :, :1]
        bones = x - x[:, :, self.parents]
        motion = F.pad(x[:, 2:] - x[:, :-2], (0, 0, 0, 0, 1, 1)) * 2
        parts = [(x - root)[:, :, 1:], root - root.mean(1, keepdim=True), bones, motion]
        return torch.cat(parts, 2).flatten(2).transpose(1, 2)  # B F T


class Block(nn.Module):
    """shortcut(x) + relu(norm(conv(x))); with a stride, the shortcut averages over it."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, stride=stride, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C U"]:
        """The frames, changed and perhaps thinned."""
        short = F.avg_pool1d(x, self.stride, ceil_mode=True) if self.stride > 1 else x
        return short + torch.relu(self.norm(self.conv(x)))
