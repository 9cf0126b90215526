"""What a student is taught to minimise: the sum of what it knows and what it is told.

    L = w_s CE(y, z) + w_t D(t, z) + w_c(r) c D(q, z) + w_p CE(y', z)

y true labels, z the student's logits, t the teacher's probabilities, q the consensus with trust c, y' confident
pseudo-labels, D the distillation loss, r the round (Liu, Liu, Tian, IJCCC 20(5), 2025, reconstructed).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fedkd.learn.lesson import Lesson
from fedkd.types import UNKNOWN

DistilLoss = Callable[[Tensor, Tensor], Tensor]
"""(student_logits [B K], target_probs [B K]) -> one number a sample [B]."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Weights of the four terms, and the loss that compares a student with a belief.

    ramp_rounds  rounds over which the consensus gains its full weight, as exp(-5 (1 - r / ramp)^2) (Laine and Aila,
                 ICLR 2017, https://arxiv.org/abs/1610.02242); 0 gives it at once.
    """

    loss: DistilLoss
    supervised: float = 1.0
    teacher: float = 1.0
    consensus: float = 1.0
    pseudo: float = 0.0
    ramp_rounds: int = 0
    label_smoothing: float = 0.0

    def ramp(self, rounds_heard: int) -> float:
        """Share of the consensus' full weight after `rounds_heard` rounds of hearing one."""
        if rounds_heard >= self.ramp_rounds:
            return 1.0
        return math.exp(-5 * (1 - rounds_heard / self.ramp_rounds) ** 2)

    def supervised_terms(self, logits: Float[Tensor, "B K"], lesson: Lesson, rows: Tensor) -> dict[str, Tensor]:
        """The term on clips whose true class is known, one number a sample."""
        losses = F.cross_entropy(logits, lesson.labels[rows], reduction="none", label_smoothing=self.label_smoothing)
        return {"supervised": self.supervised * losses}

    def guided_terms(
        self, logits: Float[Tensor, "B K"], lesson: Lesson, rows: Tensor, listening: float
    ) -> dict[str, Tensor]:
        """The terms on clips that somebody's belief guides, one number a sample; `listening` scales the consensus."""
        terms = {}
        if lesson.teacher is not None and self.teacher:
            terms["teacher"] = self.teacher * self.loss(logits, lesson.teacher[rows])
        if listening and self.consensus and bool((lesson.trust > 0).any()):
            belief = self.loss(logits, lesson.consensus[rows])
            terms["consensus"] = self.consensus * listening * lesson.trust[rows] * belief
        if self.pseudo and bool((lesson.pseudo != UNKNOWN).any()):
            guesses = F.cross_entropy(logits, lesson.pseudo[rows], reduction="none", ignore_index=UNKNOWN)
            terms["pseudo"] = self.pseudo * guesses
        return terms


def total(terms: dict[str, Tensor]) -> Tensor:
    """The terms' means over their samples, added up."""
    return torch.stack([losses.mean() for losses in terms.values()]).sum()
