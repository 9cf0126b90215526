"""UTD-MHAD's depth pictures: 861 files of 240 x 320 x T, too slow to read for every run, so prepared once.

``aA_sS_tT_depth.mat`` holds ``d_depth`` [240 320 T], uint16, millimetres; the release has cut the background away (0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io
import torch

from fedkd.data.check import Broken
from fedkd.data.depth import small_clip
from fedkd.data.release import prepared
from fedkd.data.store import Progress, Store
from fedkd.data.utd_mhad_files import Recording, recording, who
from fedkd.errors import UserError

FRAMES, SIDE = 16, 48


def store(prepared_dir: str | None) -> Store:
    """Where the prepared depth clips lie."""
    root = prepared_dir or "~/.cache/fedkd"
    folder = Path(root).expanduser() / "utd_mhad_depth"
    return Store(folder, recipe="person's square, area mean, v1", shape=(FRAMES, SIDE, SIDE, 1), dtype="uint8")


def prepare_depth(folder: Path, prepared_dir: str | None, progress: Progress) -> list[Broken]:
    """Make the clips that are missing or out of date; the files that hold none."""
    return store(prepared_dir).prepare(_files(folder), _make, progress)


def depth_clips(folder: Path, prepared_dir: str | None) -> list[Recording]:
    """Every depth clip of the folder, prepared before."""
    clips = prepared("utd_mhad", store(prepared_dir), _files(folder))
    found = ((who(name, "depth"), clip) for name, clip in clips.items())
    return [recording(named, "depth", torch.from_numpy(np.array(clip))) for named, clip in found if named is not None]


def _files(folder: Path) -> list[Path]:
    paths = sorted((folder / "Depth").glob("*.mat"))
    if not paths:
        raise UserError(f"utd_mhad finds no .mat file in {folder / 'Depth'}: unpack the depth modality there.")
    return paths


def _make(path: Path) -> np.ndarray | str:
    """A file's prepared clip, or what is wrong with it."""
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
    return small_clip(depth, FRAMES, SIDE)
