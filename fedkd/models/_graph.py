"""What the graph nets share: the skeleton's adjacency and the frame of blocks around two units.

    [B T J D] -> normalise -> blocks of (spatial unit, temporal unit, shortcut) -> mean over frames and joints -> logits

The frame is that of ST-GCN (Yan, Xiong, Lin. AAAI 2018, https://arxiv.org/abs/1801.07455); `stgcn` and `ctrgcn` differ
only in their units. Inside, tensors are [B C T J]. A batch of one trains, since every BatchNorm also counts frames and
joints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fedkd.models.shows_maps import ShowsMaps
from fedkd.skeleton import SKELETONS, Skeleton

PUBLISHED_STRIDES = (1, 1, 1, 1, 2, 1, 1, 2, 1, 1)
"""Ten blocks; the fifth and the eighth halve the frames and double the channels (both authors' released code)."""

SpatialUnit = Callable[[int, int, Tensor], nn.Module]
"""(in_channels, out_channels, adjacency [3 J J]) -> mixes joints."""

TemporalUnit = Callable[[int, int], nn.Module]
"""(channels, stride) -> mixes frames."""


def skeleton_of(sample_shape: Sequence[int]) -> Skeleton:
    """The skeleton that a clip [T J D] shows, told by its number of joints."""
    if len(sample_shape) != 3 or sample_shape[1] not in SKELETONS:
        raise ValueError(
            f"A net over a skeleton needs clips [T J D] with J in {sorted(SKELETONS)}, got {tuple(sample_shape)}; "
            "add the body to fedkd/skeleton.py or choose a net that needs no graph, such as tcn."
        )
    return SKELETONS[sample_shape[1]]


def adjacency(skeleton: Skeleton) -> Float[Tensor, "3 J J"]:
    """[relation, sender, receiver], relations being itself, parent, children; a receiver averages its senders."""
    num_joints = len(skeleton.joints)
    matrices = torch.zeros(3, num_joints, num_joints)
    matrices[0] = torch.eye(num_joints)
    for child, parent in skeleton.bones:
        matrices[1, parent, child] = 1
        matrices[2, child, parent] = 1
    return matrices / matrices.sum(1, keepdim=True).clamp(min=1)


class GraphBlock(nn.Module):
    """relu(temporal(spatial(x)) + shortcut(x)); the first block of a net has no shortcut."""

    def __init__(self, spatial: nn.Module, temporal: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.spatial, self.temporal, self.shortcut = spatial, temporal, shortcut

    def forward(self, x: Float[Tensor, "B C T J"]) -> Float[Tensor, "B C2 T2 J"]:
        """Joints first, then frames."""
        mixed = self.temporal(self.spatial(x))
        return torch.relu(mixed if self.shortcut is None else mixed + self.shortcut(x))


class GraphNet(ShowsMaps):
    """The frame; `len(strides)` blocks, the first of `base_channels`, doubled at every stride of 2."""

    def __init__(
        self,
        num_classes: int,
        sample_shape: Sequence[int],
        *,
        base_channels: int,
        strides: Sequence[int],
        spatial: SpatialUnit,
        temporal: TemporalUnit,
    ) -> None:
        super().__init__()
        matrices = adjacency(skeleton_of(sample_shape))
        _, num_joints, channels = sample_shape
        self.normalise = nn.BatchNorm1d(num_joints * channels)
        self.blocks = nn.Sequential()
        width = base_channels
        for index, stride in enumerate(strides):
            width = width * stride if index else base_channels
            shortcut = _shortcut(channels, width, stride) if index else None
            self.blocks.append(GraphBlock(spatial(channels, width, matrices), temporal(width, stride), shortcut))
            channels = width
        self.num_maps = width
        self.classify = nn.Linear(width, num_classes)

    def maps(self, x: Float[Tensor, "B T J D"]) -> Float[Tensor, "B C U"]:
        """What every channel makes of every moment: the last features, averaged over joints but not over time."""
        num_joints = x.shape[2]
        features = self.normalise(x.flatten(2).transpose(1, 2))  # B JD T
        features = features.unflatten(1, (num_joints, -1)).permute(0, 2, 3, 1)  # B D T J
        return self.blocks(features.contiguous()).mean(3)  # B C T J -> B C T

    def read(self, maps: Float[Tensor, "B C U"]) -> Float[Tensor, "B K"]:
        """Logits from the maps."""
        return self.classify(maps.mean(2))


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity where shapes agree, else a projection."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride=(stride, 1)), nn.BatchNorm2d(out_channels))
