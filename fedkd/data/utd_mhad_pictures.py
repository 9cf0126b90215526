"""UTD-MHAD's pictures, too slow to read for every run, so prepared once: 861 files of depth, and of colours.

``Depth/aA_sS_tT_depth.mat`` holds ``d_depth`` [240 320 T], uint16, millimetres; the release has cut the background
away (0). ``RGB/aA_sS_tT_color.avi`` is a video of 640 x 480; the release's four archives unpack to ``RGB-part1`` and so
on, which may stay.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import scipy.io
import torch

from fedkd.data.check import Broken
from fedkd.data.depth import small_clip
from fedkd.data.release import as_prepared, prepared, refuse_broken, remark_thin
from fedkd.data.store import Make, Progress, Store, place
from fedkd.data.utd_mhad_files import PICTURES, PUBLISHED_CLIPS, Recording, recording, told_apart, who
from fedkd.data.video import rgb_store, sampled
from fedkd.errors import UserError

FRAMES, DEPTH_SIDE = 16, 48
_NAMED = {"depth": "depth", "rgb": "color"}
"""modality -> what file names call it."""


def prepare_pictures(folder: Path, prepared_dir: str | None, side: int, progress: Progress) -> list[Broken]:
    """Make what is missing or out of date of the modalities that are there; the files that hold no clip."""
    there = _there(folder)
    if not there:
        raise UserError(
            f"utd_mhad finds no file {' or '.join(PICTURES.values())} in {folder}: unpack one of them there."
        )
    make: dict[str, Make] = {"depth": _depth, "rgb": partial(_rgb, side=side)}
    stores = {modality: _store(modality, prepared_dir, side) for modality in there}
    broken: list[Broken] = []
    for modality in there:
        files, repeated = _files(folder, modality)
        broken += [*stores[modality].prepare(files, make[modality], progress), *repeated]
    return broken


def picture_faults(folder: Path, prepared_dir: str | None, side: int) -> tuple[list[Broken], list[str]]:
    """Files that repeat others or that `prepare` could not read, a note on those it has not read; none is opened."""
    found = {modality: _files(folder, modality) for modality in _there(folder)}
    kept = [(_store(modality, prepared_dir, side), files) for modality, (files, _) in found.items()]
    broken, waiting = as_prepared("utd_mhad", kept, "picture files")
    return [*broken, *(fault for _, repeated in found.values() for fault in repeated)], waiting


def pictures_there(folder: Path) -> dict[str, tuple[int, int]]:
    """{modality: files in the folder, files published}."""
    return {modality: (len([*folder.glob(files)]), PUBLISHED_CLIPS) for modality, files in PICTURES.items()}


def picture_recordings(folder: Path, modality: str, prepared_dir: str | None, side: int) -> list[Recording]:
    """Every clip of the folder's "depth" or "rgb", prepared before."""
    files, repeated = _files(folder, modality)
    refuse_broken("utd_mhad", folder, repeated)
    clips = prepared("utd_mhad", _store(modality, prepared_dir, side), files)
    found = ((who(name, _NAMED[modality]), clip) for name, clip in clips.items())
    remark_thin("utd_mhad", len(clips), PUBLISHED_CLIPS, f"{modality} clips", folder)
    return [recording(named, modality, torch.from_numpy(np.array(clip))) for named, clip in found if named is not None]


def _there(folder: Path) -> list[str]:
    """The modalities of which the folder has files."""
    return [modality for modality in PICTURES if any(folder.glob(PICTURES[modality]))]


def _store(modality: str, prepared_dir: str | None, side: int) -> Store:
    """Where the prepared clips lie; `side` is that of "rgb"."""
    if modality == "rgb":
        return rgb_store("utd_mhad", prepared_dir, FRAMES, side)
    shape = (FRAMES, DEPTH_SIDE, DEPTH_SIDE, 1)
    return Store(place(prepared_dir, "utd_mhad_depth"), "person's square, area mean, v1", shape)


def _files(folder: Path, modality: str) -> tuple[list[Path], list[Broken]]:
    """The modality's files, one an event, and those that repeat the event of another."""
    files = sorted(folder.glob(PICTURES[modality]))
    if not files:
        raise UserError(f"utd_mhad finds no file {folder / PICTURES[modality]}: unpack the {modality} modality there.")
    return told_apart(files, _NAMED[modality])


def _rgb(path: Path, side: int) -> np.ndarray | str:
    """A video's clip, or what is wrong with it."""
    if who(path.stem, "color") is None:
        return "its name is not aA_sS_tT_color.avi with A in 1-27, S in 1-8 and T in 1-4"
    return sampled(path, FRAMES, side)


def _depth(path: Path) -> np.ndarray | str:
    """A depth file's clip, or what is wrong with it."""
    if who(path.stem, "depth") is None:
        return "its name is not aA_sS_tT_depth.mat with A in 1-27, S in 1-8 and T in 1-4"
    try:
        depth = scipy.io.loadmat(path, variable_names=["d_depth"]).get("d_depth")
    except Exception as error:  # a damaged file fails wherever its bytes lead the reader: zlib, struct, index, ...
        return f"it is no whole MATLAB 5 file, truncated or damaged: {error}"
    if depth is None:
        return "it lacks the variable d_depth"
    if depth.ndim != 3 or depth.dtype != np.uint16 or 0 in depth.shape:
        return f"d_depth is {' x '.join(map(str, depth.shape))} of {depth.dtype}, not H x W x T of uint16"
    clip = small_clip(depth, FRAMES, DEPTH_SIDE)
    return clip if clip.any() else "d_depth is 0 wherever it is looked at: nothing was measured"
