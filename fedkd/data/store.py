"""A store of prepared clips: files that are slow to read are read once, and their clips lie in one memory-mapped array.

    store = Store(folder, recipe="48x48 depth, v1", shape=(16, 48, 48, 1))
    store.prepare(paths, make, progress)       # what is not there yet, or has changed since; may be stopped at any time
    store.clips()["a1_s1_t1_depth"]            # a view of the array, read from disk when looked at

`clips.npy` holds a row for each file; `index.json` says, for each row, the file's name, size and time, the
row's CRC-32, or why there is no clip in it. Nothing is pickled. The index is replaced at once, every few seconds: a
`prepare` that is killed goes on where it stood. While one is at work, no other may be. Where files come or go, the
clips of those that stay are copied, for which the array is there twice for a while. A store of another recipe is made
afresh.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from fedkd.data.check import Broken
from fedkd.errors import UserError
from fedkd.files import holding, write_whole

SAVE_SECONDS = 3.0


@runtime_checkable
class Source(Protocol):
    """Where a clip comes from: a file, or an entry of a larger one."""

    def stat(self) -> os.stat_result:
        """Size and time of the file."""


Progress = Callable[[Iterable[Any], int, "Store"], Iterable[Any]]
"""(sources, how many, the store that makes them) -> the same sources, while somebody shows how far it is."""

Make = Callable[[Any], "Shaped[np.ndarray, '...'] | str"]
"""source -> its clip, of the store's shape and dtype, or the reason why it holds none."""


def place(prepared_dir: str | None, name: str) -> Path:
    """Where the prepared clips of that name lie; None: below ~/.cache/fedkd."""
    return Path(prepared_dir or "~/.cache/fedkd").expanduser() / name


@dataclass(frozen=True)
class Store:
    """Where prepared clips lie, of what shape and type, and made by which recipe; `named` tells sources apart."""

    folder: Path
    recipe: str
    shape: tuple[int, ...]
    dtype: str = "uint8"
    named: Callable[[Any], str] = attrgetter("stem")

    def prepare(self, paths: Sequence[Source], make: Make, progress: Progress) -> list[Broken]:
        """Make what is missing, out of date or damaged, and try broken ones anew; the sources that hold none.

        A UserError where two sources have one name, where there is none, or where another process prepares these clips.
        """
        if not paths:
            raise UserError(f"{self.folder.name} is made of recordings, and none was found; look at data_dir=.")
        self._refuse_repeated(paths)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"prepared clips cannot lie in {self.folder}: {error.strerror}; set data.prepared_dir= to a folder "
                "that can be written."
            ) from None
        with holding(self.folder, f"another `prepare` is at work in {self.folder}; wait for it, or end it."):
            self._make(paths, make, progress)
        return self.broken(paths)

    def begun(self) -> list[str]:
        """Everything that the last `prepare` was to make, whether it came so far or not; nothing before one."""
        return list(self._index()["rows"])

    def names(self) -> list[str]:
        """Files whose clips are there; none before a `prepare`."""
        rows = self._index()["rows"]
        return [name for name, row in rows.items() if row["crc"] is not None]

    def out_of_date(self, paths: Iterable[Source]) -> list[str]:
        """Files that came, or changed, since they were last prepared."""
        rows = self._index()["rows"]
        return [self.named(path) for path in paths if not _fresh(rows.get(self.named(path)), path)]

    def clips(self) -> Mapping[str, Shaped[np.ndarray, "..."]]:
        """name -> clip, each a view of the memory-mapped array."""
        rows = self._index()["rows"]
        if not rows:
            return {}
        array = np.load(self.folder / "clips.npy", mmap_mode="r", allow_pickle=False)
        return {name: array[row["row"]] for name, row in rows.items() if row["crc"] is not None}

    def damaged(self, among: Iterable[str] | None = None) -> list[str]:
        """Files, of these or of all, whose clip no longer has the sum of what was written; others are not read."""
        rows, clips = self._index()["rows"], self.clips()
        looked_at = clips if among is None else [name for name in among if name in clips]
        return [name for name in looked_at if zlib.crc32(clips[name].tobytes()) != rows[name]["crc"]]

    def broken(self, paths: Iterable[Source]) -> list[Broken]:
        """Of these the files that held no clip when they were last prepared."""
        rows = self._index()["rows"]
        names = dict.fromkeys(map(self.named, paths))
        return [Broken(name, rows[name]["broken"]) for name in names if name in rows and rows[name]["broken"]]

    def _refuse_repeated(self, paths: Sequence[Source]) -> None:
        seen: dict[str, Source] = {}
        for path in paths:
            if (other := seen.setdefault(self.named(path), path)) is not path:
                raise UserError(
                    f"{other} and {path} are both {self.named(path)}, of which {self.folder.name} keeps one clip: "
                    "remove one of them."
                )

    def _make(self, paths: Sequence[Source], make: Make, progress: Progress) -> None:
        index = self._begin([self.named(path) for path in paths])
        rows, clips = index["rows"], np.lib.format.open_memmap(self.folder / "clips.npy", mode="r+")
        saved = time.monotonic()
        damaged = set(self.damaged())
        stale = [
            path
            for path in paths
            if (name := self.named(path)) in damaged or not _fresh(rows[name], path) or rows[name]["broken"]
        ]
        for path in progress(stale, len(stale), self):
            name, stamp = self.named(path), _stamp(path)  # before: what changes while it is read is read again
            clip = make(path)
            entry = rows[name] | {"stamp": stamp}
            if isinstance(clip, str):
                rows[name] = {**entry, "broken": clip, "crc": None}
            else:
                clips[entry["row"]] = clip
                rows[name] = {**entry, "broken": None, "crc": zlib.crc32(clip.tobytes())}
            if time.monotonic() - saved > SAVE_SECONDS:
                self._save(index, clips)
                saved = time.monotonic()
        self._save(index, clips)

    def _begin(self, names: Sequence[str]) -> dict[str, Any]:
        """The index as it stands; where other files are there, or none yet, a new one over the clips that stay."""
        index = self._index()
        if sorted(index["rows"]) == sorted(names):
            return index
        none = {"stamp": None, "broken": None, "crc": None}
        rows = {name: {**index["rows"].get(name, none), "row": row} for row, name in enumerate(names)}
        new = self.folder / "clips.npy.new"
        array = np.lib.format.open_memmap(new, mode="w+", dtype=self.dtype, shape=(len(names), *self.shape))
        for name, clip in self.clips().items():
            if name in rows:
                array[rows[name]["row"]] = clip
        array.flush()
        (self.folder / "index.json").unlink(missing_ok=True)  # before the array: killed here, nothing is believed
        os.replace(new, self.folder / "clips.npy")
        index = {"recipe": self.recipe, "shape": list(self.shape), "rows": rows}
        self._save(index, array)
        return index

    def _index(self) -> dict[str, Any]:
        try:
            index: dict[str, Any] = json.loads((self.folder / "index.json").read_bytes())
        except (OSError, ValueError):
            index = {}
        fits = index.get("recipe") == self.recipe and index.get("shape") == list(self.shape) and self._whole(index)
        return index if fits else {"recipe": self.recipe, "shape": list(self.shape), "rows": {}}

    def _whole(self, index: Mapping[str, Any]) -> bool:
        """Whether the array is there, with a row for each file of the index."""
        try:
            array = np.load(self.folder / "clips.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return False
        return array.shape == (len(index["rows"]), *self.shape) and array.dtype == self.dtype

    def _save(self, index: Mapping[str, Any], clips: np.memmap) -> None:
        clips.flush()
        write_whole(self.folder / "index.json", json.dumps(index).encode())


def _stamp(path: Source) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _fresh(row: Mapping[str, Any] | None, path: Source) -> bool:
    return row is not None and row["stamp"] == _stamp(path)
