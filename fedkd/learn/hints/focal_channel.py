"""Focal channel distillation: the student's channels take over when the teacher's focal channels are active, and which
of them are active together.

Gan, Cao, Li, Yang, Li. Focal Channel Knowledge Distillation for Multi-Modality Action Recognition. IEEE Access 11,
2023, pages 78285-78298. RECONSTRUCTED, see `fedkd.losses.focal_channels`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from fedkd.learn.hints.shown import Shown
from fedkd.losses.channel_correlation import channel_correlation_loss
from fedkd.losses.channel_distribution import channel_distribution_loss
from fedkd.losses.focal_channels import focal_channels, random_channels


class FocalChannelHint(nn.Module):
    """The student's channels, projected to the teacher's, in as many moments as the coarser of both has.

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


def _in_step(student: Float[Tensor, "B C T"], teacher: Float[Tensor, "B C U"]) -> tuple[Tensor, Tensor]:
    """Both in as many moments as the coarser one has."""
    moments = min(student.shape[2], teacher.shape[2])
    return adaptive_avg_pool1d(student, moments), adaptive_avg_pool1d(teacher, moments)
