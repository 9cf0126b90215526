"""Nets that show what they make of a clip before they answer: hints and online distillation are over such maps.

>>> import torch
>>> from fedkd.models.tcn import Tcn
>>> net, clips = Tcn(num_classes=10, sample_shape=(32, 20, 2)).eval(), torch.zeros(2, 32, 20, 2)
>>> net.maps(clips).shape, net.num_maps, torch.equal(net.read(net.maps(clips)), net(clips))
(torch.Size([2, 64, 32]), 64, True)
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class ShowsMaps(nn.Module, ABC):
    """A net whose logits are read from maps by channel and moment; `num_maps` is how many channels they have."""

    num_maps: int

    @abstractmethod
    def maps(self, x: Tensor) -> Float[Tensor, "B C T"]:
        """What every channel makes of every moment of clips [B ...]: the last features before they are pooled."""

    @abstractmethod
    def read(self, maps: Float[Tensor, "B C T"]) -> Float[Tensor, "B K"]:
        """Logits from the maps."""

    def forward(self, x: Tensor) -> Float[Tensor, "B K"]:
        """Logits of clips."""
        return self.read(self.maps(x))
