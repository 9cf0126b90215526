"""The embedded data set: `data=synthetic`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import UInt8

from fedkd.data.contact_sheet import write_contact_sheet
from fedkd.data.labelled import keep_labels, refuse_degenerate
from fedkd.data.release import check_share, event_id, refuse_same_id
from fedkd.data.synthetic.actions import ACTIONS
from fedkd.data.synthetic.camera import Camera, camera, looking, project, seen_from
from fedkd.data.synthetic.chance import Chance
from fedkd.data.synthetic.motion import FRAMES, Event, perform
from fedkd.data.synthetic.renderer import film
from fedkd.data.synthetic.room import Room, room
from fedkd.data.synthetic.sensors import imu, pose2d, skeleton
from fedkd.errors import UserError
from fedkd.seeding import generator
from fedkd.types import Clips, View

SKELETON_FRAMES = 32
MODALITIES = ("rgb", "skeleton", "pose2d", "imu")
FIRST_SUBJECT = {"train": 1, "valid": 101, "test": 201, "lab": 301}
"""Splits have subjects of their own, numbered apart: more training subjects leave the test as it is."""

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
    labels: int | float = 0.1
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
    modalities: Sequence[str] = ("rgb", "skeleton")
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
        if self.views < 2 or self.size < 16 or not 2 <= self.frames <= FRAMES:
            raise UserError(
                f"synthetic data needs 2 or more views, 16 or more pixels and 2..{FRAMES} frames, "
                f"got views={self.views} size={self.size} frames={self.frames}."
            )
        check_share(self.name, self.labels)
        for split in FIRST_SUBJECT:
            subjects, trials = self._counts(split)
            if not (1 <= subjects <= 100 and 1 <= trials <= 99):
                raise UserError(f"data.{split}_subjects is 1..100 and {split}_trials 1..99, got {subjects}, {trials}.")
        events = (self._event(key) for split in FIRST_SUBJECT for key in self._events(split))
        refuse_same_id(self.name, events, "take another data.world_seed")

    def view_names(self) -> tuple[str, ...]:
        """The cameras, v01 first."""
        return tuple(f"v{number + 1:02d}" for number in range(self.views))

    def view(self, name: str, seed: int) -> View:
        """One camera's recordings. `seed`, the run's, decides which training clips are labelled."""
        if name not in self.view_names():
            raise UserError(
                f"synthetic data has the views {', '.join(self.view_names())}, got {name!r}; raise data.views for more."
            )
        number = self.view_names().index(name)
        train, valid, test = (self._recorded(number, self._events(split)) for split in ("train", "valid", "test"))
        shared = torch.ones(len(train), dtype=torch.bool)
        view = View(name=name, classes=self.classes, train=train, shared=shared, valid=valid, test=test)
        refuse_degenerate(view)
        return replace(view, train=keep_labels(train, self.labels, generator(seed, "labels", name)))

    def lab(self) -> Clips:
        """The server's own labelled skeletons: other subjects, each event seen from somewhere else."""
        keys = self._events("lab")
        return self._clips(keys, [{"skeleton": self._lab_skeleton(key)} for key in keys])

    def subjects(self) -> dict[int, int]:
        """event id -> subject, for whoever studies results; nobody in a federation knows it."""
        return {self._id(key): key[0] for split in FIRST_SUBJECT for key in self._events(split)}

    def contact_sheet(self, path: Path, size: int = 96) -> None:
        """Each action, by another subject, from every camera; larger than the students see it."""
        keys = [(FIRST_SUBJECT["train"] + action, action, 1) for action in range(len(self.classes))]
        larger = replace(self, size=size, modalities=("rgb",))
        rgb = {}
        for number, name in enumerate(self.view_names()):
            filmed = larger._recorded(number, sorted(keys, key=self._id))
            rgb[name] = filmed.streams["rgb"][torch.argsort(filmed.labels)]
        write_contact_sheet(path, self.classes, rgb)

    def _counts(self, split: str) -> tuple[int, int]:
        """Subjects and trials of a split."""
        return getattr(self, f"{split}_subjects"), getattr(self, f"{split}_trials")

    def _events(self, split: str) -> list[Key]:
        """Every (subject, action, trial) of a split, in order of event id."""
        subjects, trials = self._counts(split)
        people = range(FIRST_SUBJECT[split], FIRST_SUBJECT[split] + subjects)
        keys = itertools.product(people, range(len(self.classes)), range(1, trials + 1))
        return sorted(keys, key=self._id)

    def _event(self, key: Key) -> str:
        subject, action, trial = key
        return f"{self.world_seed}/s{subject:02d}/a{action + 1:02d}/e{trial:02d}"

    def _id(self, key: Key) -> int:
        return event_id(self.name, self._event(key))

    def _clips(self, keys: Sequence[Key], rows: Sequence[Mapping[str, np.ndarray]]) -> Clips:
        """Clips from one row of streams for each event."""
        ids = torch.tensor([self._id(key) for key in keys], dtype=torch.int64)
        labels = torch.tensor([action for _, action, _ in keys], dtype=torch.int64)
        return Clips(ids, labels, {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]})

    def _recorded(self, number: int, keys: list[Key]) -> Clips:
        """The events as camera `number` saw them."""
        camera_ = camera(self.world_seed, number)
        room_ = room(self.world_seed, number, camera_, self.size)
        return self._clips(keys, [self._streams(number, key, camera_, room_) for key in keys])

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
