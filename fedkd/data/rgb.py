"""Augmentation of RGB clips: mirror, shift, light. One draw a clip, the same for all its frames.

A mirror image is a fair clip of the embedded data, whose classes do not tell left from right.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True)
class RgbAugment:
    """`augment(clips, generator)` -> clips: uint8 in, uint8 out; all chance comes from the generator.

    flip      probability of a mirror image.
    shift     pixels, at most, in each direction; what is uncovered repeats the edge.
    contrast  the clip is stretched about mid-grey by 1 -+ this.
    light     and its colours are scaled by 1 -+ this, each by itself, and a third of it together.
    """

    flip: float = 0.5
    shift: int = 4
    contrast: float = 0.25
    light: float = 0.2

    def __call__(self, x: UInt8[Tensor, "B T H W 3"], generator: torch.Generator) -> UInt8[Tensor, "B T H W 3"]:
        """The clips, each moved and lit anew."""
        return relight(self.moved(x, generator), *self._light(len(x), generator))

    def moved(self, x: UInt8[Tensor, "B T H W C"], generator: torch.Generator) -> UInt8[Tensor, "B T H W C"]:
        """Mirror and shift by choosing, for each clip, the rows and columns it is made of."""
        batch, _, height, width, _ = x.shape
        rows = torch.arange(height) + self._shifts(batch, generator)
        columns = torch.arange(width) + self._shifts(batch, generator)  # B W
        columns = torch.where(torch.rand(batch, 1, generator=generator) < self.flip, width - 1 - columns, columns)
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        return torch.stack([clip[:, r][:, :, c] for clip, r, c in zip(x, rows, columns, strict=True)])

    def _shifts(self, batch: int, generator: torch.Generator) -> Tensor:
        return torch.randint(-self.shift, self.shift + 1, (batch, 1), generator=generator)

    def _light(self, batch: int, generator: torch.Generator) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B 3"]]:
        """Scale and offset of each clip's colours, grey levels."""
        spread = torch.rand(batch, 5, generator=generator) * 2 - 1
        scale = (1 + self.contrast * spread[:, :1]) * (1 + self.light * spread[:, 1:4])
        return scale, 127.5 * (1 - scale) + 127.5 * (self.light / 3) * spread[:, 4:]


def relight(
    x: UInt8[Tensor, "B T H W 3"], scale: Float[Tensor, "B 3"], offset: Float[Tensor, "B 3"]
) -> UInt8[Tensor, "B T H W 3"]:
    """scale * x + offset for each clip and colour, rounded and clipped to 8 bits."""
    batch, _, _, width, _ = x.shape
    scale, offset = scale.repeat(1, width)[:, None], offset.repeat(1, width)[:, None]  # B 1 3W: long rows are quick
    rows = torch.addcmul(offset + 0.5, x.view(batch, -1, 3 * width).float(), scale)
    return rows.clamp_(0, 255).to(torch.uint8).view_as(x)
