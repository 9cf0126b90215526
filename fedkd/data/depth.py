"""Depth recordings of one person: cut out, made small, and augmented. Depth is not colour: never call it RGB.

clip = small_clip(depth, frames=16, side=48)          # uint16 [H W T] millimetres -> uint8 [16 48 48 1]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8, UInt16
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from fedkd.data.rgb import RgbAugment

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


@dataclass(frozen=True)
class DepthAugment:
    """Clips moved in the picture and in depth; no mirror image, for actions that tell left from right.

    shift   pixels, at most, in each direction.
    nearer  greys, at most, by which the person comes nearer or goes away.
    """

    shift: int = 3
    nearer: float = 20.0

    def __call__(self, x: UInt8[Tensor, "B T H W C"], generator: torch.Generator) -> UInt8[Tensor, "B T H W C"]:
        """The clips, each moved anew."""
        x = RgbAugment(flip=0.0, shift=self.shift).moved(x, generator)
        by = (torch.rand(len(x), generator=generator) * 2 - 1) * self.nearer
        moved = (x + by[:, None, None, None, None]).clamp(1, 255).to(torch.uint8)
        return torch.where(x > 0, moved, x)
