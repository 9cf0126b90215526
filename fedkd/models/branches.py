"""Several nets side by side, each looking at its own part of a clip's vectors; their logits are averaged.

For clips in which modalities are joined, such as "skeleton+imu" [T 20+2 3]: late fusion, but taught as one net.

    >>> from fedkd.models.pose_net import PoseNet
    >>> from fedkd.models.tcn import Tcn
    >>> Branches(27, (32, 22, 3), parts=[20, -1], nets=[PoseNet, Tcn])(torch.zeros(2, 32, 22, 3)).shape
    torch.Size([2, 27])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Branches(nn.Module):
    """Nets beside one another.

    parts  vectors a frame that each net sees, in order; -1, once: all that the others leave.
    nets   how each is made, as (num_classes=, sample_shape=).
    """

    def __init__(
        self,
        num_classes: int,
        sample_shape: Sequence[int],
        *,
        parts: Sequence[int],
        nets: Sequence[Callable[..., nn.Module]],
    ) -> None:
        super().__init__()
        left = sample_shape[1] - sum(part for part in parts if part != -1)
        self.parts = [left if part == -1 else part for part in parts]
        if sum(self.parts) != sample_shape[1] or min(self.parts) < 1 or len(parts) != len(nets):
            raise ValueError(
                f"Branches needs a net for each part of {sample_shape[1]} vectors a frame, "
                f"got {len(nets)} nets for parts {list(parts)}."
            )
        frames, _, *rest = sample_shape
        self.nets = nn.ModuleList(
            make(num_classes=num_classes, sample_shape=(frames, part, *rest))
            for part, make in zip(self.parts, nets, strict=True)
        )

    def forward(self, x: Float[Tensor, "B T J D"]) -> Float[Tensor, "B K"]:
        """Logits of clips."""
        seen = x.split(self.parts, dim=2)
        return torch.stack([net(part) for net, part in zip(self.nets, seen, strict=True)]).mean(0)
