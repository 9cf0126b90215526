"""A pose as a camera that stands elsewhere would see it: training clips for a 2-D student from 3-D joints.

    augment = Reprojection(SkeletonAugment())
    poses = augment(solid, generator)            # [B T J 3] in the camera's own coordinates -> [B T J 2]

A host whose sensor gives depth uses it while its student learns; the student itself never needs it. The projection is
orthographic, as the poses of `fedkd.data.nw_ucla` are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.data.skeleton_augment import SkeletonAugment, rotations


@dataclass(frozen=True, slots=True)
class Reprojection:
    """A turn about the vertical, then a tilt, then the picture.

    augment  what is done to the picture afterwards.
    turn     degrees to either side.
    tilt     degrees up or down.
    """

    augment: SkeletonAugment
    turn: float = 30.0
    tilt: float = 12.0

    def __call__(self, x: Float[Tensor, "B T J 3"], generator: torch.Generator) -> Float[Tensor, "B T J 2"]:
        """Each clip as another camera would see it."""
        return self.augment(self._seen_from_elsewhere(x, generator), generator)

    def with_moments(
        self, x: Float[Tensor, "B T J 3"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "B T J 2"], Float[Tensor, "B T"]]:
        """The same, and the moment of the whole clip that each frame shows; as `augment` tells it."""
        return self.augment.with_moments(self._seen_from_elsewhere(x, generator), generator)

    def _seen_from_elsewhere(self, x: Float[Tensor, "B T J 3"], generator: torch.Generator) -> Float[Tensor, "B T J 2"]:
        turn, tilt = (2 * torch.rand(2, len(x), generator=generator) - 1) * math.pi / 180
        camera = rotations(tilt * self.tilt, axis=0) @ rotations(turn * self.turn, axis=1)
        return torch.einsum("bde,btje->btjd", camera[:, :2], x)
