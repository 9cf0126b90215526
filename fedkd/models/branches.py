"""Several nets side by side, each looking at its own part of a clip's vectors; their logits are averaged.

For clips in which modalities are joined, such as "skeleton+imu" [T 20+2 3]: late fusion, but taught as one net.

    >>> import torch
    >>> from fedkd.models.pose_net import PoseNet
    >>> from fedkd.models.tcn import Tcn
    >>> Branches(27, (32, 22, 3), parts=[20, -1], nets=[PoseNet, Tcn])(torch.zeros(2, 32, 22, 3)).shape
    torch.Size([2, 27])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from fedkd.models.shows_maps import ShowsMaps
from fedkd.models.side_by_side import SideBySide


class Branches(SideBySide):
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
        nets: Sequence[Callable[..., ShowsMaps]],
    ) -> None:
        left = sample_shape[1] - sum(part for part in parts if part != -1)
        sizes = [left if part == -1 else part for part in parts]
        if sum(sizes) != sample_shape[1] or min(sizes) < 1 or len(parts) != len(nets):
            raise ValueError(
                f"Branches needs a net for each part of {sample_shape[1]} vectors a frame, "
                f"got {len(nets)} nets for parts {list(parts)}."
            )
        frames, _, *rest = sample_shape
        super().__init__(
            nn.ModuleList(
                make(num_classes=num_classes, sample_shape=(frames, size, *rest))
                for size, make in zip(sizes, nets, strict=True)
            )
        )
        self.parts = sizes

    def sights(self, x: Float[Tensor, "B T J D"]) -> tuple[Tensor, ...]:
        """Each net's vectors."""
        return x.split(self.parts, dim=2)
