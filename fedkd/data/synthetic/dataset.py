"""The embedded data set: `data=synthetic`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import UInt8

from fedkd.data.contact_sheet import write_contact_sheet
from fedkd.data.synthetic.actions import ACTIONS
from fedkd.data.synthetic.camera import Camera, camera, looking, project, seen_from
from fedkd.data.synthetic.chance import Chance
from fedkd.data.synthetic.motion import FRAMES, Event, perform
from fedkd.data.synthetic.renderer import film
from fedkd.data.synthetic.room import Room, room
from fedkd.data.synthetic.sensors import imu, pose2d, skeleton
from fedkd.errors import UserError
from fedkd.seeding import generator, opaque_id
from fedkd.types import UNKNOWN, Clips, View

SKELETON_FRAMES = 32
MODALITIES = ("rgb", "skeleton", "pose2d", "imu")
FIRST_SUBJECT = {"train": 1, "valid": 101, "test": 201, "lab": 301}
"""Splits have subjects of their own, numbered apart: with more training subjects the test stays the same."""

Key = tuple[int, int, int]
"""(subject, action, trial): which event."""


@dataclass(frozen=True)
class Synthetic:
    """Twelve everyday actions, filmed by `views` cameras, rendered from a seed when they are asked for.

    `labels` is the share of its training clips that a view labels itself; each view draws its own with the run's seed.
    The world (bodies, events, cameras, rooms) depends on `world_seed` alone. Only the `modalities` asked for are made:
    pictures are the dear part. `size` is the side of a picture in pixels.
    """

    views: int = 4
    labels: float = 0.1
    train_subjects: int = 10
    train_trials: int = 3
    valid_subjects: int = 2
    valid_trials: int = 2
    test_subjects: int = 5
    test_trials: int = 4
    lab_subjects: int = 10
    lab_trials: int = 3
    size: int = 48
    frames: int = 8
    modalities: tuple[str, ...] = ("rgb", "skeleton")
    world_seed: int = 0

    name: ClassVar[str] = "synthetic"
    protocol: ClassVar[str] = "unseen_subjects"
    classes: ClassVar[tuple[str, ...]] = tuple(action.name for action in ACTIONS)

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", tuple(self.modalities))  # a list, when it comes from YAML
        unknown = set(self.modalities) - set(MODALITIES)
        if unknown or not self.modalities:
            raise UserError(
                f"data.modalities takes some of {', '.join(MODALITIES)}, got {', '.join(sorted(unknown)) or 'none'}."
            )
        if not 0 <= self.labels <= 1:
            raise UserError(f"data.labels is a share of the training clips, 0..1, got {self.labels}.")

    def view_names(self) -> tuple[str, ...]:
        return tuple(f"v{number + 1:02d}" for number in range(self.views))

    def view(self, name: str, seed: int) -> View:
        """One camera's recordings. `seed`, the run's, decides which training clips are labelled."""
        number = self._number_of(name)
        train = self._recorded(number, self._events("train", self.train_subjects, self.train_trials))
        known = torch.randperm(len(train), generator=generator(seed, "labels", name))[: round(self.labels * len(train))]
        labels = torch.full_like(train.labels, UNKNOWN)
        labels[known] = train.labels[known]
        return View(
            name=name,
            classes=self.classes,
            train=train.knowing(labels),
            shared=torch.ones(len(train), dtype=torch.bool),
            valid=self._recorded(number, self._events("valid", self.valid_subjects, self.valid_trials)),
            test=self._recorded(number, self._events("test", self.test_subjects, self.test_trials)),
        )

    def lab(self) -> Clips:
        """The server's own labelled skeletons: other subjects, each event seen from somewhere else."""
        keys = self._events("lab", self.lab_subjects, self.lab_trials)
        return self._clips(keys, [{"skeleton": self._lab_skeleton(key)} for key in keys])

    def contact_sheet(self, path: Path, size: int = 96) -> None:
        """One clip of each action, by a subject of the training set, from every camera; larger than students see it."""
        keys = [(FIRST_SUBJECT["train"], action, 1) for action in range(len(self.classes))]
        rgb = {}
        for number, name in enumerate(self.view_names()):
            camera_, room_ = (
                camera(self.world_seed, number),
                room(self.world_seed, number, camera(self.world_seed, number), size),
            )
            rgb[name] = torch.from_numpy(
                np.stack([self._rgb(number, key, perform(self.world_seed, *key), camera_, room_) for key in keys])
            )
        write_contact_sheet(path, self.classes, rgb)

    def _number_of(self, name: str) -> int:
        if name not in self.view_names():
            raise UserError(
                f"synthetic data has the views {', '.join(self.view_names())}, got {name!r}; choose one or raise data.views."
            )
        return self.view_names().index(name)

    def _events(self, split: str, subjects: int, trials: int) -> list[Key]:
        """Every (subject, action, trial) of a split, in order of event id."""
        if not 0 <= subjects <= 100:
            raise UserError(f"data.{split}_subjects must be 0..100, got {subjects}.")
        first = FIRST_SUBJECT[split]
        keys = [
            (s, a, e)
            for s in range(first, first + subjects)
            for a in range(len(self.classes))
            for e in range(1, trials + 1)
        ]
        return sorted(keys, key=self._id)

    def _id(self, key: Key) -> int:
        subject, action, trial = key
        return opaque_id(f"synthetic/{self.world_seed}/s{subject:02d}/a{action + 1:02d}/e{trial:02d}")

    def _clips(self, keys: list[Key], rows: Iterable[dict[str, np.ndarray]]) -> Clips:
        """Clips from one row of streams for each event."""
        ids = [self._id(key) for key in keys]
        assert len(set(ids)) == len(ids), (
            f"two events of world {self.world_seed} share an id: choose another world_seed"
        )
        rows = list(rows)
        streams = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in (rows[0] if rows else ())}
        return Clips(
            torch.tensor(ids, dtype=torch.int64), torch.tensor([a for _, a, _ in keys], dtype=torch.int64), streams
        )

    def _recorded(self, number: int, keys: list[Key]) -> Clips:
        """The events as camera `number` saw them."""
        camera_ = camera(self.world_seed, number)
        room_ = room(self.world_seed, number, camera_, self.size)
        return self._clips(keys, (self._streams(number, key, camera_, room_) for key in keys))

    def _streams(self, number: int, key: Key, camera_: Camera, room_: Room) -> dict[str, np.ndarray]:
        event = perform(self.world_seed, *key)
        seen = seen_from(camera_.centre, camera_.axes, event.joints[:: FRAMES // SKELETON_FRAMES])
        make = {
            "rgb": lambda chance: self._rgb(number, key, event, camera_, room_),
            "skeleton": lambda chance: skeleton(chance, seen),
            "pose2d": lambda chance: pose2d(chance, project(camera_.focal, seen, self.size)),
            "imu": lambda chance: imu(chance, event.joints),
        }
        return {name: make[name](Chance(self.world_seed, name, number, *key)) for name in self.modalities}

    def _rgb(self, number: int, key: Key, event: Event, camera_: Camera, room_: Room) -> UInt8[np.ndarray, "T H W 3"]:
        stride = FRAMES // self.frames
        joints = event.joints[stride // 2 :: stride][: self.frames]
        return film(Chance(self.world_seed, "rgb", number, *key), camera_, room_, event.performer, joints, event.stool)

    def _lab_skeleton(self, key: Key) -> np.ndarray:
        chance = Chance(self.world_seed, "lab", *key)
        centre, axes = looking(
            chance.uniform(0, 1), chance.uniform(3.5, 5.0), chance.uniform(0.8, 2.8), np.array([0.0, 0.0, 1.0])
        )
        joints = perform(self.world_seed, *key).joints[:: FRAMES // SKELETON_FRAMES]
        return skeleton(chance, seen_from(centre, axes, joints))
