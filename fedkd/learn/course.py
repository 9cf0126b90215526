"""How one kind of net is made and taught: the students of a run, or its teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from fedkd.learn.fit import Augment, fit
from fedkd.learn.lesson import Lesson
from fedkd.learn.objective import Objective
from fedkd.learn.pupil import Pupil, Schooling
from fedkd.seeding import generator, seed_of
from fedkd.types import Tally

MakeNet = Callable[[tuple[int, ...], int], nn.Module]
"""(shape of one clip, number of classes) -> a freshly initialised net."""

SeedPath = tuple[int | str, ...]
"""The run's seed, then whose chance it is."""


@dataclass(frozen=True, slots=True)
class Course:
    """A net's modality, its making and its teaching.

    rounds  rounds of `schooling` that the whole course takes; the learning rate falls to zero over them.
    """

    modality: str
    make: MakeNet
    augment: Augment | None
    schooling: Schooling
    objective: Objective
    rounds: int

    def new_pupil(self, clip_shape: tuple[int, ...], num_classes: int, seed_path: SeedPath) -> Pupil:
        """A pupil whose first weights depend on `seed_path` alone."""
        with _global_chance(seed_path, "start"):
            return Pupil(self.make(clip_shape, num_classes), self.schooling)

    def teach(
        self, pupil: Pupil, lesson: Lesson, round: int, seed_path: SeedPath, *, heard_since: int = 0, lack: float = 0.0
    ) -> Tally:
        """Round `round` of the course; the consensus counts as `lack` says, ramped up since `heard_since`."""
        with _global_chance(seed_path, "dropout", round):
            return fit(
                pupil,
                lesson,
                self.objective,
                augment=self.augment,
                rounds=self.rounds,
                listening=lack * self.objective.ramp(round - heard_since),
                generator=generator(*seed_path, "batches", round),
            )


@contextmanager
def _global_chance(seed_path: SeedPath, *purpose: int | str) -> Iterator[None]:
    """torch's global generator, which layers use for their first weights and for dropout, seeded for a while."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed_of(*seed_path, *purpose))
        yield
