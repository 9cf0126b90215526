"""NTU RGB+D's colours: nturgb+d_rgb/SsssCcccPpppRrrrAaaa_rgb.avi, 1920 x 1080, 30 frames a second.

The archives of all 32 setups unpack to that one folder. Videos of clips whose skeletons are missing are left unread.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from fedkd.data.check import Broken
from fedkd.data.ntu_rgbd_files import PUBLISHED_AT, name_of
from fedkd.data.ntu_rgbd_missing import MISSING
from fedkd.data.release import as_prepared, release_folder
from fedkd.data.store import Progress, Store
from fedkd.data.video import rgb_store, sampled

FRAMES = 16
SUFFIX = "_rgb"
_FILES = "nturgb+d_rgb/*.avi"


def prepare_rgb(folder: Path, prepared_dir: str | None, side: int, progress: Progress) -> list[Broken]:
    """Make the clips that are missing or out of date; the videos that hold none. `folder` is ntu_rgbd."""
    videos = _there(folder)
    return colour_store(prepared_dir, side).prepare(videos, partial(_make, side=side), progress) if videos else []


def colour_store(prepared_dir: str | None, side: int) -> Store:
    """Where the prepared clips lie, by their files' names."""
    return rgb_store("ntu_rgbd", prepared_dir, FRAMES, side)


def videos_of(data_dir: str | None) -> list[Path]:
    """The videos in name order; where there are none, a sentence that says where to get them."""
    return _there(release_folder("ntu_rgbd", data_dir, (_FILES,), PUBLISHED_AT))


def video_faults(folder: Path, prepared_dir: str | None, side: int) -> tuple[int, list[Broken], list[str]]:
    """How many videos there are, those that the last `prepare` could not read, and a note on those it has not read.

    None is opened.
    """
    there = _there(folder)
    return len(there), *as_prepared("ntu_rgbd", [(colour_store(prepared_dir, side), there)], "videos")


def _there(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(_FILES) if path.stem.removesuffix(SUFFIX) not in MISSING)


def _make(path: Path, side: int) -> np.ndarray | str:
    """A video's clip, or what is wrong with it."""
    if not path.stem.endswith(SUFFIX) or name_of(path.stem.removesuffix(SUFFIX)) is None:
        return "its name is not SsssCcccPpppRrrrAaaa_rgb.avi of a clip that the data set has"
    return sampled(path, FRAMES, side)
