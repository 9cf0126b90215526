"""A small network for short clips of small pictures.

Lin, Gan, Han. TSM: Temporal Shift Module for Efficient Video Understanding. ICCV 2019. https://arxiv.org/abs/1811.08383
Two-dimensional convolutions over each frame; before each, a quarter of the channels looks at the frame before or
after (section 3.2), which costs nothing and lets the network see motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from fedkd.models._temporal_shift import shifted
from fedkd.models.shows_maps import ShowsMaps

GROUPS = 4


class SmallVideoNet(ShowsMaps):
    """Clips uint8 [B T H W C] to logits [B K]; `sample_shape` is (T, H, W, C), H and W even. Made for 8 x 48 x 48.

    C is 3 for colours and 1 for depth.

    Where in the picture something moves tells a raised arm from a raised knee, so the last map is not averaged over
    the picture but read as a grid. Norms are by group: a clip's answer does not depend on its batch, and students'
    weights can be averaged without running statistics.

    >>> SmallVideoNet(12, (8, 48, 48, 3))(torch.zeros(1, 8, 48, 48, 3, dtype=torch.uint8)).shape
    torch.Size([1, 12])
    """

    def __init__(self, num_classes: int, sample_shape: Sequence[int], *, width: int = 24, dropout: float = 0.2) -> None:
        super().__init__()
        _, rows, columns, colours = sample_shape
        if rows % 2 or columns % 2:
            raise ValueError(f"it reads pictures of an even height and width, got {rows} x {columns} pixels.")
        cells = -(-rows // 8) * -(-columns // 8)
        self.stem = nn.Conv2d(4 * colours, 2 * width, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.GroupNorm(GROUPS, width)
        self.blocks = nn.ModuleList(
            [Block(width, width), Block(width, 2 * width, stride=2), Block(2 * width, 2 * width)]
        )
        self.squeeze = nn.Conv2d(2 * width, width // 2, 1)
        self.num_maps = 4 * width
        self.over_time = nn.Conv1d(width // 2 * cells, 4 * width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8 * width, num_classes)

    def maps(self, x: UInt8[Tensor, "B T H W C"]) -> Float[Tensor, "B E T"]:
        """What every channel makes of every frame: the last features before they are pooled."""
        batch, frames = x.shape[:2]
        x = appearance_and_motion(self.stem(patches(x)), frames)  # BT C H/4 W/4
        x = F.relu(self.stem_norm(x))
        for block in self.blocks:
            x = block(x, frames)  # at last BT 2C H/8 W/8
        x = self.squeeze(x).reshape(batch, frames, -1).transpose(1, 2)  # B C T
        return F.relu(self.over_time(x))

    def read(self, maps: Float[Tensor, "B E T"]) -> Float[Tensor, "B K"]:
        """Logits from the maps."""
        return self.head(self.dropout(torch.cat([maps.mean(2), maps.amax(2)], dim=1)))


class Block(nn.Module):
    """A residual convolution that sees a little of the neighbouring frames."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        same = channels_in == channels
        self.conv = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.short = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)

    def forward(self, x: Float[Tensor, "BT C h w"], frames: int) -> Float[Tensor, "BT C2 h2 w2"]:
        """The maps of all frames of all clips, `frames` to a clip."""
        return F.relu(self.norm(self.conv(shifted(x, frames))) + self.short(x))


def patches(clips: UInt8[Tensor, "B T H W C"]) -> Float[Tensor, "BT C4 h w"]:
    """Squares of 2 x 2 pixels as channels, moved while they are still bytes."""
    batch, frames, height, width, colours = clips.shape
    squares = clips.reshape(batch * frames, height // 2, 2, width // 2, 2, colours).permute(0, 5, 2, 4, 1, 3)
    return squares.reshape(batch * frames, 4 * colours, height // 2, width // 2).float() / 64 - 2


def appearance_and_motion(x: Float[Tensor, "BT C2 h w"], frames: int) -> Float[Tensor, "BT C h w"]:
    """Half the channels less their clip's mean, so that the room falls away, plus the change of the other half.

    The stem is linear, so this equals giving it the pictures treated so, on a sixteenth of the pixels. With half of
    the mean left in, a dark room with a bright pattern drowned the person (12 epochs, view v03: .69 instead of .79).
    """
    still, moving = x.unflatten(0, (-1, frames)).chunk(2, dim=2)  # B T C h w
    change = F.pad(moving[:, 1:] - moving[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
    return (still - still.mean(1, keepdim=True) + 2 * change).flatten(0, 1)
