"""Berkeley-MHAD's six accelerometers: body-worn sensors, each one view of the same person.

    data = BerkeleyMhad(data_dir="../shared/data", protocol="first5")
    data.view("h01", seed=0).train.streams["imu"].shape           # [273, 96, 1, 3], in g

Views h01..h06, as the files name the sensors (wrists, hips, ankles). With `together` there is one view, "body", whose
stream "imu" is [N F 6 3]: the literature's setting, in which one net sees all sensors. Files and their faults:
`fedkd.data.berkeley_mhad_files`.

Protocols
  first7   subjects 1-7 train, 8-12 test: the authors' (Ofli et al., WACV 2013). Needs the whole data set.
  first5   subjects 1-5 train, 6 and 7 test, for who has subjects 1-7 only; not comparable with first7.
  valid5   subjects 1-4 train, 5 validates, 6 and 7 test: first5's rehearsal, to choose settings on.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from fedkd.data.berkeley_mhad_files import (
    ABSENT,
    ACTIONS,
    PUBLISHED_AT,
    SENSORS,
    SUBJECTS,
    Recording,
    at_even_times,
    folder_of,
    read_folder,
)
from fedkd.data.check import ClipFact, DataReport
from fedkd.data.release import check_settings, event_id, labelled, mask, refuse_broken, require_view
from fedkd.errors import UserError
from fedkd.types import Clips, View

SUBJECTS_OF: dict[str, dict[str, Sequence[int]]] = {
    "first7": {"train": (1, 2, 3, 4, 5, 6, 7), "valid": (), "test": (8, 9, 10, 11, 12)},
    "first5": {"train": (1, 2, 3, 4, 5), "valid": (), "test": (6, 7)},
    "valid5": {"train": (1, 2, 3, 4), "valid": (5,), "test": (6, 7)},
}
BODY = "body"
PUBLISHED_EVENTS = len(SUBJECTS) * len(ACTIONS) * 5 - len(ABSENT)


@dataclass(frozen=True)
class BerkeleyMhad:
    """The accelerometers under one protocol.

    data_dir  holds berkeley_mhad/Accelerometer; None: FEDKD_DATA. Never written to.
    together  one view, "body", with all sensors, in place of one view a sensor.
    labels    share of its training labels that each view has, in (0, 1]; drawn by each view for itself.
    frames    every clip is resampled to this length.
    """

    data_dir: str | None = None
    protocol: str = "first5"
    together: bool = False
    labels: float = 1.0
    frames: int = 96

    name: ClassVar[str] = "berkeley_mhad"
    classes: ClassVar[tuple[str, ...]] = ACTIONS

    def __post_init__(self) -> None:
        check_settings(self.name, self.protocol, SUBJECTS_OF, self.labels, self.frames)

    def view_names(self) -> tuple[str, ...]:
        """The clients, in name order."""
        return (BODY,) if self.together else SENSORS

    def view(self, name: str, seed: int) -> View:
        """One sensor's clips, with the labels it has. `seed` draws those when `labels` < 1."""
        require_view(self.name, self.view_names(), name)
        train, valid, test = (self._clips(name, split) for split in ("train", "valid", "test"))
        others = {e for other in self.view_names() if other != name for e in self._events(other, "train")}
        shared = mask(event in others for event in self._events(name, "train"))
        view = View(name, self.classes, train, shared, valid, test)
        return labelled(view, share=self.labels, seed=seed, exchanges=not self.together)

    def lab(self) -> None:
        """No recordings of other people for a teacher to learn from."""

    def subjects(self) -> dict[int, int]:
        """event id -> subject, for whoever studies results; nobody in a federation knows it."""
        return {_id(r.event): r.subject for clips in self._usable().values() for r in clips}

    def check(self) -> DataReport:
        """What is in the folder, whatever the protocol."""
        folder = folder_of(self.data_dir)
        clips, broken = read_folder(folder)
        facts = [
            ClipFact(sensor, r.event, ACTIONS[r.label], f"s{r.subject:02}")
            for sensor in SENSORS
            for r in sorted(clips[sensor], key=lambda r: r.label)
        ]
        return DataReport(self.name, str(folder), SENSORS, facts, PUBLISHED_EVENTS * len(SENSORS), broken=broken)

    def _events(self, view: str, split: str) -> list[str]:
        """A split's events that a view saw, by id."""
        return sorted(set.intersection(*(set(clips) for clips in self._by_event(view, split))), key=_id)

    def _by_event(self, view: str, split: str) -> list[dict[str, Recording]]:
        """For each sensor of a view, its recordings of a split by event."""
        recordings = self._usable()
        return [
            {r.event: r for r in recordings[s] if self._is(r, split)} for s in (SENSORS if view == BODY else (view,))
        ]

    def _clips(self, view: str, split: str) -> Clips:
        """A split of a view's clips; with `together`, of the events that every sensor has."""
        by_event, events = self._by_event(view, split), self._events(view, split)
        imu = [torch.stack([at_even_times(c[e], self.frames) for c in by_event], dim=1) for e in events]  # F S 3
        return Clips(
            ids=torch.tensor([_id(e) for e in events], dtype=torch.int64),
            labels=torch.tensor([by_event[0][e].label for e in events], dtype=torch.int64),
            streams={"imu": torch.stack(imu) if imu else torch.empty(0, self.frames, len(by_event), 3)},
        )

    def _is(self, recording: Recording, split: str) -> bool:
        return recording.subject in SUBJECTS_OF[self.protocol][split]

    def _usable(self) -> dict[str, tuple[Recording, ...]]:
        """The folder's clips by sensor; a broken folder is refused, a thin one named."""
        folder = folder_of(self.data_dir)
        recordings, broken = read_folder(folder)
        refuse_broken(self.name, folder, broken)
        wanted = {s for split in SUBJECTS_OF[self.protocol].values() for s in split}
        absent = sorted(wanted - {r.subject for clips in recordings.values() for r in clips})
        if absent:
            raise UserError(
                f"berkeley_mhad {self.protocol} needs subjects {_listed(wanted)}, but {folder} has no clip of "
                f"{_listed(absent)}; copy them ({PUBLISHED_AT}) or choose data.protocol=first5."
            )
        thin = [sensor for sensor in SENSORS if not recordings[sensor]]
        if thin:
            warnings.warn(f"berkeley_mhad: no clip of {', '.join(thin)} in {folder}", stacklevel=3)
        return dict(recordings)


def _listed(subjects: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(subjects)))


def _id(event: str) -> int:
    return event_id("berkeley_mhad", event)
