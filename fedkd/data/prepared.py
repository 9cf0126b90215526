"""What a data set's slow files hold, prepared once by `fedkd data prepare` and read from then on.

films = videos("mine", paths, prepared_dir, frames=16, side=112)
films.prepare(progress)                     # the files that hold no clip
films.clips()["a1_s1_t1_color"]             # uint8 [16 112 112 3], or a sentence that says what to do first
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from fedkd.data.check import Broken
from fedkd.data.store import Make, Progress, Store
from fedkd.data.video import sampled
from fedkd.errors import UserError


@dataclass(frozen=True)
class Prepared:
    """The files of one modality, how a clip is made of one, and where the clips lie."""

    dataset: str
    modality: str
    files: Sequence[Path]
    make: Make
    store: Store

    def prepare(self, progress: Progress) -> list[Broken]:
        """Make the clips that are missing or out of date; the files that hold none."""
        return self.store.prepare(self.files, self.make, progress)

    def waiting(self) -> list[str]:
        """Files that were never prepared, or have changed since."""
        return self.store.out_of_date(self.files)

    def broken(self) -> list[Broken]:
        """Files that held no clip when they were prepared."""
        there = {self.store.named(path) for path in self.files}
        return [fault for fault in self.store.broken() if fault.name in there]

    def clips(self) -> Mapping[str, UInt8[np.ndarray, "F S S C"]]:
        """name -> clip, of every file; a UserError where one of them has none."""
        prepare = f"`fedkd data prepare {self.dataset}`"
        if waiting := self.waiting():
            raise UserError(
                f"{self.dataset}: {len(waiting)} {self.modality} clips are not prepared or have changed, first "
                f"{waiting[0]}; run {prepare} once."
            )
        if broken := self.broken():
            raise UserError(
                f"{self.dataset}: {len(broken)} {self.modality} files are broken, first {broken[0].name}: "
                f"{broken[0].reason}; copy them again and run {prepare}."
            )
        if damaged := self.store.damaged():
            raise UserError(
                f"{self.dataset}: {len(damaged)} prepared {self.modality} clips are damaged, first {damaged[0]}; "
                f"remove {self.store.folder} and run {prepare}."
            )
        found = self.store.clips()
        return {name: found[name] for name in map(self.store.named, self.files)}


def folder_of(prepared_dir: str | None, name: str) -> Path:
    """Where the prepared clips of that name lie; None: below ~/.cache/fedkd."""
    return Path(prepared_dir or "~/.cache/fedkd").expanduser() / name


def videos(
    dataset: str,
    files: Sequence[Path],
    prepared_dir: str | None,
    *,
    frames: int,
    side: int,
    make: Callable[..., UInt8[np.ndarray, "F S S 3"] | str] = sampled,
    named: Callable[[Path], str] = attrgetter("stem"),
) -> Prepared:
    """Colour clips, uint8 [frames side side 3], of files that `make(path, frames, side)` reads."""
    if frames < 1 or side < 8:
        raise UserError(f"{dataset} needs clips of 1 frame and 8 pixels at least, got {frames} and {side}.")
    recipe = "middles of segments, centre square, area mean, v1"
    kept = Store(folder_of(prepared_dir, f"{dataset}_rgb_{frames}x{side}"), recipe, (frames, side, side, 3), named)
    return Prepared(dataset, "rgb", files, partial(make, frames=frames, side=side), kept)
