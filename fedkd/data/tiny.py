"""Tiny: a data set of a second, for tests, benchmarks and first steps.

    data = Tiny(views=3, clips=24, num_classes=3)
    data.view("v02", seed=0).train.streams["pose2d"].shape          # [24, 8, 20, 2]

Every class is one movement: each joint swings on a path of its own. Every event is one performance of it, begun at a
moment of its own, and every view saw every event: from its own side, with noise of its own. So there is something to
learn, the same in all views, and a view with few labels can learn from the others. There are no people in it: what is
learned here says nothing about recordings.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.data.labelled import keep_labels, refuse_degenerate
from fedkd.data.release import check_share, event_id, refuse_same_id
from fedkd.errors import UserError
from fedkd.seeding import generator
from fedkd.types import Clips, View

WORLD = 0
"""Seed of the recordings, the same in every run: a run's own seed draws only which labels a view has."""


@dataclass(frozen=True)
class Tiny:
    """The data set, as large as asked.

    views        how many; they are called v01, v02, ..
    clips        training clips of each view; half as many to validate, and to test.
    tests        test clips of each view, where there shall be another number.
    labels       share of its training clips that a view labels itself, in (0, 1].
    frames       T of every stream.
    joints       J of "skeleton" [N T J 3] and "pose2d" [N T J 2]; 20 or 25 where clips are augmented.
    channels     C of "imu" [N T C].
    noise        its standard deviation, where the movements' is about 1.
    broken_view  this view's recordings cannot be read: to see how a run goes on without them. A fault for tests, which
                 stays a setting because a run's hosts, other processes and machines too, make the data from its YAML.
    """

    views: int = 3
    clips: int = 24
    tests: int | None = None
    num_classes: int = 3
    labels: float = 1.0
    frames: int = 8
    joints: int = 20
    channels: int = 9
    noise: float = 1.0
    broken_view: str | None = None

    name: ClassVar[str] = "tiny"
    protocol: ClassVar[str] = "all_see_all"

    def __post_init__(self) -> None:
        if self.views < 2 or not 2 <= self.num_classes <= self.clips // 2:
            raise UserError(
                "tiny needs at least 2 views, 2 classes, and 2 clips for each class, "
                f"got views={self.views} num_classes={self.num_classes} clips={self.clips}."
            )
        if self.tests is not None and self.tests < self.num_classes:
            raise UserError(
                f"tiny needs a test clip of each of its {self.num_classes} classes, got tests={self.tests}."
            )
        check_share(self.name, self.labels)
        events = (event for split in ("train", "valid", "test", "lab") for event in self._events(split))
        refuse_same_id(self.name, events, "ask for fewer data.clips or data.tests")
        if self.broken_view is not None and self.broken_view not in self.view_names():
            raise UserError(f"tiny has the views {', '.join(self.view_names())}, got broken_view={self.broken_view}.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the movements."""
        return tuple(f"movement {number}" for number in range(1, self.num_classes + 1))

    def view_names(self) -> tuple[str, ...]:
        """Names of the views, in name order."""
        return tuple(f"v{number:02}" for number in range(1, self.views + 1))

    def view(self, name: str, seed: int) -> View:
        """One view's clips, with the labels it has; `seed` draws those when `labels` < 1."""
        if name not in self.view_names():
            raise UserError(f"tiny has the views {', '.join(self.view_names())}, got {name!r}.")
        if name == self.broken_view:
            raise OSError(f"the recordings of {name} cannot be read (data.broken_view={name})")
        train, valid, test = (self._filmed(split, name) for split in ("train", "valid", "test"))
        view = View(name, self.classes, train, torch.ones(len(train), dtype=torch.bool), valid, test)
        refuse_degenerate(view)
        return replace(view, train=keep_labels(train, self.labels, generator(seed, "labels", name)))

    def subjects(self) -> dict[int, int]:
        """event id -> subject: nobody is in two events here."""
        everything = [self._filmed(split, self.view_names()[0]).ids.tolist() for split in ("train", "valid", "test")]
        return {event: number for number, event in enumerate(itertools.chain(*everything))}

    def lab(self) -> Clips:
        """The server's own recordings, for a teacher: other performances of the same movements."""
        return self._filmed("lab", "lab")

    def _filmed(self, split: str, view: str) -> Clips:
        """What one view saw of a split's events, which all views saw."""
        num_events = self._num_events(split)
        ids, order = torch.tensor([event_id(self.name, event) for event in self._events(split)]).sort()
        labels = order % self.num_classes  # as many of each class
        begun = torch.rand(num_events, generator=generator(WORLD, "begun", split))[order]
        body = self._movements(labels, begun)  # N T J 3
        chance = generator(WORLD, "noise", split, view)
        skeleton = body + self.noise * torch.randn(body.shape, generator=chance)
        angle = 2 * math.pi * float(torch.rand((), generator=generator(WORLD, "side", view)))
        picture = torch.tensor([[math.cos(angle), 0.0], [0.0, 1.0], [math.sin(angle), 0.0]])  # seen from this side
        worn = torch.randn(self.joints * 3, self.channels, generator=generator(WORLD, "worn", view))
        imu = skeleton.flatten(2) @ worn / math.sqrt(self.joints * 3)
        return Clips(ids, labels, {"skeleton": skeleton, "pose2d": skeleton @ picture, "imu": imu})

    def _events(self, split: str) -> list[str]:
        return [f"{split}/{number}" for number in range(self._num_events(split))]

    def _num_events(self, split: str) -> int:
        if split == "test" and self.tests is not None:
            return self.tests
        return self.clips if split in ("train", "lab") else self.clips // 2

    def _movements(self, labels: Tensor, begun: Float[Tensor, "N"]) -> Float[Tensor, "N T J 3"]:
        """Each clip's movement, up to half a turn on from its beginning."""
        shape = (self.num_classes, 1, self.joints, 3)
        size, phase = (torch.randn(shape, generator=generator(WORLD, what))[labels] for what in ("size", "phase"))
        turn = torch.linspace(0, 2 * math.pi, self.frames) + math.pi * begun[:, None]  # N T
        return size * (turn[:, :, None, None] + 2 * math.pi * phase).sin()
