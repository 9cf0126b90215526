"""A teacher as one host has it: its net, how it is taught here, and what it answers about this host's clips.

A host may have several, in order: each later one is taught by all earlier ones (progressive distillation: Ni, Ngu, Yan.
ACM MM 2022, https://arxiv.org/abs/2208.08090), and all of them guide the student. RECONSTRUCTED: the abstract speaks of
"multiple teacher models" and a "progressive learning scheme"; that its stages are the teachers, in the order in which
they are configured, and that each learns from all before it, is this project's choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fedkd.learn.course import Course
from fedkd.learn.hints.shown import Shown, show
from fedkd.learn.lesson import plain_lesson
from fedkd.learn.pupil import Pupil
from fedkd.seeding import SeedPath
from fedkd.types import Clips, SoftLabels, Tally, View
from fedkd.weights import digest


@dataclass
class Mentor:
    """One teacher on one host, and the training clips there."""

    course: Course
    pupil: Pupil
    view: View
    _answers: tuple[str, Tensor] | None = None
    _shown: tuple[str, Shown] | None = None

    @property
    def taught(self) -> bool:
        """Whether it has learned something, here or elsewhere."""
        return self.pupil.taught

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a teacher that was taught elsewhere."""
        self.pupil.adopt(weights)

    def learn(self, labels: Tensor, round: int, chance: SeedPath, before: Sequence[Mentor] = ()) -> Tally:
        """One round on this host's clips, from their labels [N] and from the mentors that were taught before."""
        lesson = plain_lesson(self.view.train.stream(self.course.taught_on), labels, self.view.num_classes)
        if before:
            lesson = replace(lesson, teachers=torch.stack([mentor.answers() for mentor in before]))
        return self.course.teach(self.pupil, lesson, round, chance)

    def learn_here(self, labels: Tensor, chance: SeedPath, before: Sequence[Mentor] = ()) -> None:
        """The whole course of a teacher that never leaves this host ("train it where it stays")."""
        for round in range(1, self.course.rounds + 1):
            self.learn(labels, round, chance, before)

    def answers(self) -> Tensor:
        """Its probabilities of the training clips, computed once for each teacher.  N K

        Kept under the digest of its weights: another teacher can never be answered for with old answers. The clips are
        not augmented here, so there is nothing else that could go stale.
        """
        key = digest(self.pupil.voice.state_dict())
        if self._answers is None or self._answers[0] != key:
            self._answers = key, self.course.ask(self.pupil.voice, self._clips)
        return self._answers[1]

    def asked(self, exam: Clips) -> SoftLabels:
        """Its answers to clips it was not taught on."""
        return SoftLabels.of(exam.ids, self.course.ask(self.pupil.voice, exam.stream(self.course.modality)))

    def features(self, labels: Tensor) -> Shown:
        """Its features on the training clips, as they are labelled now; kept like its answers."""
        key = digest({**self.pupil.voice.state_dict(), "labels": labels})
        if self._shown is None or self._shown[0] != key:
            self._shown = key, show(self.pupil.voice, self._clips, labels)
        return self._shown[1]

    @property
    def _clips(self) -> Tensor:
        return self.view.train.stream(self.course.modality)
