"""Test-time augmentation: the same clip looked at in several ways, whose answers a net averages when it is asked.

    for look in SkeletonGlimpses()(clips): ...      # [N T J D] each: mirrored and not, whole and in parts

Mirror images and temporal crops are what nets are taught with (`fedkd.data.skeleton_augment`, `fedkd.data.rgb`), so
they know them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fedkd.data.skeleton_augment import mirrored, retimed

PARTS = ((0.0, 1.0), (0.0, 0.85), (0.15, 1.0), (0.075, 0.925))
"""Start and end of each look, as shares of the clip."""


@dataclass(frozen=True, slots=True)
class SkeletonGlimpses:
    """Four parts of the clip, each as it is and (with `mirror`) mirrored: eight looks."""

    mirror: bool = True

    def __call__(self, clips: Float[Tensor, "N T J D"]) -> Iterator[Float[Tensor, "N T J D"]]:
        """The looks, one after the other."""
        last = clips.shape[1] - 1
        for start, end in PARTS:
            moments = torch.linspace(start * last, end * last, last + 1).expand(len(clips), -1)
            look = retimed(clips, moments)
            yield look
            if self.mirror:
                yield mirrored(look)


@dataclass(frozen=True, slots=True)
class PartGlimpses:
    """Four parts of clips of pictures, each stretched to the full length by its nearest frames."""

    def __call__(self, clips: UInt8[Tensor, "N T H W C"]) -> Iterator[UInt8[Tensor, "N T H W C"]]:
        """The looks, one after the other."""
        last = clips.shape[1] - 1
        for start, end in PARTS:
            yield clips[:, torch.linspace(start * last, end * last, last + 1).round().long()]


@dataclass(frozen=True, slots=True)
class MirrorGlimpses:
    """Two looks at pictures: as they are and mirrored."""

    def __call__(self, clips: UInt8[Tensor, "N T H W 3"]) -> Iterator[UInt8[Tensor, "N T H W 3"]]:
        """The looks, one after the other."""
        yield clips
        yield clips.flip(3)
