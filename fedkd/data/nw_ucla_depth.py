"""Northwestern-UCLA's depth pictures, from the authors' own archive of pictures.

``multiview_action/view_<v>/aAA_sSS_eEE/frame_<n>_tc_<time>_depth.png``, one grey value a pixel, 0 where nothing was
measured, beside the ``_rgb.jpg`` of the same n, whose time differs by some milliseconds (names as in public loaders:
``frame_167_tc_90467319_rgb.jpg``, ``frame_167_tc_90467351_depth_vis.jpg``, ``..._skeletons.txt``). The 8-bit
``_depth_vis.jpg``, made to be looked at, is not read.

In what unit the values count is written nowhere, and no file was at hand to find out. So every clip is measured by
itself: the median of what was measured in it is grey 128, and the span from its 1st to its 99th percentile is 127
greys, so that all between them keeps its order. (Not the median absolute deviation: half of a picture and more may be
one wall.) Nearer is brighter, as in UTD-MHAD's clips. What is lost is how far away, and how deep, a whole scene is.
The release does not cut the background away: the room is seen, the centre square of it, not the person alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d

from fedkd.data.check import Broken
from fedkd.data.nw_ucla_rgb import MISNAMED, PICTURES, is_well_named, named, numbered
from fedkd.data.release import as_prepared
from fedkd.data.store import Progress, Store, place
from fedkd.data.video import middles
from fedkd.errors import UserError

FRAMES, SIDE = 16, 48
MIDDLE, GREYS = 128.0, 127.0
"""The grey of a clip's median; greys that the span of its distances takes. 0 is what was not measured."""

_PICTURE = re.compile(r"frame_(\d+)_tc_\d+_depth\.png")


def depth_store(prepared_dir: str | None) -> Store:
    """Where the prepared clips lie, by the names that the json edition has for them."""
    shape = (FRAMES, SIDE, SIDE, 1)
    recipe = "middles of segments, centre square, medians, v1"
    return Store(place(prepared_dir, "nw_ucla_depth"), recipe, shape, named=named)


def depth_there(folder: Path) -> list[Path]:
    """A folder for each clip that has depth pictures. `folder` is nw_ucla."""
    return [film for film in sorted(folder.glob(PICTURES)) if next(film.glob("frame_*_depth.png"), None)]


def depth_films(folder: Path) -> list[Path]:
    """The same; a UserError where there is none."""
    found = depth_there(folder)
    if not found:
        raise UserError(
            f"nw_ucla finds no depth pictures in {folder}: unpack multiview_action there "
            "(view_1/a01_s01_e00/frame_0_tc_<time>_depth.png)."
        )
    return found


def prepare_depth(folder: Path, prepared_dir: str | None, progress: Progress) -> list[Broken]:
    """Make the clips that are missing or out of date; the folders that hold none."""
    return depth_store(prepared_dir).prepare(depth_films(folder), _make, progress)


def depth_faults(folder: Path, prepared_dir: str | None) -> tuple[int, list[Broken], list[str]]:
    """How many folders there are, those that the last `prepare` could not read, and a note on those it has not read."""
    there = depth_there(folder)
    return len(there), *as_prepared("nw_ucla", [(depth_store(prepared_dir), there)], "clips' depth pictures")


def _make(film: Path) -> UInt8[np.ndarray, "F S S 1"] | str:
    """A folder's clip, or what is wrong with it."""
    if not is_well_named(film):
        return MISNAMED
    paths = numbered(film, _PICTURE)
    if not paths:
        return "it holds no depth picture named frame_<n>_tc_<time>_depth.png"
    pictures = []
    for path in (paths[i] for i in middles(len(paths), FRAMES)):
        picture = read_depth(path)
        if isinstance(picture, str):
            return f"{path.name}: {picture}"
        pictures.append(_centre(picture))
    clip = self_measured(pictures)
    return clip if clip.any() else "its depth pictures are 0 wherever they are looked at: nothing was measured"


def read_depth(path: Path) -> Float32[np.ndarray, "H W"] | str:
    """One depth picture in its own unit, or what is wrong with it."""
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's words for a damaged PNG
        return f"it is no whole picture, truncated or damaged: {error}"
    if values.ndim != 2 or values.dtype.kind not in "ui":
        return f"it is {' x '.join(map(str, values.shape))} of {values.dtype}, not one whole number a pixel"
    return values.astype(np.float32)


def self_measured(pictures: Sequence[Float32[np.ndarray, "s s"]]) -> UInt8[np.ndarray, "F S S 1"]:
    """Squares in any unit as greys about their common median, shrunk to `SIDE`; 0 where nothing was measured.

    A shrunk pixel is the mean of what was measured in it: a hole in the measurement is no distance.
    """
    measured = np.concatenate([picture[picture > 0] for picture in pictures])
    if not len(measured):
        return np.zeros((len(pictures), SIDE, SIDE, 1), np.uint8)
    nearest, median, farthest = np.percentile(measured, (1, 50, 99))
    span = (farthest - nearest) or 1.0  # one distance everywhere: whatever the scale
    clip = []
    for picture in pictures:
        grey = np.clip(MIDDLE + (median - picture) * (GREYS / span), 1, 255).astype(np.float32)
        seen = torch.from_numpy((picture > 0).astype(np.float32))[None]
        sums, share = (adaptive_avg_pool2d(of_one, SIDE) for of_one in (torch.from_numpy(grey) * seen, seen))
        clip.append((sums / share.clamp(min=1e-6)).round().to(torch.uint8).numpy()[0])
    return np.stack(clip)[..., None]


def _centre(picture: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "s s"]:
    """The largest square in the middle, as of the colours."""
    height, width = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]
