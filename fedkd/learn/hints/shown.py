"""What a teacher shows: its features, and how its answer depends on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from fedkd.errors import UserError
from fedkd.models.shows_maps import ShowsMaps
from fedkd.types import UNKNOWN

MakeHint = Callable[[int, int], nn.Module]
"""(student's channels, teacher's channels) -> a module (student maps [B C T], shown, labels [B], events [B]) -> [B]."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One teacher's features on N clips.

    maps    by channel and moment.
    slopes  derivative of the clip's class's logit by each of them; without a true label, of the teacher's first choice.
    """

    maps: Float[Tensor, "N C T"]
    slopes: Float[Tensor, "N C T"]

    def rows(self, index: Int[Tensor, "B"]) -> Shown:
        """Some of the clips."""
        return Shown(self.maps[index], self.slopes[index])

    def at(self, moments: Float[Tensor, "N U"]) -> Shown:
        """The same of clips that are made of other moments of these: 0 is a clip's start and 1 its end.

        Of T maps the one at t is that of the moments from t/T to (t+1)/T; between their middles lie straight lines.
        """
        places = adaptive_avg_pool1d(moments, self.maps.shape[2]) * self.maps.shape[2] - 0.5
        return Shown(_at(self.maps, places), _at(self.slopes, places))


def _at(maps: Float[Tensor, "N C T"], places: Float[Tensor, "N U"]) -> Float[Tensor, "N C U"]:
    """Maps at places between 0 and T-1, on straight lines between them; what lies outside is the first's or last's."""
    last = maps.shape[2] - 1
    places = places.clamp(0, last)[:, None].expand(-1, maps.shape[1], -1)
    left = places.floor().long()
    return torch.lerp(maps.gather(2, left), maps.gather(2, (left + 1).clamp(max=last)), places - left)


def showing(net: nn.Module) -> ShowsMaps:
    """The net, as one that shows its maps; a UserError where it does not."""
    if not isinstance(net, ShowsMaps):
        raise UserError(
            f"hints and teaching.origin=online need nets that show their features, and {type(net).__name__} does not: "
            "choose another net, or neither."
        )
    return net


def show(net: nn.Module, clips: Tensor, labels: Int[Tensor, "N"], *, batch: int = 128) -> Shown:
    """What a teacher makes of clips [N ...], as they are."""
    teacher = showing(net).eval()
    parts = [_show(teacher, x, y) for x, y in zip(clips.split(batch), labels.split(batch), strict=True)]
    return Shown(torch.cat([part.maps for part in parts]), torch.cat([part.slopes for part in parts]))


def _show(net: ShowsMaps, clips: Tensor, labels: Int[Tensor, "B"]) -> Shown:
    with torch.no_grad():
        maps = net.maps(clips)
    return reveal(net, maps, labels)


def reveal(net: ShowsMaps, maps: Float[Tensor, "B C T"], labels: Int[Tensor, "B"]) -> Shown:
    """The maps, and the slopes of what the net reads from them."""
    maps = maps.detach().requires_grad_()
    logits = net.read(maps)
    spoken_for = torch.where(labels == UNKNOWN, logits.argmax(1), labels)
    (slopes,) = torch.autograd.grad(logits.gather(1, spoken_for[:, None]).sum(), maps)
    return Shown(maps.detach(), slopes)
