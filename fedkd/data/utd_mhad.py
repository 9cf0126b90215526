"""UTD-MHAD: a Kinect and one inertial sensor on the body, eight people, 27 actions.

    data = UtdMhad(data_dir="../shared/data", protocol="P1v")
    data.view("inertial", seed=0).train.streams["imu"].shape          # [323, 64, 4, 3]

Views: "inertial", whose host has the stream "imu" [N F 4 3] (acceleration in g; turning in units of 200 degrees a
second; acceleration and velocity, in units of 2.5 metres a second, along the sensor's first axes:
`fedkd.data.strapdown`), and "kinect" with "skeleton" [N F 20 3] (torsos about the clip's mean hip centre, turned to
face the camera).
Both are stretched to the same number of frames. Pooled (`strategy=central`), an event has both streams: the papers'
setting, in which a skeleton teacher sees the very clip that its inertial student sees. At a test only the student's own
stream is looked at. Files and their faults: `fedkd.data.utd_mhad_files`.

Protocols
  P1      cross-subject, as the authors published it: subjects 1 3 5 7 train, 2 4 6 8 test. No validation.
  P1v     cross-subject with subject 7 for validation: 1 3 5 train, 2 4 6 8 test (Brinzea, Khaertdinov, Asteriadis.
          CMC-CMKM. IJCNN 2022, as in their code, https://github.com/razzu/cmc-cmkm). One person misleads: to choose
          settings, let each of 1 3 5 7 validate in turn (`valid_subject`).
  trials  trials 1 and 2 of *all* subjects train, 3 and 4 test: the same people on both sides, so figures lie far above
          those of P1 and are not comparable with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.data.check import Broken, ClipFact, DataReport
from fedkd.data.release import (
    check_settings,
    clips_of,
    event_id,
    first,
    labelled,
    mask,
    recorded_by_all,
    refuse_broken,
    refuse_same_id,
    remark_thin,
    require_view,
)
from fedkd.data.skeleton import centred, facing, repaired, resample
from fedkd.data.store import Progress
from fedkd.data.strapdown import strapdown
from fedkd.data.utd_mhad_files import (
    ACTIONS,
    FOLDERS,
    INERTIAL_RATE,
    PUBLISHED_AT,
    PUBLISHED_CLIPS,
    SUBJECTS,
    Recording,
    folder_of,
    read_folder,
)
from fedkd.data.utd_mhad_pictures import picture_faults, picture_recordings, pictures_there, prepare_pictures
from fedkd.errors import UserError
from fedkd.types import Clips, View

PROTOCOLS = ("P1", "P1v", "trials")
TRAINING_SUBJECTS = (1, 3, 5, 7)
TRIALS_OF: dict[str, tuple[int, ...]] = {"train": (1, 2), "valid": (), "test": (3, 4)}
MODALITY_OF = {"inertial": "inertial", "kinect": "skeleton"}
"""view -> what it records."""

UNITS = torch.tensor([[1.0], [200.0], [1.0], [2.5]])
"""g, degrees a second, g, metres a second: what is 1 in the stream "imu"."""


def sensed(values: Float[Tensor, "T 2 3"]) -> Float[Tensor, "T 4 3"]:
    """Acceleration and turning as measured; acceleration and velocity along the sensor's first axes."""
    acceleration, turning = values.unbind(1)
    return torch.stack([acceleration, turning, *strapdown(acceleration, turning, INERTIAL_RATE)], dim=1)


STREAMS: dict[str, tuple[str, Callable[[Tensor, int], Tensor]]] = {
    "skeleton": ("skeleton", lambda joints, frames: resample(centred(facing(repaired(joints))), frames)),
    "inertial": ("imu", lambda values, frames: resample(sensed(values) / UNITS, frames)),
    "depth": ("depth", lambda clip, frames: clip),
    "rgb": ("rgb", lambda clip, frames: clip),
}
"""modality -> its stream's name, and how a recording is prepared."""


@dataclass(frozen=True)
class UtdMhad:
    """The data set under one protocol.

    data_dir  holds utd_mhad; None: FEDKD_DATA. Never written to.
    views     the clients, some of "inertial" and "kinect".
    valid_subject  of P1v: which of subjects 1 3 5 7 validates; the published protocol has 7.
    depth     the Kinect's host also has its depth pictures, as "depth" [N 16 48 48 1]; `fedkd data prepare` makes them.
    rgb       and its colour pictures, as "rgb" [N 16 S S 3], S = `side` pixels; made in the same way.
    prepared_dir  where prepared clips lie; None: ~/.cache/fedkd.
    labels    share of its training labels that each view has, in (0, 1]; drawn by each view for itself.
    frames    every clip is stretched to this length.
    mirrors   whether nets may see mirror images. In them "swipe left" is "swipe right", and the circles are each other,
              so they do not: `fedkd.mirrors`.
    """

    data_dir: str | None = None
    protocol: str = "P1v"
    views: Sequence[str] = ("inertial", "kinect")
    valid_subject: int = 7
    depth: bool = False
    rgb: bool = False
    side: int = 112
    prepared_dir: str | None = None
    labels: float = 1.0
    frames: int = 64
    mirrors: bool = False

    name: ClassVar[str] = "utd_mhad"
    classes: ClassVar[tuple[str, ...]] = ACTIONS

    def __post_init__(self) -> None:
        check_settings(self.name, self.protocol, PROTOCOLS, self.labels, self.frames)
        if not self.views or not set(self.views) <= set(MODALITY_OF):
            raise UserError(f"utd_mhad has the views {', '.join(MODALITY_OF)}, got {list(self.views)}.")
        if (self.depth or self.rgb) and "kinect" not in self.views:
            raise UserError("utd_mhad depth and rgb belong to the kinect's host: add it to data.views.")
        if self.valid_subject not in TRAINING_SUBJECTS:
            raise UserError(f"utd_mhad valid_subject is one of {TRAINING_SUBJECTS}, got {self.valid_subject}.")

    def view_names(self) -> tuple[str, ...]:
        """The clients, in name order."""
        return tuple(sorted(set(self.views)))

    def view(self, name: str, seed: int) -> View:
        """One sensor's clips, with the labels it has. `seed` draws those when `labels` < 1."""
        require_view(self.name, self.view_names(), name)
        found = self._recorded_by(name)
        split = {
            part: [event for event in found if self._is(first(event), part)] for part in ("train", "valid", "test")
        }
        others = [o for o in self.view_names() if o != name]
        elsewhere = {first(event).event for other in others for event in self._recorded_by(other)}
        shared = mask(first(event).event in elsewhere for event in split["train"])
        train, valid, test = (_clips(events, found[0], self.frames) for events in split.values())
        view = View(name, self.classes, train, shared, valid, test)
        return labelled(view, share=self.labels, seed=seed, exchanges=len(self.view_names()) > 1)

    def lab(self) -> None:
        """No recordings of other people for a teacher to learn from."""

    def subjects(self) -> dict[int, int]:
        """event id -> subject, for whoever studies results; nobody in a federation knows it."""
        return {
            event_id(self.name, r.event): r.subject
            for view in self.view_names()
            for r in usable(folder_of(self.data_dir), MODALITY_OF[view])
        }

    def check(self) -> DataReport:
        """What is in the folder, whatever the protocol; of pictures what the last `prepare` found."""
        folder = folder_of(self.data_dir)
        clips, broken = read_folder(folder)
        facts = [
            ClipFact(modality, r.event, ACTIONS[r.label], f"s{r.subject}")
            for modality in FOLDERS
            for r in sorted(clips[modality], key=lambda r: r.label)
        ]
        expected = PUBLISHED_CLIPS * len(FOLDERS)
        pictures, waiting = picture_faults(folder, self.prepared_dir, self.side)
        return DataReport(
            self.name, str(folder), tuple(FOLDERS), facts, expected, broken=broken,
            beside=pictures_there(folder), pictures=pictures, notes=waiting,
        )  # fmt: skip

    def prepare(self, progress: Progress) -> list[Broken]:
        """Make the depth and colour clips that are not there yet; the files that hold none."""
        return prepare_pictures(folder_of(self.data_dir), self.prepared_dir, self.side, progress)

    def _recorded_by(self, view: str) -> list[dict[str, Recording]]:
        """Each event that a view's host has, by id: its recordings by modality, the view's own first."""
        folder = folder_of(self.data_dir)
        own = MODALITY_OF[view]
        by_part: dict[str, Sequence[Recording]] = {own: usable(folder, own)}
        wanted = {"depth": self.depth, "rgb": self.rgb} if view == "kinect" else {}
        for modality in [m for m, is_wanted in wanted.items() if is_wanted]:
            by_part[modality] = picture_recordings(folder, modality, self.prepared_dir, self.side)
        events = recorded_by_all(self.name, view, by_part)
        if not events:
            counts = ", ".join(f"{len(clips)} of {modality}" for modality, clips in by_part.items())
            raise UserError(f"utd_mhad: no event of {folder} has all that the {view}'s host needs: {counts}.")
        return events

    def _is(self, recording: Recording, split: str) -> bool:
        """Whether a clip belongs to a split."""
        if self.protocol == "trials":
            return recording.trial in TRIALS_OF[split]
        valid = (self.valid_subject,) if self.protocol == "P1v" else ()
        train = tuple(subject for subject in TRAINING_SUBJECTS if subject not in valid)
        test = tuple(subject for subject in SUBJECTS if subject not in TRAINING_SUBJECTS)
        return recording.subject in {"train": train, "valid": valid, "test": test}[split]


def usable(folder: Path, modality: str) -> tuple[Recording, ...]:
    """The folder's clips of a modality; a folder that is broken or has none is refused, a thin one named."""
    recordings, broken = read_folder(folder)
    refuse_broken("utd_mhad", folder, broken)
    refuse_same_id("utd_mhad", (r.event for of_one in recordings.values() for r in of_one))
    clips = recordings[modality]
    if not clips:
        raise UserError(
            f"utd_mhad finds no {FOLDERS[modality]}/*.mat in {folder}: unpack it there ({PUBLISHED_AT}) or choose "
            "data.views without it."
        )
    remark_thin("utd_mhad", len(clips), PUBLISHED_CLIPS, f"{modality} clips", folder)
    return clips


def _clips(events: Sequence[Mapping[str, Recording]], example: Mapping[str, Recording], frames: int) -> Clips:
    """Prepared clips of events given by id, each with its recordings by modality; of no events, none like `example`."""
    streams = {}
    for modality, like in example.items():
        name, prepare = STREAMS[modality]
        clips = [prepare(event[modality].values, frames) for event in events]
        streams[name] = torch.stack(clips) if clips else prepare(like.values, frames)[None][:0]
    return clips_of("utd_mhad", events, streams)
