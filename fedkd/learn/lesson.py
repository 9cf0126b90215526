"""What one view learns from in one round: its clips, and for each clip all that is known or believed of its class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedkd.types import UNKNOWN, SoftLabels


@dataclass(frozen=True, slots=True)
class Lesson:
    """Clips [N ...] of the student's modality, and what guides it on each.

    labels     true class, UNKNOWN where neither this view nor another told it.
    teacher    the teacher's probabilities (None: no teacher).
    consensus  the other views' pooled probabilities, uniform where there are none.
    trust      weight of each consensus row, 0 where there is none.
    pseudo     the student's own confident guess, UNKNOWN where it is not confident.
    """

    clips: Tensor
    labels: Int[Tensor, "N"]
    teacher: Float[Tensor, "N K"] | None
    consensus: Float[Tensor, "N K"]
    trust: Float[Tensor, "N"]
    pseudo: Int[Tensor, "N"]


def spread(labels: SoftLabels, ids: Int[Tensor, "N"]) -> tuple[Float[Tensor, "N K"], Float[Tensor, "N"]]:
    """Beliefs laid out along a view's own clips: (probs [N K], weight [N]); weight 0 and uniform where nobody spoke."""
    probs = torch.full((len(ids), labels.num_classes), 1 / labels.num_classes)
    weight = torch.zeros(len(ids))
    if len(labels):
        at = torch.searchsorted(labels.ids, ids).clamp(max=len(labels) - 1)
        hit = labels.ids[at] == ids
        probs[hit] = labels.probs[at[hit]]
        weight[hit] = labels.weight[at[hit]]
    return probs, weight


def plain_lesson(clips: Tensor, labels: Int[Tensor, "N"], num_classes: int) -> Lesson:
    """A lesson from true labels alone."""
    nobody = torch.full((len(labels), num_classes), 1 / num_classes)
    return Lesson(clips, labels, None, nobody, torch.zeros(len(labels)), torch.full_like(labels, UNKNOWN))
