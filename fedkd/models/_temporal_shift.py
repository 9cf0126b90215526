"""The temporal shift: each frame sees some channels of the frame before and some of the frame after, at no cost.

Lin, Gan, Han. TSM: Temporal Shift Module for Efficient Video Understanding. ICCV 2019. https://arxiv.org/abs/1811.08383
(section 3.2: an eighth of the channels each way.)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SHARE = 8
"""One channel in so many moves forward, and one in so many back."""


def shifted(x: Float[Tensor, "BT C h w"], frames: int) -> Float[Tensor, "BT C h w"]:
    """The maps of clips of so many frames, laid end to end: zeros come in at each clip's ends."""
    x = x.unflatten(0, (-1, frames))  # B T C h w
    fold = x.shape[2] // SHARE
    before = F.pad(x[:, :-1, :fold], (0, 0, 0, 0, 0, 0, 1, 0))
    after = F.pad(x[:, 1:, fold : 2 * fold], (0, 0, 0, 0, 0, 0, 0, 1))
    return torch.cat([before, after, x[:, :, 2 * fold :]], dim=2).flatten(0, 1)
