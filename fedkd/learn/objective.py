"""What a student is taught to minimise: on each clip, the sum of what is known and what is believed of it.

    L_i = w_s CE(y_i, z_i) + w_t D(t_i, z_i) + w_c r c_i D(q_i, z_i) + w_p CE(y'_i, z_i) + w_h H_i

y true label, z the student's logits, t a teacher's probabilities (the mean loss over several, unless `guidance` says
otherwise), q the consensus with trust c, r how much the view listens, y' a confident pseudo-label, H what the teachers'
features hint (`fedkd.learn.hints`), D the distillation loss. A term counts only where it is known (Liu, Liu, Tian.
IJCCC 20(5), 2025; RECONSTRUCTED: the abstract names the paper's losses, their form and weights are this project's
choice).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedkd.learn.lesson import Lesson
from fedkd.types import UNKNOWN

DistilLoss = Callable[[Tensor, Tensor], Tensor]
"""(student_logits [B K], target_probs [B K]) -> one number a sample [B]."""

Guidance = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(student_logits [B K], teacher_probs [M B K], labels [B]) -> one number a sample [B]."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Weights of the five terms, and the loss that compares a student with a belief.

    guidance         what several teachers and the true label together say of a clip, in place of the supervised term;
                     None: the supervised term, and each teacher the same, by `loss`.
    ramp_rounds      rounds over which the consensus gains its full weight, as exp(-5 (1 - r / ramp)^2) (Laine and
                     Aila, ICLR 2017, https://arxiv.org/abs/1610.02242); 0 gives it at once.
    label_smoothing  probability mass that true and pseudo-labels share out among all classes.
    """

    loss: DistilLoss
    guidance: Guidance | None = None
    supervised: float = 1.0
    teacher: float = 1.0
    consensus: float = 1.0
    pseudo: float = 0.0
    hint: float = 0.0
    ramp_rounds: int = 0
    label_smoothing: float = 0.0

    def ramp(self, rounds_heard: int) -> float:
        """Share of the consensus' full weight after `rounds_heard` rounds of hearing one."""
        if rounds_heard >= self.ramp_rounds:
            return 1.0
        return math.exp(-5 * (1 - rounds_heard / self.ramp_rounds) ** 2)

    def useful(self, lesson: Lesson, listening: float) -> Bool[Tensor, "N"]:
        """Clips on which at least one term speaks."""
        useful = (lesson.labels != UNKNOWN) & bool(self.supervised)
        useful = useful | (lesson.trust > 0) & bool(self.consensus * listening)
        useful = useful | (lesson.pseudo != UNKNOWN) & bool(self.pseudo)
        return useful | bool(self.teacher and lesson.teachers is not None) | bool(self.hint and lesson.shown)

    def terms(self, logits: Float[Tensor, "B K"], lesson: Lesson, listening: float) -> dict[str, Float[Tensor, "B"]]:
        """Each term's share of the losses of a lesson's clips: 0 on a clip of which it says nothing."""
        terms = {}
        guided = self.guidance is not None and bool(self.teacher) and lesson.teachers is not None
        if self.supervised and not guided:
            terms["supervised"] = self.supervised * self._hard(logits, lesson.labels)
        if self.teacher and lesson.teachers is not None:
            terms["teacher"] = self.teacher * self._guided(logits, lesson.teachers, lesson.labels)
        if heard := self.consensus * listening:
            terms["consensus"] = heard * lesson.trust * self.loss(logits, lesson.consensus)
        if self.pseudo:
            terms["pseudo"] = self.pseudo * self._hard(logits, lesson.pseudo)
        return terms

    def _guided(
        self, logits: Float[Tensor, "B K"], teachers: Float[Tensor, "M B K"], labels: Int[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        if self.guidance is not None:
            return self.guidance(logits, teachers, labels)
        return torch.stack([self.loss(logits, teacher) for teacher in teachers]).mean(0)

    def _hard(self, logits: Float[Tensor, "B K"], labels: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        return F.cross_entropy(
            logits, labels, reduction="none", ignore_index=UNKNOWN, label_smoothing=self.label_smoothing
        )


def total(terms: dict[str, Float[Tensor, "B"]]) -> Float[Tensor, ""]:
    """The mean over the batch of the clips' losses."""
    return torch.stack([*terms.values()]).sum(0).mean()
