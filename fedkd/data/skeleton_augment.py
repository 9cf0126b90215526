"""Other cameras, other people, other moments: random but plausible changes of skeleton clips while a net trains.

    augment = SkeletonAugment()
    clips = augment(clips, generator(seed, "train", round, view))      # [B T J D] -> [B T J D]

Each clip of the batch draws its own changes. They pay where labels are few. N-UCLA's 2-D poses, `fedkd.models.tcn`, 300
steps, validation subjects of folds 0, 2, 3, three views, one seed: 0.717 -> 0.750 with a quarter of the labels, but
0.847 -> 0.829 with all of them.
A mirror image is only harmless while no class means "left" or "right".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fedkd.skeleton import SKELETONS


@dataclass(frozen=True, slots=True)
class SkeletonAugment:
    """All ranges are symmetric about "no change" and drawn uniformly, but for `jitter`, a standard deviation.

    turn     3-D: degrees about the vertical, as of a camera that stands elsewhere.
    tilt     3-D: degrees about both other axes, as of a camera that hangs higher or crooked.
    roll     2-D: degrees in the picture.
    shear    2-D: how far x follows y (y follows x by half of it), as of a camera that hangs higher.
    squeeze  2-D: x loses up to this share, as of a camera that stands more to the side.
    scale    share by which all lengths grow or shrink.
    flip     probability of the mirror image.
    crop     shortest share of the clip that is kept, anywhere in it, and stretched to the full length.
    warp     how far time may run faster in one half of the clip than in the other, in [0, 1).
    jitter   noise on every coordinate, as a share of the clip's size (root mean square about its mean).
    """

    turn: float = 60.0
    tilt: float = 12.0
    roll: float = 15.0
    shear: float = 0.15
    squeeze: float = 0.3
    scale: float = 0.1
    flip: float = 0.5
    crop: float = 0.75
    warp: float = 0.2
    jitter: float = 0.02

    def __call__(self, x: Float[Tensor, "B T J D"], generator: torch.Generator) -> Float[Tensor, "B T J D"]:
        """Clips [B T J D], D = 2 or 3, each changed in its own way."""
        return self.with_moments(x, generator)[0]

    def with_moments(
        self, x: Float[Tensor, "B T J D"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "B T J D"], Float[Tensor, "B T"]]:
        """The changed clips, and the moment of the whole clip that each frame shows: 0 its start, 1 its end."""
        draw = Draw(len(x), generator)
        moments = drawn_moments(x.shape[1], self.crop, self.warp, draw)
        return self._seen_anew(retimed(x, moments), draw, generator), as_shares(moments)

    def _seen_anew(self, x: Tensor, draw: Draw, generator: torch.Generator) -> Tensor:
        if self.flip:  # a sensor has no mirror image
            x = torch.where(draw.chance(self.flip)[:, None, None, None], mirrored(x), x)
        camera = self._moved_camera(draw) if x.shape[-1] == 3 else self._moved_picture(draw)
        sizes = (1 + draw.around(self.scale))[:, None, None]
        x = torch.einsum("bde,btje->btjd", camera * sizes, x)
        spread = (x - x.mean((1, 2), keepdim=True)).square().mean((1, 2, 3), keepdim=True).sqrt()
        return x + torch.randn(x.shape, generator=generator) * self.jitter * spread

    def _moved_camera(self, draw: Draw) -> Float[Tensor, "B 3 3"]:
        turn = rotations(draw.around(math.radians(self.turn)), axis=1)
        tilt = rotations(draw.around(math.radians(self.tilt)), axis=0)
        roll = rotations(draw.around(math.radians(self.tilt)), axis=2)
        return roll @ tilt @ turn

    def _moved_picture(self, draw: Draw) -> Float[Tensor, "B 2 2"]:
        roll = rotations(draw.around(math.radians(self.roll)), axis=2)[:, :2, :2]
        lean = draw.around(self.shear)
        narrow = 1 - self.squeeze * draw.uniform()
        one = torch.ones_like(lean)
        return roll @ torch.stack([narrow, lean, draw.around(self.shear / 2), one], -1).view(-1, 2, 2)


@dataclass(frozen=True, slots=True)
class Draw:
    """One random number for each clip of a batch, each time anew."""

    num_clips: int
    generator: torch.Generator

    def uniform(self) -> Float[Tensor, "B"]:
        """In [0, 1)."""
        return torch.rand(self.num_clips, generator=self.generator)

    def around(self, limit: float) -> Float[Tensor, "B"]:
        """In [-limit, limit)."""
        return (2 * self.uniform() - 1) * limit

    def chance(self, probability: float) -> Bool[Tensor, "B"]:
        """True with this probability."""
        return self.uniform() < probability


def rotations(angles: Float[Tensor, "B"], axis: int) -> Float[Tensor, "B 3 3"]:
    """Rotations by `angles`, in radians, about coordinate `axis` (1: the vertical)."""
    one, other = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = torch.eye(3).repeat(len(angles), 1, 1)
    matrix[:, one, one] = matrix[:, other, other] = angles.cos()
    matrix[:, other, one] = angles.sin()
    matrix[:, one, other] = -angles.sin()
    return matrix


def mirrored(x: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J D"]:
    """The same motion by a person of the other hand: x changes sign, left and right joints trade places."""
    if x.shape[2] not in SKELETONS:
        raise ValueError(
            f"expected bodies of {' or '.join(map(str, SKELETONS))} joints, whose left and right are known, got "
            f"{x.shape[2]}; add the body to fedkd/skeleton.py, or set augment.flip to 0."
        )
    order = list(range(x.shape[2]))
    for left, right in SKELETONS[x.shape[2]].pairs:
        order[left], order[right] = right, left
    x = x[:, :, order]  # a copy
    x[..., 0].neg_()
    return x


def retimed(x: Float[Tensor, "B T J D"], moments: Float[Tensor, "B T"]) -> Float[Tensor, "B T J D"]:
    """Each clip as seen at its own `moments`, in frames, on straight lines between its frames."""
    left = moments.floor().long().clamp(0, x.shape[1] - 1)
    right = (left + 1).clamp(max=x.shape[1] - 1)
    row = torch.arange(len(x))[:, None]
    return torch.lerp(x[row, left], x[row, right], (moments - left)[..., None, None])


def as_shares(moments: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Moments in frames of clips of T frames, each frame's middle, as shares of the clip: 0 its start, 1 its end."""
    return (moments + 0.5) / moments.shape[1]


def drawn_moments(num_frames: int, crop: float, warp: float, draw: Draw) -> Float[Tensor, "B T"]:
    """Increasing moments, in frames, within a random part of the clip."""
    length = crop + (1 - crop) * draw.uniform()
    start = (1 - length) * draw.uniform()
    steps = torch.linspace(0, 1, num_frames)
    # slope 1 + warp * cos(pi t) > 0: time never runs backwards, and both ends stay
    steps = steps + draw.around(warp)[:, None] * (math.pi * steps).sin() / math.pi  # B T
    return (start[:, None] + length[:, None] * steps).clamp(0, 1) * (num_frames - 1)
