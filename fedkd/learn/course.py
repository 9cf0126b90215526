"""How one kind of net is made and taught: the students of a run, or its teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fedkd.learn.augment import Augment
from fedkd.learn.fit import fit
from fedkd.learn.hints.shown import MakeHint, showing
from fedkd.learn.lesson import Lesson
from fedkd.learn.objective import Objective
from fedkd.learn.predict import predict
from fedkd.learn.pupil import Pupil, Schooling
from fedkd.seeding import SeedPath, generator, global_chance
from fedkd.types import Tally

MakeNet = Callable[[tuple[int, ...], int], nn.Module]
"""(shape of one clip, number of classes) -> a freshly initialised net."""

Glimpses = Callable[[Tensor], Iterator[Tensor]]
"""clips [N ...] -> the same clips, looked at in several ways."""


@dataclass(frozen=True, slots=True)
class Course:
    """A net's modality, its making, its teaching, and how it is asked.

    taught_on the modality that `augment` makes training clips from, where it is richer than the net's own: a 2-D pose
              turned in space before it is projected (privileged information: Vapnik, Vashist. Neural Networks 2009).
    hint      how one teacher's features guide the net's; None: they do not.
    glimpses  ways to look at the same clips whose answers are averaged; None looks once.
    rounds    rounds of `schooling` that the whole course takes; the learning rate falls to zero over them, also of
              a net that learns in some of them only (`Pupil.course_steps`).
    """

    modality: str
    taught_on: str
    make: MakeNet
    augment: Augment | None
    glimpses: Glimpses | None
    schooling: Schooling
    objective: Objective
    rounds: int
    hint: MakeHint | None = None

    @property
    def seen(self) -> str:
        """All modalities that the net or its teaching needs, "a+b"."""
        return f"{self.modality}+{self.taught_on}"

    def new_pupil(
        self, clip_shape: tuple[int, ...], num_classes: int, seed_path: SeedPath, teachers: Sequence[nn.Module] = ()
    ) -> Pupil:
        """A pupil whose first weights depend on `seed_path` alone; it takes hints from `teachers`, if it takes any."""
        with global_chance(seed_path, "start"):
            net = self.make(clip_shape, num_classes)
            if self.hint is None:
                return Pupil(net, self.schooling)
            return Pupil(net, self.schooling, [self.hint(showing(net).num_maps, showing(t).num_maps) for t in teachers])

    def teach(
        self,
        pupil: Pupil,
        lesson: Lesson,
        round: int,
        seed_path: SeedPath,
        *,
        listening: float = 0.0,
    ) -> Tally:
        """Round `round` of the course; the consensus counts as much as it is listened to."""
        with global_chance(seed_path, "dropout", round):
            return fit(
                pupil,
                lesson,
                self.objective,
                augment=self.augment,
                round=round,
                rounds=self.rounds,
                listening=listening,
                generator=generator(*seed_path, "batches", round),
            )

    def ask(self, net: nn.Module, clips: Tensor) -> Float[Tensor, "N K"]:
        """The net's probabilities of clips [N ...], averaged over the glimpses."""
        looks = [clips] if self.glimpses is None else self.glimpses(clips)
        return torch.stack([predict(net, look) for look in looks]).mean(0)
