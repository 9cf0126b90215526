"""Several readings of one skeleton, each with its own net, fused by the mean of their logits.

Shi, Zhang, Cheng, Lu. Two-Stream Adaptive Graph Convolutional Networks (2s-AGCN). CVPR 2019.
https://arxiv.org/abs/1805.07694 (bones); Skeleton-Based Action Recognition with Multi-Stream Adaptive
Graph Convolutional Networks. TIP 2020. https://arxiv.org/abs/1912.06971 (motions).

The papers train one net a stream and add their scores at test; here the streams learn together through the fused
logits, so that a multi-stream teacher is one module like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fedkd.models._graph import skeleton_of
from fedkd.models.shows_maps import ShowsMaps
from fedkd.models.side_by_side import SideBySide

STREAMS = ("joint", "bone", "joint_motion", "bone_motion")
"""Positions; joint minus its parent; and how each changes until the next frame."""


class MultiStream(SideBySide):
    """One net for each of `streams`; `net` builds one from (num_classes=, sample_shape=)."""

    def __init__(
        self,
        num_classes: int,
        sample_shape: Sequence[int],
        *,
        net: Callable[..., ShowsMaps],
        streams: Sequence[str] = ("joint",),
    ) -> None:
        unknown = set(streams) - set(STREAMS)
        if unknown or not streams:
            raise ValueError(f"MultiStream needs streams among {STREAMS}, got {tuple(streams)}.")
        super().__init__(nn.ModuleDict({s: net(num_classes=num_classes, sample_shape=sample_shape) for s in streams}))
        self.streams = tuple(streams)
        self.parents = list(skeleton_of(sample_shape).parents)

    def sights(self, x: Float[Tensor, "B T J D"]) -> list[Float[Tensor, "B T J D"]]:
        """The clips, read as each stream."""
        return [stream_of(x, name, self.parents) for name in self.streams]


def stream_of(x: Float[Tensor, "B T J D"], stream: str, parents: Sequence[int]) -> Float[Tensor, "B T J D"]:
    """One of STREAMS, in the joints' own shape: the centre's bone and the last frame's motion are zero."""
    if stream.startswith("bone"):
        x = x - x[:, :, list(parents)]
    if stream.endswith("motion"):
        x = F.pad(x.diff(dim=1), (0, 0, 0, 0, 0, 1))
    return x
