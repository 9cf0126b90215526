"""Berkeley-MHAD on disk, and its accelerometers: one text file a clip and sensor, read with every fault named.

Ofli, Chaudhry, Kurillo, Vidal, Bajcsy. Berkeley MHAD: A Comprehensive Multimodal Human Action Database. WACV 2013.
https://doi.org/10.1109/WACV.2013.6474999; recordings: https://tele-immersion.citris-uc.org/berkeley_mhad. 11 actions by
12 people, 5 repetitions each; s02_a07_r05 and s04_a08_r05 do not exist, so there are 658 events.

Folders `Accelerometer/ShimmerNN`, files ``acc_hNN_sSS_aAA_rRR.txt``, a line a sample: ``ax ay az unixtime``, g and
seconds, about 31 Hz. Six sensors h01..h06 on wrists, hips and ankles, on one clock. Samples arrive in bursts and some
times repeat, so clips are resampled by their times, never by their line numbers.

The release's other folders: `Mocap` (`fedkd.data.berkeley_mhad_mocap`), `Kinect` (`fedkd.data.berkeley_mhad_kinect`),
`Camera`, `Audio` and `Calibration`, which are not read. All name an event sSS_aAA_rRR. Of each subject there are also a
T-pose and two takes of the background, sSS_t-pose, sSS_b01 and sSS_b02 (so in the cameras' `Time_stamps`): no actions,
so they are no clips, wherever they lie, and `non_actions` counts them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.data.check import Broken
from fedkd.data.moments import at_even_moments
from fedkd.data.read_once import read_once
from fedkd.data.release import release_folder, single
from fedkd.errors import UserError

PUBLISHED_AT = "https://tele-immersion.citris-uc.org/berkeley_mhad"
SUBJECTS = tuple(range(1, 13))
SENSORS = ("h01", "h02", "h03", "h04", "h05", "h06")
FILES = {
    "accelerometer": "Accelerometer/Shimmer0[1-6]/acc_*.txt",
    "mocap": "Mocap/SkeletalData/skl_*.bvh",
    "kinect": "Kinect/Kin0[12]/S*/A*/R*/kin_*_depth_*.pgm",
}
"""modality -> its files, below the release's folder."""

ABSENT = ("s02_a07_r05", "s04_a08_r05")
"""Events that were never recorded."""

LONGEST = 60.0
"""Seconds from a clip's first sample to its last: of the 2,298 files at hand the longest has 20.4. All end their last
line, so that one which does not is cut."""

ACTIONS = (
    "jump in place", "jumping jacks", "bend", "punch", "wave with two hands", "wave with one hand", "clap", "throw",
    "sit down and stand up", "sit down", "stand up",
)  # fmt: skip
"""Classes 0..10: the published actions 1..11."""

_NAME = re.compile(r"acc_(h0[1-6])_(s\d\d_a\d\d_r0[1-5])")
_EVENT = re.compile(r"s(\d\d)_a(\d\d)_r0[1-5]")
_NO_ACTION = re.compile(r".*_s(?:0[1-9]|1[0-2])_(?:t-pose|b0[12])")


@dataclass(frozen=True, slots=True)
class Recording:
    """One clip of one sensor. `label` is 0-based; `acceleration` [T 3] in g at `seconds` [T], which increase."""

    event: str
    label: int
    subject: int
    sensor: str
    acceleration: Float[Tensor, "T 3"]
    seconds: Float[Tensor, "T"]


def folder_of(data_dir: str | None) -> Path:
    """The release's folder; where it holds no recording that is read here, a sentence that says where to get them."""
    return release_folder("berkeley_mhad", data_dir, tuple(FILES.values()), PUBLISHED_AT)


def has(folder: Path, modality: str) -> bool:
    """Whether the folder holds a recording of the modality."""
    return next(folder.glob(FILES[modality]), None) is not None


def recorded(folder: Path, modality: str) -> list[Path]:
    """The modality's files that are to be actions, in name order."""
    return [path for path in sorted(folder.glob(FILES[modality])) if not _NO_ACTION.fullmatch(path.stem)]


def non_actions(folder: Path) -> int:
    """Files of a subject's T-pose or background among those of accelerometers and motion capture."""
    found = (path for modality in ("accelerometer", "mocap") for path in folder.glob(FILES[modality]))
    return sum(_NO_ACTION.fullmatch(path.stem) is not None for path in found)


def require(folder: Path, modality: str) -> None:
    """A UserError where the folder has no recording of the modality."""
    if not has(folder, modality):
        raise UserError(f"berkeley_mhad finds no {FILES[modality]} in {folder}: unpack that modality ({PUBLISHED_AT}).")


def read_folder(folder: Path) -> tuple[Mapping[str, tuple[Recording, ...]], tuple[Broken, ...]]:
    """sensor -> its clips in name order, and the files that are none; read once as long as the files stay the same."""
    return _read_files(recorded(folder, "accelerometer"))


@read_once
def _read_files(paths: Sequence[Path]) -> tuple[Mapping[str, tuple[Recording, ...]], tuple[Broken, ...]]:
    read = [read_file(path) for path in paths]
    clips = {s: tuple(r for r in read if isinstance(r, Recording) and r.sensor == s) for s in SENSORS}
    return clips, tuple(r for r in read if isinstance(r, Broken))


def read_file(path: Path) -> Recording | Broken:
    """One clip, or the reason why the file is not one."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return Broken(path.name, "its name is not acc_hNN_sSS_aAA_rRR.txt")
    named = who(match[2])
    if named is None:
        return Broken(path.name, "the data set has subjects 1-12 and actions 1-11 only")
    if path.parent.name != f"Shimmer{match[1][1:]}":
        return Broken(path.name, f"a file of sensor {match[1]} lies in {path.parent.name}")
    try:
        text = path.read_text()
        if text and not text.endswith("\n"):
            return Broken(path.name, "its last line does not end: truncated")
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of no line, which is named below
            rows = np.loadtxt(text.splitlines(), dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        return Broken(path.name, f"it is no table of numbers, truncated or damaged: {str(error).splitlines()[0]}")
    if rows.size == 0 or rows.shape[1] != 4:
        return Broken(path.name, f"it has {rows.shape[0]} lines of {rows.shape[1]} numbers, not 4: ax ay az unixtime")
    measured = single(rows[:, :3])
    if not (np.isfinite(measured).all() and np.isfinite(rows[:, 3]).all()):
        return Broken(path.name, "it has numbers that are not finite")
    if np.ptp(rows[:, 3]) > LONGEST:
        return Broken(
            path.name, f"its times are {np.ptp(rows[:, 3]):.3g} s apart, a clip lasts {LONGEST:.0f} at most: damaged"
        )
    seconds, first = np.unique(rows[:, 3], return_index=True)
    acceleration = torch.from_numpy(measured[first])
    subject, action = named
    return Recording(match[2], action - 1, subject, match[1], acceleration, torch.from_numpy(seconds))


def who(event: str) -> tuple[int, int] | None:
    """(subject, action) that an event's name says, if the data set has such an event."""
    match = _EVENT.fullmatch(event)
    if match is None or int(match[1]) not in SUBJECTS or not 1 <= int(match[2]) <= len(ACTIONS):
        return None
    return int(match[1]), int(match[2])


def at_even_times(recording: Recording, frames: int) -> Float[Tensor, "F 3"]:
    """The acceleration at `frames` evenly spaced moments from a clip's first sample to its last, on straight lines."""
    return torch.from_numpy(at_even_moments(recording.seconds.numpy(), recording.acceleration.numpy(), frames))
