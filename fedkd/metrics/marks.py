"""Answers beside the truth, event by event: of every examinee, and of the views fused.

Fusion is late: the views' probabilities for one event are pooled by the rule that also makes the consensus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from fedkd.types import Consensus, EventLabels, SoftLabels


@dataclass(frozen=True, slots=True)
class Marks:
    """One examinee's answers beside the truth, event by event."""

    answers: SoftLabels
    truth: EventLabels

    @staticmethod
    def of(answers: SoftLabels, truth: EventLabels) -> Marks:
        """The marks for what was answered: an examinee may not see what an exam shows."""
        return Marks(answers, truth.rows(torch.isin(truth.ids, answers.ids)))

    @property
    def guess(self) -> Int[Tensor, "N"]:
        """The likeliest class of each event."""
        return self.answers.probs.argmax(1)

    @property
    def accuracy(self) -> float | None:
        """Share of events guessed right, a fraction of 1; None without events."""
        return float((self.guess == self.truth.classes).double().mean()) if len(self.truth) else None

    def confusion(self) -> Int[Tensor, "K K"]:
        """Events by true class (row) and guess (column)."""
        k = self.answers.num_classes
        return torch.bincount(self.truth.classes * k + self.guess, minlength=k * k).reshape(k, k)


def fuse(marks: Mapping[str, Marks], rule: Consensus) -> Marks:
    """The answers of all views pooled, for every event that any of them saw."""
    ordered = [marks[view] for view in sorted(marks)]
    pooled = rule([mark.answers for mark in ordered])
    truth = EventLabels.of(
        torch.cat([mark.truth.ids for mark in ordered]), torch.cat([mark.truth.classes for mark in ordered])
    )
    return Marks(pooled, EventLabels(pooled.ids, truth.classes_of(pooled.ids)))
