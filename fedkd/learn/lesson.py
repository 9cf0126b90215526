"""What one view learns from in one round: its clips, and for each clip all that is known or believed of its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedkd.learn.hints.shown import Shown
from fedkd.types import UNKNOWN, SoftLabels, located


@dataclass(frozen=True, slots=True)
class Lesson:
    """Clips [N ...] of the student's modality, and what guides it on each. For nets that learn together
    (`fedkd.learn.online`) a clip is an event: its row in each view's stream.  N V

    events     which event each clip is of.
    labels     true class, UNKNOWN where neither this view nor another told it.
    teachers   each teacher's probabilities (None: no teacher).
    consensus  the views' pooled probabilities, this view's own among them; uniform where there are none.
    trust      weight of each consensus row, 0 where there is none.
    pseudo     the student's own confident guess, UNKNOWN where it is not confident.
    shown      each teacher's features, for a student that takes hints.
    """

    clips: Tensor
    events: Int[Tensor, "N"]
    labels: Int[Tensor, "N"]
    teachers: Float[Tensor, "M N K"] | None
    consensus: Float[Tensor, "N K"]
    trust: Float[Tensor, "N"]
    pseudo: Int[Tensor, "N"]
    shown: Sequence[Shown] = ()

    def rows(self, index: Int[Tensor, "B"]) -> Lesson:
        """Some of the clips."""
        return Lesson(
            self.clips[index],
            self.events[index],
            self.labels[index],
            None if self.teachers is None else self.teachers[:, index],
            self.consensus[index],
            self.trust[index],
            self.pseudo[index],
            [shown.rows(index) for shown in self.shown],
        )


def spread(consensus: SoftLabels, ids: Int[Tensor, "N"]) -> tuple[Float[Tensor, "N K"], Float[Tensor, "N"]]:
    """A consensus laid out along a view's own clips: (probs [N K], trust [N]); uniform with trust 0 where nobody spoke.

    A row is trusted as its likeliest class is likely, times the share of the voices that spoke of it.
    """
    probs = torch.full((len(ids), consensus.num_classes), 1 / consensus.num_classes)
    trust = torch.zeros(len(ids))
    if len(consensus):
        there, at = located(consensus.ids, ids)
        probs[there] = consensus.probs[at]
        trust[there] = consensus.weight[at] / consensus.weight.max() * probs[there].max(1).values
    return probs, trust


def plain_lesson(clips: Tensor, labels: Int[Tensor, "N"], num_classes: int) -> Lesson:
    """A lesson from true labels alone, each clip an event by itself."""
    nobody = torch.full((len(labels), num_classes), 1 / num_classes)
    events, unknown = torch.arange(len(labels)), torch.full_like(labels, UNKNOWN)
    return Lesson(clips, events, labels, None, nobody, torch.zeros(len(labels)), unknown)
