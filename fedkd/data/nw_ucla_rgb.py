"""Northwestern-UCLA's colours, from the authors' own archives; skeletons come from the json edition beside them.

Either archive of https://wangjiangb.github.io/my_data.html will do; where both are, the pictures are read:

* ``multiview_action/view_<v>/aAA_sSS_eEE/frame_<n>_tc_<time>_rgb.jpg``, 640 x 480. n has no leading zeros, so the
  order of names is not the order of frames. The ``_depth.png`` beside them: `fedkd.data.nw_ucla_depth`.
* ``multiview_action_videos/aAA/vVV_sSS_eEE.avi``

A folder of pictures is as old as the folder: `prepare` sees those that come and go, none that is overwritten in place.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from fedkd.data.check import Broken
from fedkd.data.release import as_prepared
from fedkd.data.store import Progress, Store
from fedkd.data.video import rgb_store, sampled, sampled_pictures
from fedkd.errors import UserError

FRAMES = 16
PICTURES = "multiview_action/view_*/*/"
"""The folders of pictures, one a clip."""

MISNAMED = "its place and name do not say action, subject, take and view as the release does"

_NAME = re.compile(r"a\d\d_s\d\d_e\d\d_v0[123]")
_PICTURE = re.compile(r"frame_(\d+)_tc_\d+_rgb\.jpg")


def prepare_rgb(folder: Path, prepared_dir: str | None, side: int, progress: Progress) -> list[Broken]:
    """Make the clips that are missing or out of date; the films that hold none. `folder` is nw_ucla."""
    return colour_store(prepared_dir, side).prepare(films(folder), partial(_make, side=side), progress)


def colour_store(prepared_dir: str | None, side: int) -> Store:
    """Where the prepared clips lie, by the names that the json edition has for them."""
    return rgb_store("nw_ucla", prepared_dir, FRAMES, side, named)


def films(folder: Path) -> list[Path]:
    """A folder of pictures, or a video, for each clip."""
    found = _there(folder)
    if not found:
        raise UserError(
            f"nw_ucla finds no colours in {folder}: unpack multiview_action (view_1/a01_s01_e00/...) or "
            "multiview_action_videos (a01/v01_s01_e00.avi) there."
        )
    return found


def film_faults(folder: Path, prepared_dir: str | None, side: int) -> tuple[int, list[Broken], list[str]]:
    """How many films there are, those that the last `prepare` could not read, and a note on those it has not read.

    None is opened.
    """
    there = _there(folder)
    return len(there), *as_prepared("nw_ucla", [(colour_store(prepared_dir, side), there)], "films")


def _there(folder: Path) -> list[Path]:
    folders = sorted(folder.glob(PICTURES))
    coloured = any(next(film.glob("*_rgb.jpg"), None) for film in folders)  # an archive may hold depth alone
    return folders if coloured else sorted(folder.glob("multiview_action_videos/*/*.avi"))


def has_colours(folder: Path) -> bool:
    """Whether either archive's colours are there."""
    return bool(_there(folder))


def named(film: Path) -> str:
    """aAA_sSS_eEE_vVV."""
    if film.suffix == ".avi":
        view, _, rest = film.stem.partition("_")
        return f"{film.parent.name}_{rest}_{view}"
    return f"{film.name}_v0{film.parent.name.removeprefix('view_')}"


def is_well_named(film: Path) -> bool:
    """Whether a film's place and name say which clip it is."""
    return _NAME.fullmatch(named(film)) is not None


def numbered(film: Path, picture: re.Pattern[str]) -> list[Path]:
    """A folder's pictures of one kind in the order of their numbers, which names alone do not give."""
    found = {int(match[1]): path for path in film.iterdir() if (match := picture.fullmatch(path.name))}
    return [found[n] for n in sorted(found)]


def _make(film: Path, side: int) -> np.ndarray | str:
    """A film's clip, or what is wrong with it."""
    if not is_well_named(film):
        return MISNAMED
    if film.suffix == ".avi":
        return sampled(film, FRAMES, side)
    return sampled_pictures(numbered(film, _PICTURE), FRAMES, side)
