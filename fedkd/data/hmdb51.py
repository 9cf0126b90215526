"""HMDB51: 51 actions in films and web videos, for a visual student by itself.

    data = Hmdb51(data_dir="../shared/data", protocol="split1")
    data.view("camera", seed=0).train.streams["rgb"].shape          # [3570, 16, 112, 112, 3]

One view, "camera": every clip was filmed once, so there is no second view to exchange with, and strategies that
exchange have nothing to say here. Stream: "rgb" uint8 [N F S S 3], prepared by `fedkd data prepare hmdb51`; at the
default size a split takes 3.1 GB of memory, with `side=56` a quarter. Files and lists: `fedkd.data.hmdb51_files`.

Protocols: split1, split2, split3, the authors'; 70 clips a class train, 30 test, none validates. Report their mean.
A file that a list has on both sides is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import UInt8

from fedkd.data.check import Broken, ClipFact, DataReport
from fedkd.data.hmdb51_files import (
    ACTIONS,
    PUBLISHED_CLIPS,
    SPLITS,
    Recording,
    folder_of,
    named,
    read_folder,
    read_split,
    sources_on_both_sides,
    strays,
)
from fedkd.data.release import (
    as_prepared,
    check_settings,
    event_id,
    labelled,
    mask,
    prepared,
    refuse_broken,
    refuse_same_id,
    remark_thin,
    require_view,
    rows,
)
from fedkd.data.store import Progress, Store
from fedkd.data.video import rgb_store, sampled
from fedkd.errors import UserError, remark
from fedkd.types import Clips, View

VIEW = "camera"


@dataclass(frozen=True)
class Hmdb51:
    """The data set under one protocol.

    data_dir  holds hmdb51; None: FEDKD_DATA. Never written to.
    prepared_dir  where prepared clips lie; None: ~/.cache/fedkd.
    labels    share of its training labels that the view has, in (0, 1].
    frames    the middle frames of so many equal segments of a video.
    side      pixels of the centre square, after shrinking.
    """

    data_dir: str | None = None
    protocol: str = "split1"
    prepared_dir: str | None = None
    labels: float = 1.0
    frames: int = 16
    side: int = 112

    name: ClassVar[str] = "hmdb51"
    classes: ClassVar[tuple[str, ...]] = tuple(action.replace("_", " ") for action in ACTIONS)

    def __post_init__(self) -> None:
        check_settings(self.name, self.protocol, SPLITS, self.labels, self.frames)

    def view_names(self) -> tuple[str, ...]:
        """The one client."""
        return (VIEW,)

    def view(self, name: str, seed: int) -> View:
        """All clips of the split, with the labels it has. `seed` draws those when `labels` < 1."""
        require_view(self.name, self.view_names(), name)
        folder = folder_of(self.data_dir)
        split = usable(folder, self.protocol)
        taken = [r.event for part in split.values() for r in part]
        found = prepared(self.name, self._store(), [r.path for r in read_folder(folder)], taken)
        train, valid, test = (self._clips(split[part], found) for part in ("train", "valid", "test"))
        view = View(name, self.classes, train, mask(False for _ in split["train"]), valid, test)
        return labelled(view, share=self.labels, seed=seed, exchanges=False)

    def lab(self) -> None:
        """No recordings of other people for a teacher to learn from."""

    def subjects(self) -> dict[int, int]:
        """event id -> the number of its film or upload, within which clips are alike: who is filmed is not told."""
        recordings = read_folder(folder_of(self.data_dir))
        numbers = {source: number for number, source in enumerate(sorted({r.source for r in recordings}))}
        return {_id(r): numbers[r.source] for r in recordings}

    def check(self) -> DataReport:
        """What is in the folder, whatever the protocol; videos that `prepare` could not read are broken."""
        folder = folder_of(self.data_dir)
        recordings = read_folder(folder)
        broken, waiting = as_prepared(self.name, [(self._store(), [r.path for r in recordings])], "clips")
        lists: list[Broken] = []
        notes = []
        for split in SPLITS:
            roles, faults = read_split(folder, split)
            lists += [fault for fault in faults if fault not in lists]
            absent = len({event for event, role in roles.items() if role != "unused"} - {r.event for r in recordings})
            both = len(sources_on_both_sides(recordings, roles))
            unlisted = sum(r.event not in roles for r in recordings)
            notes += [f"{split}: {unlisted} videos are in no list"] if unlisted else []
            notes += [f"{split}: {absent} listed clips are missing, {both} films or uploads are on both sides"]
        lost = {fault.name for fault in broken}
        facts = [ClipFact(VIEW, r.event, self.classes[r.label], "not told") for r in recordings if r.event not in lost]
        return DataReport(
            self.name,
            str(folder),
            (VIEW,),
            facts,
            PUBLISHED_CLIPS,
            broken=[*strays(folder), *broken],
            lists=lists,
            notes=[*notes, *waiting],
        )

    def prepare(self, progress: Progress) -> list[Broken]:
        """Make the clips that are not there yet; the files that hold none."""
        folder = folder_of(self.data_dir)
        files = [r.path for r in read_folder(folder)]
        if not files:
            raise UserError(
                f"hmdb51 finds videos in {folder}/{strays(folder)[0].name}, and none in a folder of one of its 51 "
                f"classes, such as {folder}/{ACTIONS[0]}/*.avi: unpack the classes' archives there."
            )
        return self._store().prepare(files, partial(sampled, frames=self.frames, side=self.side), progress)

    def _store(self) -> Store:
        return rgb_store(self.name, self.prepared_dir, self.frames, self.side, named)

    def _clips(self, recordings: Sequence[Recording], found: Mapping[str, UInt8[np.ndarray, "F S S 3"]]) -> Clips:
        """The recordings' clips by event id."""
        ordered = sorted(recordings, key=_id)
        return Clips(
            ids=torch.tensor([_id(r) for r in ordered], dtype=torch.int64),
            labels=torch.tensor([r.label for r in ordered], dtype=torch.int64),
            streams={"rgb": rows(self._store(), found, [r.event for r in ordered])},
        )


def usable(folder: Path, split: str) -> dict[str, list[Recording]]:
    """The videos of each part of a split; faulty lists are refused, videos that are missing or in no part named."""
    roles, broken = read_split(folder, split)
    refuse_broken("hmdb51", folder, broken)
    recordings = read_folder(folder)
    refuse_same_id("hmdb51", (r.event for r in recordings))
    parts = {part: [r for r in recordings if roles.get(r.event) == part] for part in ("train", "valid", "test")}
    listed, there = sum(role != "unused" for role in roles.values()), sum(map(len, parts.values()))
    if unlisted := sum(r.event not in roles for r in recordings):
        remark(f"hmdb51: {unlisted} of {len(recordings)} videos of {folder} are in no list of {split} and left out")
    if astray := strays(folder):
        remark(f"hmdb51: {len(astray)} folders of {folder} are no class and left out, first {astray[0].name}")
    remark_thin("hmdb51", there, listed, f"clips of {split}", folder)
    return parts


def _id(recording: Recording) -> int:
    return event_id("hmdb51", recording.event)
