"""ST-GCN++: a graph convolution with a learned adjacency, then temporal convolutions at several dilations.

Duan, Wang, Chen, Lin. PYSKL: Towards Good Practices for Skeleton Action Recognition. ACM MM 2022.
https://arxiv.org/abs/2205.09443 (ST-GCN++). Published size on NTU-60: 1.39 M parameters, the default arguments here.

    >>> StGcn(num_classes=10, sample_shape=(32, 20, 3))(torch.zeros(2, 32, 20, 3)).shape
    torch.Size([2, 10])

The skeleton's matrices are the adjacency's first value and are then learned freely (the authors' "init"; their
released ST-GCN++ configurations use neither "offset" nor "importance"). One body a clip; theirs averages two.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fedkd.models._graph import PUBLISHED_STRIDES, GraphNet

DILATIONS = (1, 2, 3, 4)
"""Of the four temporal branches of kernel 3; a max-pool and a point-wise branch stand beside them."""


class StGcn(GraphNet):
    """ST-GCN++ for clips [T J D]."""

    def __init__(
        self,
        num_classes: int,
        sample_shape: Sequence[int],
        *,
        base_channels: int = 64,
        strides: Sequence[int] = PUBLISHED_STRIDES,
    ) -> None:
        super().__init__(
            num_classes,
            sample_shape,
            base_channels=base_channels,
            strides=strides,
            spatial=LearnedGraphConv,
            temporal=DilatedBranches,
        )


class LearnedGraphConv(nn.Module):
    """relu(norm(sum_k W_k x A_k) + shortcut(x)) over the relations k, with every A_k learned."""

    def __init__(self, in_channels: int, out_channels: int, matrices: Float[Tensor, "3 J J"]) -> None:
        super().__init__()
        self.adjacency = nn.Parameter(matrices.clone())
        self.project = nn.Conv2d(in_channels, 3 * out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Float[Tensor, "B C T J"]) -> Float[Tensor, "B C2 T J"]:
        """Every joint sends; every joint sums what reaches it."""
        sent = self.project(x).unflatten(1, (3, -1))  # B 3 C2 T J
        received = torch.einsum("bkcts,ksr->bctr", sent, self.adjacency)  # B C2 T J
        return torch.relu(self.norm(received) + self.shortcut(x))


class DilatedBranches(nn.Module):
    """Six temporal branches side by side, then a point-wise convolution that mixes them.

    The five branches that begin alike (1x1, norm, relu) share that beginning: one convolution, cut into five.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        if channels < len(DILATIONS) + 2:
            raise ValueError(f"ST-GCN++ needs at least {len(DILATIONS) + 2} channels, one a branch, got {channels}.")
        narrow = channels // (len(DILATIONS) + 2)
        wide = channels - narrow * (len(DILATIONS) + 1)  # the first branch takes what division leaves
        self.widths = [wide, *[narrow] * len(DILATIONS)]
        self.enter = nn.Sequential(
            nn.Conv2d(channels, channels - narrow, 1), nn.BatchNorm2d(channels - narrow), nn.ReLU()
        )
        self.dilated = nn.ModuleList(
            nn.Conv2d(width, width, (3, 1), stride=(stride, 1), padding=(dilation, 0), dilation=(dilation, 1))
            for width, dilation in zip(self.widths, DILATIONS, strict=False)
        )
        self.pool = nn.MaxPool2d((3, 1), stride=(stride, 1), padding=(1, 0))
        self.point = nn.Conv2d(channels, narrow, 1, stride=(stride, 1))
        self.mix = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Float[Tensor, "B C T J"]) -> Float[Tensor, "B C T2 J"]:
        """Six readings of the frames around each frame, mixed."""
        *for_dilated, for_pool = self.enter(x).split(self.widths, dim=1)
        branches = [conv(part) for conv, part in zip(self.dilated, for_dilated, strict=True)]
        return self.mix(torch.cat([*branches, self.pool(for_pool), self.point(x)], dim=1))
