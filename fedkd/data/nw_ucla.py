"""Northwestern-UCLA: three Kinects film ten people doing ten actions; each camera is one view.

    data = NwUcla(data_dir="../shared/data", protocol="by_subject", fold=0)
    data.view("v01", seed=0).train.streams["pose2d"].shape          # [363, 32, 20, 2]

Streams: "skeleton" [N F 20 3], turned to face the camera, for a teacher that views can share; "pose2d" [N F 20 2], x
and y of the view's own camera (the Kinect's joints seen orthographically: cleaner than what a picture's pose estimator
gives). Both in torso lengths about the clip's mean hip centre. Files and their faults: `fedkd.data.nw_ucla_files`.

Protocols
  by_subject    Subjects of train, valid and test are apart, every view is a client, views exchange on training events
                only (inductive). Fold f tests subjects 2f+1 and 2f+2, validates on the next, trains on the other seven.
                In fold 1 the validation subject is s05, whom v03 never filmed: v03's `valid` is empty.
  cross_view    The literature's: v01 and v02 train, v03 tests; the test split of both clients is v03's clips. Test
                clips are the *same performances by the same people* as training clips, filmed from aside: figures are
                not comparable with by_subject, and what is exchanged on training events is about test events too.
  new_camera    v03 has no label at all. v01 and v02 know the labels of four training subjects (their history); the
                events of the other three are filmed by all, shared, and labelled by nobody.
  new_camera_oracle   The upper bound of new_camera: v03 knows the labels of its own shared clips.

95 clips of v03 repeat v02's, all there are of "pick up with two hands" and "drop trash". `duplicates="drop"` leaves
them out: v03 then has 8 of the 10 classes, and its accuracy is not comparable with the others'. `"keep"` is the usual,
leaking form: 95 of the 464 cross_view test clips are then in training. Report both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from fedkd.data.check import Broken, ClipFact, DataReport
from fedkd.data.nw_ucla_depth import depth_faults, depth_films, depth_store, depth_there, prepare_depth
from fedkd.data.nw_ucla_files import (
    ACTIONS,
    JOINTS,
    PUBLISHED_AT,
    PUBLISHED_CLIPS,
    SUBJECTS,
    VIEWS,
    Recording,
    folder_of,
    read_folder,
    repeats,
)
from fedkd.data.nw_ucla_rgb import colour_store, film_faults, films, has_colours, prepare_rgb
from fedkd.data.release import (
    check_settings,
    event_id,
    filmed,
    labelled,
    mask,
    prepared,
    refuse_broken,
    refuse_same_id,
    remark_thin,
    require_view,
    rows,
)
from fedkd.data.skeleton import centred, facing, repaired, resample
from fedkd.data.store import Progress, Store
from fedkd.errors import UserError, remark
from fedkd.types import Clips, View

PROTOCOLS = ("by_subject", "cross_view", "new_camera", "new_camera_oracle")
NUM_FOLDS = 5
NUM_HISTORY = 4  # subjects that the old cameras labelled before the new one came
NEW_CAMERA = TEST_CAMERA = REPEATING = "v03"
ORIGINALS = "v02"  # whose clips REPEATING has again

Role = Literal["train", "history", "shared", "valid", "test"]

Pictures = Mapping[str, Mapping[str, np.ndarray]]
"""Stream, "rgb" or "depth" -> a clip's name -> its pictures."""


@dataclass(frozen=True)
class NwUcla:
    """The data set under one protocol.

    data_dir        holds nw_ucla/all_sqe; None: FEDKD_DATA. Never written to.
    fold            0..4, of by_subject and new_camera, unless test_subjects says who tests.
    views           the cameras that are there, some of v01, v02 and v03; in cross_view those that train.
    labels          share of the labels a view would have that it really has, in (0, 1]; drawn by each view for itself.
    frames          every clip is resampled to this length.
    rgb             every camera's host also has its colours, as "rgb" [N 16 S S 3], S = `side` pixels, which
                    `fedkd data prepare` makes of the authors' archives (`fedkd.data.nw_ucla_rgb`); clips without are
                    left out.
    depth           and its depth pictures, as "depth" [N 16 48 48 1], from the authors' archive of pictures
                    (`fedkd.data.nw_ucla_depth`), in the same way.
    prepared_dir    where prepared clips lie; None: ~/.cache/fedkd.
    test_subjects   in place of the fold's; then there is no validation subject.
    history         new_camera: the labelled subjects, in place of the first four training subjects.
    """

    data_dir: str | None = None
    protocol: str = "by_subject"
    fold: int = 0
    views: Sequence[str] = VIEWS
    labels: float = 1.0
    duplicates: str = "drop"
    frames: int = 32
    rgb: bool = False
    depth: bool = False
    side: int = 112
    prepared_dir: str | None = None
    test_subjects: Sequence[int] | None = None
    history: Sequence[int] | None = None

    name: ClassVar[str] = "nw_ucla"
    classes: ClassVar[tuple[str, ...]] = tuple(ACTIONS.values())

    def __post_init__(self) -> None:
        check_settings(self.name, self.protocol, PROTOCOLS, self.labels, self.frames)
        if self.duplicates not in ("drop", "keep"):
            raise UserError(f"nw_ucla duplicates must be drop or keep, got {self.duplicates!r}.")
        if not set(self.views) <= set(VIEWS) or not self.view_names():
            raise UserError(f"nw_ucla {self.protocol} takes views of {', '.join(VIEWS)}, got {list(self.views)}.")
        if self.protocol.startswith("new_camera") and NEW_CAMERA not in self.views:
            raise UserError(f"nw_ucla {self.protocol} is about {NEW_CAMERA}, got the views {list(self.views)}.")
        self.roles()

    def roles(self) -> dict[int, Role]:
        """What each subject's clips are for; every split follows from this table."""
        return subject_roles(self.protocol, self.fold, self.test_subjects, self.history)

    def view_names(self) -> tuple[str, ...]:
        """The clients, in name order."""
        absent = TEST_CAMERA if self.protocol == "cross_view" else None
        return tuple(view for view in VIEWS if view in self.views and view != absent)

    def view(self, name: str, seed: int) -> View:
        """One camera's clips, with the labels it has. `seed` draws those when `labels` < 1."""
        require_view(f"{self.name} {self.protocol}", self.view_names(), name)
        roles = self.roles()
        recordings, pictures = self._recorded({name, self._tests(name)})
        training = {v: [r for r in recordings if r.view == v and _trains_on(v, roles[r.subject])] for v in VIEWS}
        cross = self.protocol == "cross_view"
        judged = [r for r in recordings if r.view == self._tests(name)]
        others = {r.event for v in self.view_names() if v != name for r in training[v]}
        tested = [r for r in judged if cross or roles[r.subject] == "test"]
        view = View(
            name=name,
            classes=self.classes,
            train=self._clips(training[name], pictures),
            shared=mask(r.event in others and roles[r.subject] != "history" for r in training[name]),
            valid=self._clips([r for r in judged if roles[r.subject] == "valid"], pictures),
            test=self._clips(tested, pictures),
        )
        told = self.protocol == "new_camera_oracle" and name == NEW_CAMERA
        may_know = mask(told or roles[r.subject] != "shared" for r in training[name])
        exchanges = len(self.view_names()) > 1
        if self.duplicates == "keep":
            _remark_repeated(recordings, tested, [r for v in self.view_names() for r in training[v]])
        return labelled(view, share=self.labels, seed=seed, may_know=may_know, exchanges=exchanges, across_views=cross)

    def prepare(self, progress: Progress) -> list[Broken]:
        """Make the colour and depth clips that are not there yet; the films that hold none."""
        folder = folder_of(self.data_dir).parent
        deep = depth_there(folder)
        broken = prepare_rgb(folder, self.prepared_dir, self.side, progress) if has_colours(folder) or not deep else []
        return broken + (prepare_depth(folder, self.prepared_dir, progress) if deep else [])

    def _needed(self) -> list[str]:
        """The cameras without whose clips nothing can be made: those asked for, and who tells v03's repeated clips."""
        needed = {tested for view in self.view_names() for tested in (view, self._tests(view))}
        originals = {ORIGINALS} if self.duplicates == "drop" and REPEATING in needed else set()
        return sorted(needed | originals)

    def _tests(self, view: str) -> str:
        """The camera whose clips examine a view."""
        return TEST_CAMERA if self.protocol == "cross_view" else view

    def _recorded(self, views: Collection[str]) -> tuple[list[Recording], Pictures]:
        """The clips by event id, and what pictures are asked for; of these only those of `views` are looked at."""
        folder = folder_of(self.data_dir)
        recordings = usable(folder, self.duplicates, self._needed())
        taken = [r.name for r in recordings if r.view in views]
        found = {"rgb": films} if self.rgb else {}
        if self.depth:
            found["depth"] = depth_films
        pictures = {
            stream: prepared(self.name, self._store(stream), sources(folder.parent), taken)
            for stream, sources in found.items()
        }
        clips = {r.name: r for r in recordings}
        for stream, there in pictures.items():
            clips = filmed(self.name, clips, there, stream)
        return list(clips.values()), pictures

    def _store(self, stream: str) -> Store:
        """Where the prepared clips of "rgb" or "depth" lie."""
        return depth_store(self.prepared_dir) if stream == "depth" else colour_store(self.prepared_dir, self.side)

    def _clips(self, recordings: Sequence[Recording], pictures: Pictures) -> Clips:
        """Prepared clips of one view, with the pictures that are asked for."""
        clips, names = clips_of(recordings, self.frames), [r.name for r in recordings]
        seen = {stream: rows(self._store(stream), there, names) for stream, there in pictures.items()}
        return replace(clips, streams={**clips.streams, **seen})

    def lab(self) -> None:
        """No recordings of other people for a teacher to learn from: it learns from what the views label."""

    def subjects(self) -> dict[int, int]:
        """event id -> subject, for whoever studies results; nobody in a federation knows it."""
        return {_id(r.event): r.subject for r in usable(folder_of(self.data_dir), self.duplicates, self._needed())}

    def check(self) -> DataReport:
        """What is in the folder, whatever the protocol; of pictures what the last `prepare` found."""
        folder = folder_of(self.data_dir)
        recordings, broken = read_folder(folder)
        films, unread, waiting = film_faults(folder.parent, self.prepared_dir, self.side)
        deep, undeep, waiting_deep = depth_faults(folder.parent, self.prepared_dir)
        ordered = sorted(recordings, key=lambda r: (r.label, r.subject))
        return DataReport(
            dataset=self.name,
            source=str(folder),
            views=VIEWS,
            clips=[ClipFact(r.view, r.event, self.classes[r.label], f"s{r.subject:02}") for r in ordered],
            expected=PUBLISHED_CLIPS,
            copies=repeats(recordings),
            broken=broken,
            beside={"rgb": (films, len(recordings)), "depth": (deep, len(recordings))},
            pictures=[*unread, *undeep],
            notes=[*_notes(recordings), *waiting, *waiting_deep],
        )


def subject_roles(
    protocol: str, fold: int = 0, test_subjects: Sequence[int] | None = None, history: Sequence[int] | None = None
) -> dict[int, Role]:
    """{subject: what the clips of this person are for}."""
    chosen = [*(test_subjects or ()), *(history or ())]
    if protocol == "cross_view":
        if fold or chosen:
            raise UserError("nw_ucla cross_view has one split over views: leave fold, test_subjects and history out.")
        return dict.fromkeys(SUBJECTS, "train")
    if not set(chosen) <= set(SUBJECTS) or len(set(chosen)) < len(chosen):
        raise UserError(f"nw_ucla test_subjects and history are different subjects of 1..10, got {chosen}.")
    if not 0 <= fold < NUM_FOLDS:
        raise UserError(f"nw_ucla has the folds 0..{NUM_FOLDS - 1}, got {fold}.")
    if fold and test_subjects:
        raise UserError(
            f"nw_ucla test_subjects stand in place of a fold's, got {list(test_subjects)} and fold {fold}; leave fold "
            "out, or set data.test_subjects=null (of new_camera data.history=null too)."
        )
    if history and protocol == "by_subject":
        raise UserError("nw_ucla history belongs to new_camera; by_subject labels every training subject.")
    test = tuple(test_subjects or (2 * fold + 1, 2 * fold + 2))
    valid = () if test_subjects else (test[-1] % len(SUBJECTS) + 1,)
    train = [s for s in SUBJECTS if s not in test + valid]
    roles: dict[int, Role] = {**dict.fromkeys(test, "test"), **dict.fromkeys(valid, "valid")}
    if protocol == "by_subject":
        return roles | dict.fromkeys(train, "train")
    labelled = [s for s in train if s in history] if history else train[:NUM_HISTORY]
    return roles | {s: "history" if s in labelled else "shared" for s in train}


def usable(folder: Path, duplicates: str, views: Sequence[str]) -> list[Recording]:
    """The folder's clips by event id; one that is broken or lacks one of `views` is refused, a thin one named."""
    recordings, broken = read_folder(folder)
    refuse_broken("nw_ucla", folder, broken)
    absent = [view for view in views if all(r.view != view for r in recordings)]
    if absent:
        raise UserError(
            f"nw_ucla: {folder} has no clip of {', '.join(absent)}, which this run needs; copy the whole data set "
            f"({PUBLISHED_AT}) or choose data.views."
        )
    remark_thin("nw_ucla", len(recordings), PUBLISHED_CLIPS, "clips", folder)
    refuse_same_id("nw_ucla", (r.event for r in recordings))
    left_out = repeats(recordings) if duplicates == "drop" else {}
    return sorted((r for r in recordings if r.name not in left_out), key=lambda r: _id(r.event))


def clips_of(recordings: Sequence[Recording], frames: int) -> Clips:
    """Prepared clips of one view, given by event id; of no recordings, no clips of the same shape."""
    skeletons = [torch.empty(0, frames, JOINTS, 3)]
    poses = [torch.empty(0, frames, JOINTS, 3)]
    for recording in recordings:
        joints = repaired(recording.joints)
        skeletons.append(resample(centred(facing(joints)), frames)[None])
        poses.append(resample(centred(joints, measured_on=2), frames)[None])
    solid = torch.cat(poses)
    return Clips(
        ids=torch.tensor([_id(r.event) for r in recordings], dtype=torch.int64),
        labels=torch.tensor([r.label for r in recordings], dtype=torch.int64),
        streams={"skeleton": torch.cat(skeletons), "pose2d": solid[..., :2].contiguous(), "pose3d": solid},
    )


def _trains_on(view: str, role: Role) -> bool:
    """The new camera was not there yet when the history was filmed."""
    return role in ("train", "shared") or (role == "history" and view != NEW_CAMERA)


def _remark_repeated(
    recordings: Sequence[Recording], tested: Sequence[Recording], trained: Sequence[Recording]
) -> None:
    """Say how many test clips are training clips of some view, under another name."""
    original = {r.name: r.name for r in recordings} | repeats(recordings)
    learned = {original[r.name] for r in trained}
    if known := sum(original[r.name] in learned for r in tested):
        remark(f"nw_ucla: {known} of {len(tested)} test clips repeat training clips; duplicates=drop leaves them out")


def _id(event: str) -> int:
    return event_id("nw_ucla", event)


def _notes(recordings: Sequence[Recording]) -> list[str]:
    """Odd clips that stay."""
    single = sorted({r.event for r in recordings if len(r.joints) == 1})
    lost = [r.name for r in recordings if (r.joints == 0).all(-1).any()]
    notes = [f"{event}: one frame, repeated" for event in single]
    return notes + [f"{name}: untracked joints, taken from the frames around" for name in lost]
