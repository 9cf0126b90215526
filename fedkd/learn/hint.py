"""Hints: what a teacher's features tell a student's, beside what its answers tell its answers.

A net that takes or gives hints has ``maps(clips) -> [B C T]``, its last features by channel and moment, ``read(maps) ->
logits [B K]``, and says in ``num_maps`` how many channels they have; every net of fedkd's own does, but for those that
are several nets side by side. Teacher and student may differ in channels and in moments: a layer
that learns with the student, and is thrown away with the hint, projects its channels to the teacher's, and both are
looked at in as many moments as the coarser one has.

Features say more than answers and never cross the wire: a hint is given where a host has both streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from fedkd.errors import UserError
from fedkd.losses.channel_correlation import channel_correlation_loss
from fedkd.losses.channel_distribution import channel_distribution_loss
from fedkd.losses.contrastive import info_nce
from fedkd.losses.focal_channels import focal_channels, random_channels
from fedkd.types import UNKNOWN

MakeHint = Callable[[int, int], nn.Module]
"""(student's channels, teacher's channels) -> a module (student maps [B C T], shown, labels [B], events [B]) -> [B]."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One teacher's features on N clips, and how its answer depends on them.

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


def num_maps(net: nn.Module) -> int:
    """How many channels a net shows."""
    count = getattr(net, "num_maps", None)
    if not isinstance(count, int):
        raise UserError(
            f"hints and teaching.origin=online need nets that show their features, and {type(net).__name__} does not: "
            "choose another net, or neither."
        )
    return count


def show(net: nn.Module, clips: Tensor, labels: Int[Tensor, "N"], *, batch: int = 128) -> Shown:
    """What a teacher makes of clips [N ...], as they are."""
    net.eval()
    parts = [_show(net, x, y) for x, y in zip(clips.split(batch), labels.split(batch), strict=True)]
    return Shown(torch.cat([part.maps for part in parts]), torch.cat([part.slopes for part in parts]))


def _show(net: nn.Module, clips: Tensor, labels: Int[Tensor, "B"]) -> Shown:
    with torch.no_grad():
        maps = net.maps(clips)  # type: ignore[operator]
    return reveal(net, maps, labels)


def reveal(net: nn.Module, maps: Float[Tensor, "B C T"], labels: Int[Tensor, "B"]) -> Shown:
    """The maps, and the slopes of what the net reads from them."""
    maps = maps.detach().requires_grad_()
    logits = net.read(maps)  # type: ignore[operator]
    spoken_for = torch.where(labels == UNKNOWN, logits.argmax(1), labels)
    (slopes,) = torch.autograd.grad(logits.gather(1, spoken_for[:, None]).sum(), maps)
    return Shown(maps.detach(), slopes)


class FocalChannelHint(nn.Module):
    """Focal channel distillation (Gan et al., IEEE Access 11, 2023; RECONSTRUCTED, see
    `fedkd.losses.focal_channels`): the student's channels take over when the teacher's focal
    channels are active, and which of them are active together.

    share         of the teacher's channels that are focal.
    choice        "focal", "all" or "random": what the choice is worth.
    distribution  weight of the channels' distributions over time.
    correlation   weight of the correlations between channels.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        *,
        share: float = 0.5,
        choice: str = "focal",
        distribution: float = 1.0,
        correlation: float = 10.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if choice not in ("focal", "all", "random"):
            raise ValueError(f"FocalChannelHint chooses focal, all or random channels, got {choice!r}.")
        self.project = nn.Conv1d(student_channels, teacher_channels, 1)
        self.share, self.choice, self.temperature = share, choice, temperature
        self.distribution, self.correlation = distribution, correlation

    def forward(
        self, maps: Float[Tensor, "B C T"], shown: Shown, labels: Int[Tensor, "B"], events: Int[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Per-sample loss."""
        chosen = self._choose(shown)
        student, teacher = _in_step(self.project(maps), shown.maps)
        spread = channel_distribution_loss(student, teacher, chosen, temperature=self.temperature)
        return self.distribution * spread + self.correlation * channel_correlation_loss(student, teacher, chosen)

    def _choose(self, shown: Shown) -> Tensor:
        if self.choice == "random":
            return random_channels(shown.maps, torch.default_generator, share=self.share)
        return focal_channels(shown.maps, shown.slopes, share=1.0 if self.choice == "all" else self.share)


class ContrastHint(nn.Module):
    """Contrastive cross-modal hint (Liu, Liu, Tian, IJCCC 20(5), 2025, names contrastive learning; RECONSTRUCTED): of a
    batch of events, the student's embedding of each belongs to the teacher's embedding of the same one.
    """

    def __init__(self, student_channels: int, teacher_channels: int, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.project = nn.Linear(student_channels, teacher_channels)
        self.temperature = temperature

    def forward(
        self, maps: Float[Tensor, "B C T"], shown: Shown, labels: Int[Tensor, "B"], events: Int[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Per-sample loss in nats; events of one known class belong together."""
        return info_nce(self.project(maps.mean(2)), shown.maps.mean(2), events, labels, temperature=self.temperature)


class FeatureHint(nn.Module):
    """The student's embedding, projected, is drawn to the teacher's by their mean squared difference (Romero et al.
    FitNets. ICLR 2015, https://arxiv.org/abs/1412.6550, equation 3, of embeddings in place of maps).
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(student_channels, teacher_channels)

    def forward(
        self, maps: Float[Tensor, "B C T"], shown: Shown, labels: Int[Tensor, "B"], events: Int[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Per-sample loss."""
        return (self.project(maps.mean(2)) - shown.maps.mean(2)).square().mean(1)


def _in_step(student: Float[Tensor, "B C T"], teacher: Float[Tensor, "B C U"]) -> tuple[Tensor, Tensor]:
    """Both in as many moments as the coarser one has."""
    moments = min(student.shape[2], teacher.shape[2])
    return adaptive_avg_pool1d(student, moments), adaptive_avg_pool1d(teacher, moments)
