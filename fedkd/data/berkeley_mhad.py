"""Berkeley-MHAD: six accelerometers on the body, motion capture, and two Kinects.

    data = BerkeleyMhad(data_dir="../shared/data", protocol="first5")
    data.view("h01", seed=0).train.streams["imu"].shape           # [273, 96, 1, 3], in g

Views h01..h06, as the files name the sensors (wrists, hips, ankles). With `together` they are one view, "body", whose
stream "imu" is [N F 6 3]: the literature's setting, in which one net sees all sensors. "mocap" has "skeleton"
[N F 20 3] (torsos about the clip's mean hip centre, turned as one Kinect would see them all), "k01" and "k02" have
"depth" [N 16 48 48 1], which `fedkd data prepare` makes. Pooled (`strategy=central`), mocap's skeleton lies beside
each sensor's clip of the event: in progressive distillation the teacher sees the very clip that its student sees.
Files and their faults: `fedkd.data.berkeley_mhad_files`, `..._mocap`, `..._kinect`.

Protocols
  first7   subjects 1-7 train, 8-12 test: the authors' (Ofli et al., WACV 2013). Needs the whole data set.
  first5   subjects 1-5 train, 6 and 7 test, for who has subjects 1-7 only; not comparable with first7.
  valid5   subjects 1-4 train, 5 validates, 6 and 7 test: first5's rehearsal, to choose settings on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from fedkd.data.berkeley_mhad_files import (
    ABSENT,
    ACTIONS,
    FILES,
    PUBLISHED_AT,
    SENSORS,
    SUBJECTS,
    Recording,
    at_even_times,
    folder_of,
    has,
    non_actions,
    read_folder,
    require,
)
from fedkd.data.berkeley_mhad_kinect import KINECTS, DepthClip, kinect_clips, prepare_kinects, recordings
from fedkd.data.berkeley_mhad_mocap import Pose, read_mocap
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
    require_view,
)
from fedkd.data.skeleton import centred, facing, resample
from fedkd.data.store import Progress
from fedkd.errors import UserError, remark
from fedkd.types import Clips, View

SUBJECTS_OF: dict[str, dict[str, Sequence[int]]] = {
    "first7": {"train": (1, 2, 3, 4, 5, 6, 7), "valid": (), "test": (8, 9, 10, 11, 12)},
    "first5": {"train": (1, 2, 3, 4, 5), "valid": (), "test": (6, 7)},
    "valid5": {"train": (1, 2, 3, 4), "valid": (5,), "test": (6, 7)},
}
BODY, MOCAP = "body", "mocap"
VIEWS = (*SENSORS, *KINECTS, MOCAP)
PUBLISHED_EVENTS = len(SUBJECTS) * len(ACTIONS) * 5 - len(ABSENT)


Recorded = Recording | Pose | DepthClip


@dataclass(frozen=True)
class BerkeleyMhad:
    """The data set under one protocol.

    data_dir  holds berkeley_mhad; None: FEDKD_DATA. Never written to.
    views     the clients: of h01..h06, k01, k02 and mocap.
    together  one view, "body", with all six sensors, in place of one view a sensor.
    prepared_dir  where prepared clips lie; None: ~/.cache/fedkd.
    labels    share of its training labels that each view has, in (0, 1]; drawn by each view for itself.
    frames    every clip but depth is resampled to this length.
    """

    data_dir: str | None = None
    protocol: str = "first5"
    views: Sequence[str] = SENSORS
    together: bool = False
    prepared_dir: str | None = None
    labels: float = 1.0
    frames: int = 96

    name: ClassVar[str] = "berkeley_mhad"
    classes: ClassVar[tuple[str, ...]] = ACTIONS

    def __post_init__(self) -> None:
        check_settings(self.name, self.protocol, SUBJECTS_OF, self.labels, self.frames)
        if not self.views or not set(self.views) <= set(VIEWS):
            raise UserError(f"berkeley_mhad has the views {', '.join(VIEWS)}, got {list(self.views)}.")

    def view_names(self) -> tuple[str, ...]:
        """The clients, in name order."""
        return tuple(sorted({BODY if self.together and view in SENSORS else view for view in self.views}))

    def view(self, name: str, seed: int) -> View:
        """One view's clips, with the labels it has. `seed` draws those when `labels` < 1."""
        require_view(self.name, self.view_names(), name)
        usable = self._usable()
        recorded = {view: self._recorded_by(view, usable) for view in self.view_names()}
        if not recorded[name]:
            raise UserError(f"berkeley_mhad: no event was recorded by all of {', '.join(_parts(name))}.")
        split = {part: [e for e in recorded[name] if self._is(e, part)] for part in ("train", "valid", "test")}
        elsewhere = {first(e).event for other, events in recorded.items() if other != name for e in events}
        shared = mask(first(event).event in elsewhere for event in split["train"])
        train, valid, test = (_clips(events, recorded[name][0], self.frames) for events in split.values())
        view = View(name, self.classes, train, shared, valid, test)
        return labelled(view, share=self.labels, seed=seed, exchanges=len(self.view_names()) > 1)

    def lab(self) -> None:
        """No recordings of other people for a teacher to learn from."""

    def subjects(self) -> dict[int, int]:
        """event id -> subject, for whoever studies results; nobody in a federation knows it."""
        return {event_id(self.name, r.event): r.subject for clips in self._usable().values() for r in clips}

    def check(self) -> DataReport:
        """What is in the folder, whatever the protocol; of the Kinects by names and what the last `prepare` found."""
        folder = folder_of(self.data_dir)
        sensors, broken = read_folder(folder)
        poses, unposed = read_mocap(folder)
        filmed, unfilmed, waiting = recordings(folder, self.prepared_dir)
        seen = [(sensor, r.event, r.subject, r.label) for sensor in SENSORS for r in sensors[sensor]]
        seen += [(MOCAP, r.event, r.subject, r.label) for r in poses]
        seen += [(view, event, subject, action - 1) for view, event, subject, action in filmed]
        facts = [
            ClipFact(v, event, ACTIONS[label], f"s{s:02}") for v, event, s, label in sorted(seen, key=lambda r: r[3])
        ]
        views = [view for view in VIEWS if has(folder, _modality(view))]
        away = {_modality(view) for view in VIEWS} - {_modality(view) for view in views}
        posed = non_actions(folder)
        notes = [f"{posed} files are of T-poses and backgrounds, no actions, and left out"] if posed else []
        return DataReport(
            self.name, str(folder), tuple(views), facts, PUBLISHED_EVENTS * len(views),
            broken=[*broken, *unposed, *unfilmed],
            notes=[*notes, *(f"no {m} ({FILES[m]}): only its own views need it" for m in sorted(away)), *waiting],
        )  # fmt: skip

    def prepare(self, progress: Progress) -> list[Broken]:
        """Make the depth clips that are not there yet; the recordings that hold none."""
        folder = folder_of(self.data_dir)
        require(folder, "kinect")
        return prepare_kinects(folder, self.prepared_dir, progress)

    def _recorded_by(self, view: str, usable: Mapping[str, Sequence[Recorded]]) -> list[dict[str, Recorded]]:
        """Each event of which a view has all its parts, by id: its recordings."""
        return recorded_by_all(self.name, view, {part: usable[part] for part in _parts(view)})

    def _is(self, event: Mapping[str, Recorded], split: str) -> bool:
        return first(event).subject in SUBJECTS_OF[self.protocol][split]

    def _usable(self) -> dict[str, tuple[Recorded, ...]]:
        """The clips of every part that some view needs; a broken folder is refused, a thin one named."""
        folder = folder_of(self.data_dir)
        needed = {part for view in self.view_names() for part in _parts(view)}
        modalities = {_modality(part) for part in needed}
        for modality in sorted(modalities):
            require(folder, modality)
        clips: dict[str, tuple[Recorded, ...]] = {}
        if "accelerometer" in modalities:
            sensors, broken = read_folder(folder)
            refuse_broken(self.name, folder, broken)
            clips |= sensors
        if "mocap" in modalities:
            clips[MOCAP], broken = read_mocap(folder)
            refuse_broken(self.name, folder, broken)
        if "kinect" in modalities:
            clips |= kinect_clips(folder, self.prepared_dir)
        refuse_same_id(self.name, (r.event for found in clips.values() for r in found))
        self._refuse_absent(folder, {r.subject for found in clips.values() for r in found})
        thin = sorted(part for part in needed if not clips[part])
        if thin:
            remark(f"berkeley_mhad: no clip of {', '.join(thin)} in {folder}")
        return clips

    def _refuse_absent(self, folder: Path, there: set[int]) -> None:
        """A UserError where a subject of the protocol was not recorded."""
        wanted = {s for split in SUBJECTS_OF[self.protocol].values() for s in split}
        if absent := wanted - there:
            raise UserError(
                f"berkeley_mhad {self.protocol} needs subjects {_listed(wanted)}, but {folder} has no clip of "
                f"{_listed(absent)}; copy them ({PUBLISHED_AT}) or choose data.protocol=first5."
            )


def _clips(events: Sequence[Mapping[str, Recorded]], example: Mapping[str, Recorded], frames: int) -> Clips:
    """Prepared clips of events given by id; of no events, none like `example`."""
    stream, like = _prepared(example, frames)
    clips = [_prepared(event, frames)[1] for event in events]
    return clips_of("berkeley_mhad", events, {stream: torch.stack(clips) if clips else like[None][:0]})


def _prepared(event: Mapping[str, Recorded], frames: int) -> tuple[str, Tensor]:
    """Its view's stream, and one event's clip of it: imu [F S 3], skeleton [F 20 3] or depth [16 48 48 1]."""
    recorded = first(event)
    if isinstance(recorded, Pose):
        return "skeleton", resample(centred(facing(recorded.joints)), frames)
    if isinstance(recorded, DepthClip):
        return "depth", recorded.depth
    return "imu", torch.stack([at_even_times(r, frames) for r in event.values() if isinstance(r, Recording)], dim=1)


def _parts(view: str) -> Sequence[str]:
    """What a view is made of."""
    return SENSORS if view == BODY else (view,)


def _modality(part: str) -> str:
    return "kinect" if part in KINECTS else "mocap" if part == MOCAP else "accelerometer"


def _listed(subjects: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(subjects)))
