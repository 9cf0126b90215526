"""Depth recordings of one person: cut out, made small, and augmented. Depth is not colour: never call it RGB.

clip = small_clip(depth, frames=16, side=48)          # uint16 [H W T] millimetres -> uint8 [16 48 48 1]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, affine_grid, grid_sample

from fedkd.data.skeleton_augment import Draw, as_shares, drawn_moments

MIDDLE, STEP = 128.0, 8.0
"""The grey of the clip's median distance; millimetres that one grey stands for. 0 is the background."""


def small_clip(depth: UInt16[np.ndarray, "H W T"], frames: int, side: int) -> UInt8[np.ndarray, "F S S 1"]:
    """Evenly spaced frames of the square that holds the person in all of them, shrunk by averages.

    0 stays background (where the camera measured nothing, or the release cut it away).
    """
    chosen = depth[:, :, np.linspace(0, depth.shape[2] - 1, frames).round().astype(int)].transpose(2, 0, 1)
    seen = chosen > 0
    if not seen.any():
        return np.zeros((frames, side, side, 1), np.uint8)
    square = _square(np.asarray(seen.any(0)))
    near = np.median(chosen[seen])
    grey = np.where(seen, np.clip(MIDDLE + (near - chosen.astype(np.float32)) / STEP, 1, 255), 0).astype(np.float32)
    cut = np.stack([_cut(frame, *square) for frame in grey])  # F s s
    return adaptive_avg_pool2d(torch.from_numpy(cut), side).round().to(torch.uint8).numpy()[..., None]


def _square(mask: np.ndarray) -> tuple[int, int, int]:
    """(first row, first column, side) of the smallest square about all that is seen; it may leave the picture."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    side = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    return int(rows[0] + rows[-1] + 1 - side) // 2, int(columns[0] + columns[-1] + 1 - side) // 2, side


def _cut(frame: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """A square of the frame, zeros where it reaches out."""
    out = np.zeros((side, side), frame.dtype)
    rows = slice(max(top, 0), min(top + side, frame.shape[0]))
    columns = slice(max(left, 0), min(left + side, frame.shape[1]))
    out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = frame[rows, columns]
    return out


@dataclass(frozen=True, slots=True)
class DepthAugment:
    """Clips as of another person, before a camera that stands or hangs a little elsewhere.

    No mirror image, for actions that tell left from right. All ranges are symmetric about "no change", drawn uniformly
    and anew for each clip.

    roll     degrees, in the picture.
    zoom     share by which the picture grows or shrinks.
    stretch  share by which it grows or shrinks in width alone.
    shear    how far x follows y.
    shift    share of the picture's side, in each direction.
    nearer   greys by which the person comes nearer or goes away.
    crop     shortest share of the clip that is kept, anywhere in it, and stretched to the full length.
    """

    roll: float = 10.0
    zoom: float = 0.15
    stretch: float = 0.1
    shear: float = 0.1
    shift: float = 0.08
    nearer: float = 20.0
    crop: float = 0.75

    def __call__(self, x: UInt8[Tensor, "B T H W C"], generator: torch.Generator) -> UInt8[Tensor, "B T H W C"]:
        """The clips, each changed in its own way."""
        return self.with_moments(x, generator)[0]

    def with_moments(
        self, x: UInt8[Tensor, "B T H W C"], generator: torch.Generator
    ) -> tuple[UInt8[Tensor, "B T H W C"], Float[Tensor, "B T"]]:
        """The changed clips, and the moment of the whole clip that each frame shows: 0 its start, 1 its end."""
        draw = Draw(len(x), generator)
        moments = drawn_moments(x.shape[1], self.crop, 0.0, draw)
        x = resampled(at_moments(x, moments), self._other_pictures(draw))
        nearer = draw.around(self.nearer)[:, None, None, None, None]
        return torch.where(x > 0, (x + nearer).clamp(1, 255).to(torch.uint8), x), as_shares(moments.round())

    def _other_pictures(self, draw: Draw) -> Float[Tensor, "B 2 3"]:
        """For each place in the new picture, from -1 to 1, its place in the old one."""
        angle, size = draw.around(math.radians(self.roll)), 1 + draw.around(self.zoom)
        width, lean = size * (1 + draw.around(self.stretch)), draw.around(self.shear)
        right, down = draw.around(2 * self.shift), draw.around(2 * self.shift)
        rows = [angle.cos() * width, lean - angle.sin() * size, right, angle.sin() * width, angle.cos() * size, down]
        return torch.stack(rows, -1).view(-1, 2, 3)


def resampled(x: UInt8[Tensor, "B T H W C"], places: Float[Tensor, "B 2 3"]) -> UInt8[Tensor, "B T H W C"]:
    """Each pixel takes the nearest one's value, because a mean of person and background is neither; 0 from outside."""
    _, frames, height, width, channels = x.shape
    pictures = x.permute(0, 1, 4, 2, 3).flatten(1, 2).float()  # B TC H W
    grid = affine_grid(places, [len(x), frames * channels, height, width], align_corners=False)
    taken = grid_sample(pictures, grid, mode="nearest", align_corners=False)
    return taken.to(torch.uint8).unflatten(1, (frames, channels)).permute(0, 1, 3, 4, 2)


def at_moments(x: UInt8[Tensor, "B T H W C"], moments: Float[Tensor, "B T"]) -> UInt8[Tensor, "B T H W C"]:
    """Each clip's frames nearest to its own moments."""
    return x[torch.arange(len(x))[:, None], moments.round().long()]
