"""Clips mixed two by two while a net trains, and judged by what is known of both.

Zhang, Cisse, Dauphin, Lopez-Paz. mixup: Beyond Empirical Risk Minimization. ICLR 2018. https://arxiv.org/abs/1710.09412
(equation 1; as in the authors' code, a batch is mixed with itself in another order, in one share.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Beta


@dataclass(frozen=True, slots=True)
class Mixture:
    """How a batch is mixed: clip i takes `share` of itself and the rest of clip `partner[i]`."""

    partner: Int[Tensor, "B"]
    share: float

    @staticmethod
    def draw(size: int, alpha: float, generator: torch.Generator) -> Mixture:
        """Partners in random order; the larger share, from Beta(alpha, alpha) by torch's global generator, its own."""
        share = float(Beta(alpha, alpha).sample())
        return Mixture(torch.randperm(size, generator=generator), max(share, 1 - share))

    def clips(self, x: Tensor) -> Tensor:
        """The clips [B ...], mixed; of whole numbers, such as pixels, the nearest whole numbers."""
        mixed = torch.lerp(x[self.partner].float(), x.float(), self.share)
        return mixed if x.is_floating_point() else mixed.round().to(x.dtype)

    def losses(
        self, own: Mapping[str, Float[Tensor, "B"]], partners: Mapping[str, Float[Tensor, "B"]]
    ) -> dict[str, Float[Tensor, "B"]]:
        """Each term by what is known of the clip and of its partner, in the clips' shares."""
        return {name: torch.lerp(partners[name], losses, self.share) for name, losses in own.items()}
