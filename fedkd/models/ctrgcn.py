"""CTR-GCN: every channel refines the shared skeleton graph from what the clip itself shows.

Chen, Zhang, Yuan, Li, Deng, Hu. Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action
Recognition. ICCV 2021. https://arxiv.org/abs/2107.12213, section 3.2.
Published size on NTU: 1.46 M parameters, the default arguments here.

    >>> CtrGcn(num_classes=10, sample_shape=(32, 20, 3))(torch.zeros(2, 32, 20, 3)).shape
    torch.Size([2, 10])

One body a clip. The shared graph starts from `adjacency`, where a receiver averages its senders; the authors' code
divides by the number of receivers instead. It is learned either way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fedkd.models._graph import PUBLISHED_STRIDES, GraphNet

DILATIONS = (1, 2)
"""Of the two temporal branches of kernel 5; a max-pool and a point-wise branch stand beside them (section 3.4)."""


class CtrGcn(GraphNet):
    """CTR-GCN for clips [T J D]."""

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
            spatial=RefinedGraphConv,
            temporal=TwoDilations,
        )


class RefinedGraphConv(nn.Module):
    """relu(norm(sum_k (A_k + alpha Q_k(x)) W_k x) + shortcut(x)), Q_k one matrix a channel.

    The three relations k lie side by side in the channels, so that each convolution runs once for all of them.
    """

    def __init__(self, in_channels: int, out_channels: int, matrices: Float[Tensor, "3 J J"]) -> None:
        super().__init__()
        reduced = max(8, in_channels // 8)  # the authors': an eighth, and 8 for raw coordinates
        self.shared = nn.Parameter(matrices.transpose(1, 2).contiguous())  # receiver, sender
        self.receive = nn.Conv1d(in_channels, 3 * reduced, 1)
        self.send = nn.Conv1d(in_channels, 3 * reduced, 1)
        self.lift = nn.Conv2d(3 * reduced, 3 * out_channels, 1, groups=3)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.project = nn.Conv2d(in_channels, 3 * out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels)
        nn.init.constant_(self.norm.weight, 1e-6)  # as released: the unit starts as its shortcut
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Float[Tensor, "B C T J"]) -> Float[Tensor, "B C2 T J"]:
        """Every joint sums what reaches it along its channel's own graph."""
        values = self.project(x).unflatten(1, (3, -1))  # B 3 C2 T J
        mixed = torch.einsum("bkcrs,bkcts->bctr", self.topologies(x), values)  # B C2 T J
        return torch.relu(self.norm(mixed) + self.shortcut(x))

    def topologies(self, x: Float[Tensor, "B C T J"]) -> Float[Tensor, "B 3 C2 J J"]:
        """The shared graph plus what the clip says of each pair of joints, a matrix a relation and channel."""
        pose = x.mean(2)  # B C J: averaging before a 1x1 convolution equals averaging after it
        difference = self.receive(pose).unsqueeze(3) - self.send(pose).unsqueeze(2)  # B 3R J J
        refinement = self.lift(torch.tanh(difference)).unflatten(1, (3, -1))  # B 3 C2 J J
        return self.shared.unsqueeze(1) + self.alpha * refinement


class TwoDilations(nn.Module):
    """Four temporal branches side by side. Those that begin alike (1x1, norm, relu) share that beginning."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        num_branches = len(DILATIONS) + 2
        if channels % num_branches:
            raise ValueError(f"CTR-GCN needs channels divisible by its {num_branches} branches, got {channels}.")
        width = channels // num_branches
        self.enter = nn.Sequential(nn.Conv2d(channels, 3 * width, 1), nn.BatchNorm2d(3 * width), nn.ReLU())
        self.dilated = nn.ModuleList(
            nn.Conv2d(width, width, (5, 1), stride=(stride, 1), padding=(2 * dilation, 0), dilation=(dilation, 1))
            for dilation in DILATIONS
        )
        self.pool = nn.MaxPool2d((3, 1), stride=(stride, 1), padding=(1, 0))
        self.point = nn.Conv2d(channels, width, 1, stride=(stride, 1))
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "B C T J"]) -> Float[Tensor, "B C T2 J"]:
        """Four readings of the frames around each frame, side by side."""
        *for_dilated, for_pool = self.enter(x).chunk(3, dim=1)
        branches = [conv(part) for conv, part in zip(self.dilated, for_dilated, strict=True)]
        return self.norm(torch.cat([*branches, self.pool(for_pool), self.point(x)], dim=1))
