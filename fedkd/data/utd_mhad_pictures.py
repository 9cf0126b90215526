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
from fedkd.data.release import as_prepared, prepared, remark_thin
from fedkd.data.store import Make, Progress, Store, place
from fedkd.data.utd_mhad_files import PUBLISHED_CLIPS, Recording, recording, who
from fedkd.data.video import rgb_store, sampled
from fedkd.errors import UserError

FRAMES, DEPTH_SIDE = 16, 48
_FILES = {"depth": "Depth/*.mat", "rgb": "RGB*/*.avi"}
"""modality -> its files."""

_NAMED = {"depth": "depth", "rgb": "color"}
"""modality -> what file names call it."""


def prepare_pictures(folder: Path, prepared_dir: str | None, side: int, progress: Progress) -> list[Broken]:
    """Make what is missing or out of date of the modalities that are there; the files that hold no clip."""
    there = _there(folder)
    if not there:
        raise UserError(f"utd_mhad finds no file {' or '.join(_FILES.values())} in {folder}: unpack one of them there.")
    make: dict[str, Make] = {"depth": _depth, "rgb": partial(_rgb, side=side)}
    stores = {modality: _store(modality, prepared_dir, side) for modality in there}
    found = [stores[modality].prepare(_files(folder, modality), make[modality], progress) for modality in there]
    return [broken for of_one in found for broken in of_one]


def picture_faults(folder: Path, prepared_dir: str | None, side: int) -> tuple[list[Broken], list[str]]:
    """Files that the last `prepare` could not read, and a note on those it has not read; none is opened."""
    kept = [(_store(modality, prepared_dir, side), _files(folder, modality)) for modality in _there(folder)]
    return as_prepared("utd_mhad", kept, "picture files")


def picture_recordings(folder: Path, modality: str, prepared_dir: str | None, side: int) -> list[Recording]:
    """Every clip of the folder's "depth" or "rgb", prepared before."""
    clips = prepared("utd_mhad", _store(modality, prepared_dir, side), _files(folder, modality))
    found = ((who(name, _NAMED[modality]), clip) for name, clip in clips.items())
    remark_thin("utd_mhad", len(clips), PUBLISHED_CLIPS, f"{modality} clips", folder)
    return [recording(named, modality, torch.from_numpy(np.array(clip))) for named, clip in found if named is not None]


def _there(folder: Path) -> list[str]:
    """The modalities of which the folder has files."""
    return [modality for modality in _FILES if any(folder.glob(_FILES[modality]))]


def _store(modality: str, prepared_dir: str | None, side: int) -> Store:
    """Where the prepared clips lie; `side` is that of "rgb"."""
    if modality == "rgb":
        return rgb_store("utd_mhad", prepared_dir, FRAMES, side)
    shape = (FRAMES, DEPTH_SIDE, DEPTH_SIDE, 1)
    return Store(place(prepared_dir, "utd_mhad_depth"), "person's square, area mean, v1", shape)


def _files(folder: Path, modality: str) -> list[Path]:
    files = list({path.stem: path for path in sorted(folder.glob(_FILES[modality]))}.values())
    if not files:
        raise UserError(f"utd_mhad finds no file {folder / _FILES[modality]}: unpack the {modality} modality there.")
    return files


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
    return small_clip(depth, FRAMES, DEPTH_SIDE)
