"""MMAct: four cameras, a phone and a watch observe twenty people, 37 actions.

    data = MMAct(data_dir="../shared/data", protocol="cross_subject")
    data.view("cam1", seed=0).train.streams["rgb"].shape          # [N, 8, 112, 112, 3]

Views cam1..cam4 have "rgb" uint8 [N 8 S S 3]; "phone" has "imu" [N F 4 3] (acceleration in g, turning in radians a
second, and of its attitude what is up and where north is, of length 1: `fedkd.data.attitude`), "watch" has "imu"
[N F 1 3] (acceleration in g). These two differ in shape, so a strategy that averages nets or pools clips takes one of
them, or, with `together`, both as one view, "body", whose "imu" is [N F 5 3] in the order of `SENSORS`. Pooled
(`strategy=central`), it lies beside each camera's clip of the event: the paper's setting, in which a teacher that sees
the sensors guides a student that sees the video. `fedkd data prepare mmact` reads everything once: at the default size
some 11 GB on disk, of which a camera takes 2.8 GB of memory.
Files and faults: `fedkd.data.mmact_files`.

Protocols (the paper's four; which subjects, cameras, scenes and sessions they are is told by public code only)
  cross_subject    subjects 1-16 train, 17-20 test.
  cross_subject_v  1-12 train, 13-15 validate, 17-20 test: as CMC-CMKM (https://github.com/razzu/cmc-cmkm), which leaves
                   16 out.
  cross_view       cam1 to cam3 train, cam4 tests: the test split of each client is cam4's clips. They are the *same
                   performances by the same people*, filmed from aside. A worn sensor is no client here.
  cross_scene      scenes 1, 3 and 4 train, 2 tests, where things hide the people: the same people on both sides.
                   [RECON] 2 as in CMC-CMKM, which trains on subjects 1-16 only and validates on 17-20 in 1, 3 and 4;
                   here all subjects train. The 2021 challenge's toolkit trains on 1-3 and validates on 4. Actions that
                   the scene lacks, such as those at the desk, are in no test.
  cross_session    sessions 1-4 train, 5 tests: the same people on both sides. [RECON] of the paper's first 80 % of each
                   subject's sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from fedkd.data.attitude import directed
from fedkd.data.check import Broken, ClipFact, DataReport
from fedkd.data.mmact_files import (
    ACTIONS,
    CAMERAS,
    PUBLISHED_AT,
    SAMPLES,
    SENSORS,
    Recording,
    attitude,
    folder_of,
    named,
    read_folder,
    reading,
)
from fedkd.data.release import (
    as_prepared,
    check_settings,
    clips_of,
    event_id,
    first,
    labelled,
    mask,
    prepared,
    recorded_by_all,
    refuse_broken,
    refuse_same_id,
    require_view,
    rows,
)
from fedkd.data.skeleton import resample
from fedkd.data.store import Make, Progress, Store, place
from fedkd.data.video import rgb_store, sampled
from fedkd.errors import UserError, remark
from fedkd.types import Clips, View

WORN = {"phone": ("acc_phone_clip", "gyro_clip", "orientation_clip"), "watch": ("acc_watch_clip",)}
BODY = "body"
VIEWS = (*CAMERAS, *WORN)
TEST_CAMERA = "cam4"
FRAMES = 8
ATTITUDE = "orientation_clip"
UNITS = {"acc_phone_clip": 9.8, "acc_watch_clip": 9.8}
"""m/s^2 in a g, as the 2021 challenge's toolkit has it."""

SPLITS: dict[str, tuple[str, dict[str, Sequence[int]]]] = {
    "cross_subject": ("subject", {"train": range(1, 17), "valid": (), "test": range(17, 21)}),
    "cross_subject_v": ("subject", {"train": range(1, 13), "valid": (13, 14, 15), "test": range(17, 21)}),
    "cross_scene": ("scene", {"train": (1, 3, 4), "valid": (), "test": (2,)}),
    "cross_session": ("session", {"train": (1, 2, 3, 4), "valid": (), "test": (5,)}),
}
"""protocol -> what it splits by, and how."""

Event = Mapping[str, Recording]
"""A performance: source -> its recording."""

Found = Mapping[str, Mapping[str, Shaped[np.ndarray, "..."]]]


@dataclass(frozen=True)
class MMAct:
    """The data set under one protocol.

    data_dir  holds mmact/trimmed; None: FEDKD_DATA. Never written to.
    views     the clients: of cam1 to cam4, phone and watch.
    together  one view, "body", with all four worn sensors, in place of phone and watch.
    prepared_dir  where prepared clips lie; None: ~/.cache/fedkd.
    labels    share of its training labels that each view has, in (0, 1]; drawn by each view for itself.
    frames    every reading is resampled to this length.
    side      pixels of a picture's centre square, after shrinking.
    """

    data_dir: str | None = None
    protocol: str = "cross_subject"
    views: Sequence[str] = CAMERAS
    together: bool = False
    prepared_dir: str | None = None
    labels: float = 1.0
    frames: int = 96
    side: int = 112

    name: ClassVar[str] = "mmact"
    classes: ClassVar[tuple[str, ...]] = tuple(action.replace("_", " ") for action in ACTIONS)

    def __post_init__(self) -> None:
        check_settings(self.name, self.protocol, (*SPLITS, "cross_view"), self.labels, self.frames)
        if not self.views or not set(self.views) <= set(VIEWS):
            raise UserError(f"mmact has the views {', '.join(VIEWS)}, got {list(self.views)}.")
        if self.protocol == "cross_view" and (set(self.views) & set(WORN) or not self.view_names()):
            raise UserError(f"mmact cross_view has the views cam1, cam2, cam3 (cam4 tests), got {list(self.views)}.")

    def view_names(self) -> tuple[str, ...]:
        """The clients, in name order."""
        tests = {TEST_CAMERA} if self.protocol == "cross_view" else set()
        return tuple(sorted({BODY if self.together and view in WORN else view for view in self.views} - tests))

    def view(self, name: str, seed: int) -> View:
        """One view's clips, with the labels it has. `seed` draws those when `labels` < 1."""
        require_view(self.name, self.view_names(), name)
        recordings = usable(folder_of(self.data_dir))
        events = {view: self._events(view, recordings) for view in sorted({*self.view_names(), self._tests(name)})}
        split = {part: self._of(part, events[name]) for part in ("train", "valid")}
        split["test"] = self._of("test", events[self._tests(name)])
        elsewhere = {first(e).event for view in self.view_names() if view != name for e in events[view]}
        shared = mask(first(event).event in elsewhere for event in split["train"])
        found = self._prepared({*_sources(name), *_sources(self._tests(name))}, recordings)
        train, valid = (self._clips(name, split[part], found) for part in ("train", "valid"))
        test = self._clips(self._tests(name), split["test"], found)
        view = View(name, self.classes, train, shared, valid, test)
        exchanges, across = len(self.view_names()) > 1, self.protocol == "cross_view"
        return labelled(view, share=self.labels, seed=seed, exchanges=exchanges, across_views=across)

    def lab(self) -> None:
        """No recordings of other people for a teacher to learn from."""

    def subjects(self) -> dict[int, int]:
        """event id -> subject, for whoever studies results; nobody in a federation knows it."""
        return {event_id(self.name, r.event): r.subject for r in usable(folder_of(self.data_dir))}

    def check(self) -> DataReport:
        """What is in the folder, whatever the protocol; files that `prepare` could not read are broken."""
        folder = folder_of(self.data_dir)
        recordings, broken, empty = read_folder(folder)
        notes = [f"{name}: no byte, as published; its performance is left out of that sensor" for name in empty[:3]]
        if len(empty) > len(notes):
            notes.append(f"... and {len(empty) - len(notes)} more without a byte")
        kept = [(self._store(s), [r.path for r in recordings if r.source == s]) for s in (*CAMERAS, *SENSORS)]
        unread, waiting = as_prepared(self.name, kept)
        lost = {fault.name for fault in unread}
        whole = [r for r in recordings if named(r.path) not in lost]
        facts = [
            ClipFact(view, r.event, self.classes[r.label], f"s{r.subject:02}")
            for view in VIEWS
            for r in sorted(map(first, _by_all(view, whole)), key=lambda r: r.label)
        ]
        return DataReport(self.name, str(folder), VIEWS, facts, broken=[*broken, *unread], notes=[*notes, *waiting])

    def prepare(self, progress: Progress) -> list[Broken]:
        """Make the clips that are not there yet, of whatever source; the files that hold none."""
        recordings, broken, _ = read_folder(folder_of(self.data_dir))
        for source in (*CAMERAS, *SENSORS):
            make = _maker(source, self.side)
            paths = [r.path for r in recordings if r.source == source]
            if paths:
                broken += self._store(source).prepare(paths, make, progress)
        return broken

    def _store(self, source: str) -> Store:
        """Where a camera's or a sensor's prepared clips lie, each by itself: a host reads its own."""
        if source in CAMERAS:
            return rgb_store(f"mmact_{source}", self.prepared_dir, FRAMES, self.side, named)
        folder = place(self.prepared_dir, f"mmact_{source}")
        if source == ATTITUDE:
            return Store(folder, "up and north at even moments, v2", (SAMPLES, 2, 3), "float32", named)
        return Store(folder, "even moments, v2", (SAMPLES, 3), "float32", named)

    def _tests(self, view: str) -> str:
        """The view whose clips examine a view."""
        return TEST_CAMERA if self.protocol == "cross_view" else view

    def _events(self, view: str, recordings: Sequence[Recording]) -> Sequence[Event]:
        """The performances that all of a view's sources recorded, by id; a UserError where there is none."""
        there = {r.source for r in recordings}
        if absent := [source for source in _sources(view) if source not in there]:
            raise UserError(
                f"mmact finds no recording of {', '.join(absent)}, which {view}'s host needs: unpack it below "
                f"mmact/trimmed ({PUBLISHED_AT})."
            )
        return _by_all(view, recordings)

    def _of(self, part: str, events: Sequence[Event]) -> list[Event]:
        """A part of the protocol's split; by camera, a camera's clips are all in one part."""
        if self.protocol == "cross_view":
            return [] if part == "valid" else list(events)
        by, parts = SPLITS[self.protocol]
        return [event for event in events if getattr(first(event), by) in parts[part]]

    def _prepared(self, sources: Iterable[str], recordings: Sequence[Recording]) -> Found:
        """source -> a file's name -> its clip."""
        paths = {source: [r.path for r in recordings if r.source == source] for source in sources}
        return {source: prepared(self.name, self._store(source), of_one) for source, of_one in paths.items()}

    def _clips(self, view: str, events: Sequence[Event], found: Found) -> Clips:
        """Prepared clips of a view's events, given by id."""
        recorded = {
            source: rows(self._store(source), found[source], [named(event[source].path) for event in events])
            for source in _sources(view)
        }
        streams = {"rgb": recorded[view]} if view in CAMERAS else {"imu": _worn(recorded, self.frames)}
        return clips_of(self.name, events, streams)


def usable(folder: Path) -> list[Recording]:
    """The folder's recordings; files that are in no place are refused, those without a byte named."""
    recordings, broken, empty = read_folder(folder)
    refuse_broken("mmact", folder, broken)
    refuse_same_id("mmact", (r.event for r in recordings))
    if empty:
        remark(f"mmact: {len(empty)} sensor files of {folder} hold no byte, first {empty[0]}")
    return recordings


def _maker(source: str, side: int) -> Make:
    """How a file of this source is read."""
    if source in CAMERAS:
        return partial(sampled, frames=FRAMES, side=side)
    return attitude if source == ATTITUDE else reading


def _sources(view: str) -> tuple[str, ...]:
    """What a view is made of."""
    return SENSORS if view == BODY else WORN.get(view, (view,))


def _by_all(view: str, recordings: Sequence[Recording]) -> Sequence[Event]:
    """The performances that every source of a view recorded, by id."""
    by_source = {source: [r for r in recordings if r.source == source] for source in _sources(view)}
    return recorded_by_all("mmact", view, by_source)


def _worn(readings: Mapping[str, Float[Tensor, "N T *vectors 3"]], frames: int) -> Float[Tensor, "N F S 3"]:
    """Sensors side by side, resampled, in their units; a direction stays of length 1."""
    there = [_resampled(reading / UNITS.get(sensor, 1.0), frames) for sensor, reading in readings.items()]
    return torch.cat([_directed(r) if s == ATTITUDE else r for s, r in zip(readings, there, strict=True)], dim=2)


def _resampled(reading: Float[Tensor, "N T *vectors 3"], frames: int) -> Float[Tensor, "N F S 3"]:
    """A sensor's one or two vectors, for all clips at once."""
    values = reading.unsqueeze(-2).flatten(2, -2)  # N T S 3
    moments = resample(values.transpose(0, 1).flatten(1, 2), frames)  # F NS 3
    return moments.unflatten(1, (len(values), values.shape[2])).transpose(0, 1)


def _directed(vectors: Float[Tensor, "N F S 3"]) -> Float[Tensor, "N F S 3"]:
    return torch.from_numpy(directed(vectors.numpy()))
