"""Nets beside one another, each with a sight of its own of the same clip; their logits are averaged (late fusion)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fedkd.models.shows_maps import ShowsMaps


class SideBySide(ShowsMaps):
    """What the nets make of a clip lies channel after channel; it can be shown where all have as many moments."""

    def __init__(self, nets: nn.ModuleList | nn.ModuleDict) -> None:
        super().__init__()
        self.nets = nets
        if strange := [type(net).__name__ for net in nets.children() if not isinstance(net, ShowsMaps)]:
            raise ValueError(f"{type(self).__name__} needs nets that show their maps, got {', '.join(strange)}.")
        self.num_maps = sum(net.num_maps for net in self._each)

    @property
    def _each(self) -> list[ShowsMaps]:
        return cast("list[ShowsMaps]", [*self.nets.children()])

    @abstractmethod
    def sights(self, x: Float[Tensor, "B T J D"]) -> Sequence[Tensor]:
        """What each net sees of clips."""

    def maps(self, x: Float[Tensor, "B T J D"]) -> Float[Tensor, "B C U"]:
        """The nets' maps, one after the other."""
        maps = [net.maps(sight) for net, sight in zip(self._each, self.sights(x), strict=True)]
        if len(lengths := {one.shape[2] for one in maps}) > 1:
            raise ValueError(
                f"the nets of {type(self).__name__} show {sorted(lengths)} moments of a clip, which cannot lie side by "
                "side for a hint: choose nets that show as many."
            )
        return torch.cat(maps, dim=1)

    def read(self, maps: Float[Tensor, "B C U"]) -> Float[Tensor, "B K"]:
        """Logits from the maps."""
        each = maps.split([net.num_maps for net in self._each], dim=1)
        return torch.stack([net.read(its) for net, its in zip(self._each, each, strict=True)]).mean(0)

    def forward(self, x: Float[Tensor, "B T J D"]) -> Float[Tensor, "B K"]:
        """Logits of clips, of nets with as many moments or not."""
        return torch.stack([net(sight) for net, sight in zip(self._each, self.sights(x), strict=True)]).mean(0)
