"""UTD-MHAD on disk: one .mat file a clip and modality, read with every fault named.

Chen, Jafari, Kehtarnavaz. UTD-MHAD: A Multimodal Dataset for Human Action Recognition Utilizing a Depth Camera and a
Wearable Inertial Sensor. ICIP 2015. https://doi.org/10.1109/ICIP.2015.7350781; recordings and descriptions:
https://personal.utdallas.edu/~kehtar/UTD-MHAD.html. 27 actions by 8 people, 4 trials each, less
three the authors dropped: 861 clips. Folders `Skeleton`, `Inertial`, `Depth` with files ``aA_sS_tT_<modality>.mat``:

* ``d_skel`` [20 3 T], metres, about 30 Hz, joints in an order of their own (`fedkd.skeleton.UTD_MHAD_TO_KINECT_V1`);
* ``d_iner`` [T 6], 50 Hz: acceleration in g, then turning in degrees a second. The sensor is on the right wrist for
  actions 1-21 and on the right thigh for 22-27; where it is must never be shown to a net, it gives the class away.

What is odd about the release:

* The two clocks are not one clock: T of the inertial file is 2.63 times that of the skeleton (median), not 50 / 30. So
  both are laid over the same unit of time, from a clip's first moment to its last.
* The joints begin head, shoulder centre, spine, hip centre; here they are put into the order of `KINECT_V1`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.data.check import Broken
from fedkd.data.read_once import read_once
from fedkd.data.release import release_folder, single
from fedkd.skeleton import UTD_MHAD_TO_KINECT_V1

PUBLISHED_AT = "https://personal.utdallas.edu/~kehtar/UTD-MHAD.html"
PUBLISHED_CLIPS = 861
INERTIAL_RATE = 50.0
"""Samples a second of `d_iner`."""
SUBJECTS = tuple(range(1, 9))
TRIALS = (1, 2, 3, 4)
FOLDERS = {"skeleton": "Skeleton", "inertial": "Inertial"}
"""modality -> its folder."""
PICTURES = {"depth": "Depth/*.mat", "rgb": "RGB*/*.avi"}
"""modality -> its files, read by `fedkd.data.utd_mhad_pictures`."""

ACTIONS = (
    "swipe left", "swipe right", "wave", "clap", "throw", "cross arms", "basketball shoot", "draw x",
    "draw circle clockwise", "draw circle counter-clockwise", "draw triangle", "bowling", "boxing", "baseball swing",
    "tennis swing", "arm curl", "tennis serve", "push", "knock", "catch", "pick up and throw", "jog", "walk",
    "sit to stand", "stand to sit", "lunge", "squat",
)  # fmt: skip
"""Classes 0..26: the published actions 1..27."""

_NAME = re.compile(r"a(\d{1,2})_s(\d)_t(\d)_(skeleton|inertial|depth|color)")
_KEYS = {"skeleton": "d_skel", "inertial": "d_iner"}


@dataclass(frozen=True, slots=True)
class Recording:
    """One clip in one modality. `label` is 0-based.

    values  [T 20 3] joints in metres; [T 2 3] g and degrees a second; prepared bytes of depth [16 48 48 1] or rgb
            [16 S S 3].
    """

    event: str
    label: int
    subject: int
    trial: int
    modality: str
    values: Tensor


def folder_of(data_dir: str | None) -> Path:
    """The folder that holds a modality's folder; where it holds none, a sentence that says where to get them."""
    return release_folder(
        "utd_mhad", data_dir, (*(f"{name}/*.mat" for name in FOLDERS.values()), *PICTURES.values()), PUBLISHED_AT
    )


def read_folder(folder: Path) -> tuple[Mapping[str, tuple[Recording, ...]], tuple[Broken, ...]]:
    """modality -> its clips in name order, and the files that are none; read once while the files stay the same."""
    return _read_files(path for name in FOLDERS.values() for path in sorted((folder / name).glob("*.mat")))


@read_once
def _read_files(paths: Sequence[Path]) -> tuple[Mapping[str, tuple[Recording, ...]], tuple[Broken, ...]]:
    read: list[Recording | Broken] = []
    for modality, folder in FOLDERS.items():
        once, repeated = told_apart([path for path in paths if path.parent.name == folder], modality)
        read += [*(read_file(path, modality) for path in once), *repeated]
    clips = {m: tuple(r for r in read if isinstance(r, Recording) and r.modality == m) for m in FOLDERS}
    return clips, tuple(r for r in read if isinstance(r, Broken))


def read_file(path: Path, modality: str) -> Recording | Broken:
    """One clip, or the reason why the file is not one."""
    named = who(path.stem, modality)
    if named is None:
        return Broken(path.name, f"its name is not aA_sS_tT_{modality}.mat with A in 1-27, S in 1-8 and T in 1-4")
    values = _values(path, modality)
    if isinstance(values, str):
        return Broken(path.name, values)
    return recording(named, modality, values)


def who(stem: str, modality: str) -> tuple[int, int, int] | None:
    """(action, subject, trial) that a file's name says, if the data set has such a clip."""
    match = _NAME.fullmatch(stem)
    if match is None or match[4] != modality:
        return None
    action, subject, trial = (int(match[i]) for i in (1, 2, 3))
    there = 1 <= action <= len(ACTIONS) and subject in SUBJECTS and trial in TRIALS
    return (action, subject, trial) if there else None


def told_apart(paths: Sequence[Path], suffix: str) -> tuple[list[Path], list[Broken]]:
    """One file an event, and those that name the event of a file before them; a misnamed file is by itself."""
    first: dict[tuple[int, int, int] | str, Path] = {}
    repeated = []
    for path in paths:
        other = first.setdefault(who(path.stem, suffix) or path.stem, path)
        if other is not path:
            names = [f"{p.parent.name}/{p.name}" for p in (path, other)]
            repeated.append(Broken(names[0], f"it is of the same event as {names[1]}: remove one of them"))
    return list(first.values()), repeated


def recording(named: tuple[int, int, int], modality: str, values: Tensor) -> Recording:
    """A clip by what its name says."""
    action, subject, trial = named
    return Recording(f"a{action:02}_s{subject}_t{trial}", action - 1, subject, trial, modality, values)


def _values(path: Path, modality: str) -> Float[Tensor, "T J 3"] | str:
    """The clip's numbers in our layout, or what is wrong with them."""
    key = _KEYS[modality]
    try:
        content = scipy.io.loadmat(path, variable_names=[key])
    except Exception as error:  # a damaged file fails wherever its bytes lead the reader: zlib, struct, index, ...
        return f"it is no whole MATLAB 5 file, truncated or damaged: {error}"
    array = content.get(key)
    if array is None:
        return f"it lacks the variable {key}"
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        return f"{key} is of {array.dtype}, not an array of numbers"
    if not (array.ndim == 3 and array.shape[:2] == (20, 3) if modality == "skeleton" else array.shape[1:] == (6,)):
        wanted = "20 x 3 x T" if modality == "skeleton" else "T x 6"
        return f"{key} is {' x '.join(map(str, array.shape))}, not {wanted}"
    frames = array.transpose(2, 0, 1) if modality == "skeleton" else array.reshape(-1, 2, 3)
    if len(frames) == 0:
        return f"{key} has no frame"
    values = torch.from_numpy(np.ascontiguousarray(single(frames)))
    if not values.isfinite().all():
        return f"{key} has numbers that are not finite"
    return values[:, list(UTD_MHAD_TO_KINECT_V1)] if modality == "skeleton" else values
