"""NTU RGB+D 60 and 120: three Kinects v2 film people doing 60 or 120 actions; each camera is one view.

    data = NtuRgbd(data_dir="../shared/data", protocol="x_sub")     # after `fedkd data prepare ntu_rgbd`
    data.view("v01", seed=0).train.streams["skeleton"].shape       # [about 13,350, 64, 25, 3]

Views v01..v03 are the cameras C001..C003; an event is a performance: setup, performer, replication, action. Streams:
"skeleton" [N F 25 3], the body that moves most (`fedkd.data.ntu_rgbd_files.main_body`), turned to face the camera, in
torsos about the clip's mean hip centre; and, where asked for, "rgb" uint8 [N 16 S S 3] (`fedkd.data.ntu_rgbd_rgb`): at
the default size 11 GB of memory a camera, with `side=56` a quarter. The field's own files also hold the second person
of the mutual actions (11 of 60, 26 of 120); the nets here take one body, so figures on those classes are below the
literature's.

Protocols, as published, with train and test clips before the authors' list of missing skeletons is left out
  x_sub    Subjects apart: 20 of 40 train (40,320 and 16,560 clips), or 53 of 106 in 120. Every camera is a client,
           is tested on its own clips, and exchanges on training events only (inductive). The literature's is the same
           split with the cameras pooled: strategy=central. With `valid`, the last of the training subjects validate.
  x_view   60 only: v02 and v03 train (37,920 clips), v01 tests (18,960); the test split of both clients is v01's clips.
           Test clips are the *same performances by the same people* as training clips: transductive, as N-UCLA's
           cross_view, and not comparable with x_sub.
  x_set    120 only: even setups train, odd ones test. The same people may be on both sides, in other rooms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.data.check import Broken, ClipFact, DataReport
from fedkd.data.ntu_rgbd_files import (
    ACTIONS,
    FOLDERS,
    JOINTS,
    PUBLISHED_CLIPS,
    TRAINING_SUBJECTS,
    VIEWS,
    Entry,
    Name,
    files_of,
    in_both_folders,
    name_of,
    read_file,
    usable,
)
from fedkd.data.ntu_rgbd_npz import npz_of, rows_of
from fedkd.data.ntu_rgbd_pyskl import annotations_of, pickle_of
from fedkd.data.ntu_rgbd_rgb import SUFFIX, colour_store, prepare_rgb, video_faults, videos_of
from fedkd.data.release import (
    check_settings,
    damaged,
    filmed,
    labelled,
    mask,
    prepared,
    remark_thin,
    require_view,
    rows,
)
from fedkd.data.skeleton import centred, facing, repaired, resample
from fedkd.data.store import Progress, Store, place
from fedkd.errors import UserError
from fedkd.types import Clips, View

PROTOCOLS = {60: ("x_sub", "x_view"), 120: ("x_sub", "x_set")}
"""Number of classes -> its protocols."""

TEST_CAMERA = "v01"

IN_ONE_FILE: dict[str, tuple[Callable[[str | None, int], Path], Callable[[Path], list[Entry]]]] = {
    "pyskl": (pickle_of, annotations_of),
    "npz": (npz_of, rows_of),
}
"""source -> where its file lies, and the clips in it."""

Role = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class NtuRgbd:
    """The data set under one protocol.

    data_dir  holds ntu_rgbd; None: FEDKD_DATA. Never written to.
    source    of the skeletons. "skeletons": the release's own nturgb+d_skeletons; "pyskl": the pickles of
              `fedkd.data.ntu_rgbd_pyskl`; "npz": CTR-GCN's, `fedkd.data.ntu_rgbd_npz`.
    num_classes   60: NTU RGB+D, setups 1-17; 120: NTU RGB+D 120, all of them.
    valid     x_sub: share of the training subjects, the last by number, who validate instead, in [0, 1).
    prepared_dir  where prepared clips lie; None: ~/.cache/fedkd.
    labels    share of its training labels that each view has, in (0, 1]; drawn by each view for itself.
    frames    every clip is resampled to this length; the field's is 64.
    rgb       every camera's host also has its colours, of S = `side` pixels; clips without are left out.
    """

    data_dir: str | None = None
    protocol: str = "x_sub"
    num_classes: int = 60
    source: str = "skeletons"
    valid: float = 0.0
    prepared_dir: str | None = None
    labels: float = 1.0
    frames: int = 64
    rgb: bool = False
    side: int = 112

    name: ClassVar[str] = "ntu_rgbd"

    def __post_init__(self) -> None:
        if self.num_classes not in PROTOCOLS:
            raise UserError(f"ntu_rgbd has 60 or 120 classes, got num_classes={self.num_classes}.")
        dataset = f"ntu_rgbd with {self.num_classes} classes"
        check_settings(dataset, self.protocol, PROTOCOLS[self.num_classes], self.labels, self.frames)
        if self.source not in ("skeletons", *IN_ONE_FILE):
            raise UserError(f"ntu_rgbd has the sources skeletons, {', '.join(IN_ONE_FILE)}, got {self.source!r}.")
        if not 0 <= self.valid < 1 or (self.valid and self.protocol != "x_sub"):
            raise UserError(f"ntu_rgbd valid is a share of x_sub's training subjects in [0, 1), got {self.valid}.")

    @property
    def classes(self) -> tuple[str, ...]:
        """The first 60 actions, or all."""
        return ACTIONS[: self.num_classes]

    def view_names(self) -> tuple[str, ...]:
        """The clients, in name order."""
        return tuple(view for view in VIEWS if self.protocol != "x_view" or view != TEST_CAMERA)

    def view(self, name: str, seed: int) -> View:
        """One camera's clips, with the labels it has. `seed` draws those when `labels` < 1."""
        require_view(f"{self.name} {self.protocol}", self.view_names(), name)
        there, found = self._clips_there()
        judge = TEST_CAMERA if self.protocol == "x_view" else name
        taken = [stem for stem, n in found.items() if n.view in (name, judge)]
        clips, rgb = prepared(self.name, self._store(), there, taken), self._colours(taken)
        if self.rgb:
            found = filmed(self.name, found, rgb)

        def split(view: str, role: Role) -> Clips:
            stems = [stem for stem, n in found.items() if n.view == view and self._role(n) == role]
            return self._clips({stem: found[stem] for stem in sorted(stems, key=lambda s: found[s].event)}, clips, rgb)

        elsewhere = {n.event for n in found.values() if n.view in self.view_names() and n.view != name}
        train = split(name, "train")
        shared = mask(event in elsewhere for event in train.ids.tolist())
        view = View(name, self.classes, train, shared, split(name, "valid"), split(judge, "test"))
        return labelled(view, share=self.labels, seed=seed, across_views=self.protocol == "x_view")

    def lab(self) -> None:
        """No recordings of other people for a teacher to learn from."""

    def subjects(self) -> dict[int, int]:
        """event id -> subject, for whoever studies results; nobody in a federation knows it."""
        return {name.event: name.performer for name in self._clips_there()[1].values()}

    def check(self) -> DataReport:
        """What is in the folder, whatever the protocol; what is not prepared is read now, but for videos."""
        there, store = self._sources(), self._store()
        stale = set(store.out_of_date(there))
        unread = [clip for clip in there if clip.stem in stale]
        broken = [fault for clip in unread if isinstance(fault := self._read(clip), Broken)]
        broken += store.broken(clip for clip in there if clip.stem not in stale)
        broken += damaged(self.name, store, there, without=stale)
        names = sorted(self._named(there, {Path(fault.name).stem for fault in broken}).values(), key=lambda n: n.action)
        listed = len(files_of(self.data_dir)) - len(there) if self.source == "skeletons" else 0
        notes = [f"{listed} clips are on the authors' list of missing skeletons and left out"] if listed else []
        if self.source == "skeletons" and (twice := len(in_both_folders(self.data_dir))):
            notes.append(f"{twice} clips lie in both {' and '.join(FOLDERS)}, alike, and are taken once")
        if unread:
            notes.append(f"{len(unread)} of {len(there)} clips are not prepared: `fedkd data prepare ntu_rgbd`")
        num_videos, videos, waiting = video_faults(self._folder(), self.prepared_dir, self.side)
        return DataReport(
            dataset=f"{self.name}, {self.num_classes} classes",
            source=str(self._place()),
            views=VIEWS,
            clips=[ClipFact(n.view, str(n.event), self.classes[n.action - 1], f"s{n.performer:03}") for n in names],
            expected=PUBLISHED_CLIPS[self.num_classes],
            broken=broken,
            beside={"rgb": (num_videos, len(names))},
            pictures=videos,
            notes=[*notes, *waiting],
        )

    def prepare(self, progress: Progress) -> list[Broken]:
        """Make the clips that are not there yet, of all 120 classes, skeletons first; the files that hold none."""
        spoilt = self.source != "skeletons" and self._store().damaged()
        sources = IN_ONE_FILE[self.source][1](self._file()) if spoilt else self._sources()
        broken = self._store().prepare(sources, self._make, progress)
        return broken + prepare_rgb(self._folder(), self.prepared_dir, self.side, progress)

    def _store(self) -> Store:
        source = self.source if self.source == "skeletons" else self._file().stem
        folder = place(self.prepared_dir, f"ntu_rgbd_{source}_{self.frames}")
        return Store(folder, "main body, facing, in torsos, v1", (self.frames, JOINTS, 3), "float32")

    def _file(self) -> Path:
        return IN_ONE_FILE[self.source][0](self.data_dir, self.num_classes)

    def _place(self) -> Path:
        return files_of(self.data_dir)[0].parent if self.source == "skeletons" else self._file()

    def _folder(self) -> Path:
        return self._place().parent

    def _sources(self) -> Sequence[Path | Entry]:
        """Every clip there is; one file that was prepared whole and as it stands is not opened to list them."""
        if self.source == "skeletons":
            return usable(files_of(self.data_dir))
        store, file = self._store(), self._file()
        named = [Entry(stem, file) for stem in store.begun()]
        as_it_stands = named and not store.out_of_date(named) and not store.broken(named)
        return named if as_it_stands else IN_ONE_FILE[self.source][1](file)

    def _read(self, clip: Path | Entry) -> Float[Tensor, "T J 3"] | Broken:
        if isinstance(clip, Path):
            return read_file(clip)
        assert clip.read is not None
        return clip.read()

    def _make(self, clip: Path | Entry) -> np.ndarray | str:
        """A prepared clip, or what is wrong with it."""
        joints = self._read(clip)
        if isinstance(joints, Broken):
            return joints.reason
        return resample(centred(facing(repaired(joints))), self.frames).numpy()

    def _clips_there(self) -> tuple[Sequence[Path | Entry], dict[str, Name]]:
        """The usable clips, and what the names of those with the chosen classes say; a thin folder is named."""
        there = self._sources()
        names = self._named(there, set())
        remark_thin(self.name, len(names), PUBLISHED_CLIPS[self.num_classes], "clips", self._place())
        return there, names

    def _colours(self, taken: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Prepared colours by their clips' names, where they are asked for."""
        if not self.rgb:
            return {}
        store, names = colour_store(self.prepared_dir, self.side), [stem + SUFFIX for stem in taken]
        videos = prepared(self.name, store, videos_of(self.data_dir), names)
        return {video.removesuffix(SUFFIX): colours for video, colours in videos.items()}

    def _named(self, there: Sequence[Path | Entry], without: set[str]) -> dict[str, Name]:
        """What the names of the clips with the chosen classes say."""
        named = ((clip.stem, name_of(clip.stem)) for clip in there if clip.stem not in without)
        return {stem: name for stem, name in named if name is not None and name.action <= self.num_classes}

    def _role(self, name: Name) -> Role:
        """What a clip is for; of x_view, its training cameras have no test clips, and its test camera no others."""
        if self.protocol == "x_view":
            return "test" if name.view == TEST_CAMERA else "train"
        if self.protocol == "x_set":
            return "test" if name.setup % 2 else "train"
        training = TRAINING_SUBJECTS[self.num_classes]
        if name.performer not in training:
            return "test"
        num_valid = max(1, round(self.valid * len(training))) if self.valid else 0
        return "valid" if name.performer in training[len(training) - num_valid :] else "train"

    def _clips(
        self, named: Mapping[str, Name], clips: Mapping[str, np.ndarray], rgb: Mapping[str, np.ndarray]
    ) -> Clips:
        """Prepared clips given by event id, with their colours where asked for; of none, none of the same shape."""
        skeletons = Clips(
            ids=torch.tensor([name.event for name in named.values()], dtype=torch.int64),
            labels=torch.tensor([name.action - 1 for name in named.values()], dtype=torch.int64),
            streams={"skeleton": rows(self._store(), clips, list(named))},
        )
        if not self.rgb:
            return skeletons
        colours = rows(colour_store(self.prepared_dir, self.side), rgb, list(named))
        return replace(skeletons, streams={**skeletons.streams, "rgb": colours})
