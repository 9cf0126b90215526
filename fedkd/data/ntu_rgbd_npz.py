"""NTU RGB+D's skeletons as CTR-GCN's scripts write them, and many later works take them: one .npz a protocol.

Chen, Zhang, Yuan, Li, Deng, Hu. Channel-wise Topology Refinement Graph Convolution. ICCV 2021.
https://github.com/Uason-Chen/CTR-GCN, `data/ntu/seq_transformation.py`, `data/ntu120/seq_transformation.py`. NTU60_CS,
NTU60_CV, NTU120_CSub and NTU120_CSet hold ``x_train`` float32 [N 300 150], ``y_train`` one-hot [N 60 or 120],
``x_test`` and ``y_test``, not compressed: up to 20 GB, so they are mapped and not loaded. A frame is two people, first
the one who moves more, of 25 joints in metres along the camera's axes; zeros follow the last frame and stand where a
person is not seen. In NTU120 a person alone is there twice.

No clip says which it is, but the scripts' order does: they go through ``skes_available_name.txt`` once for each
training performer (CS, CSub), camera (CV) or setup (CSet), in ascending order, then for each of the test's. So that
list of 113,945 names, CTR-GCN's in `data/ntu120/statistics`, lies beside the file (it begins with NTU RGB+D's 56,578),
and gives each clip its name, and with it its camera: any protocol can be had of either file. A file whose counts or
labels are not the list's in that order is refused. What labels cannot show: two performers' runs through the same
actions that changed places.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from fedkd.data.check import Broken
from fedkd.data.ntu_rgbd_files import JOINTS, TRAINING_SUBJECTS, Entry, Name, main_of, name_of
from fedkd.data.release import release_folder
from fedkd.errors import UserError

PUBLISHED_AT = "https://github.com/Uason-Chen/CTR-GCN"
NAMES = "skes_available_name.txt"
ORDERS = {
    "NTU60_CS": ("performer", TRAINING_SUBJECTS[60]),
    "NTU60_CV": ("camera", (2, 3)),
    "NTU120_CSub": ("performer", TRAINING_SUBJECTS[120]),
    "NTU120_CSet": ("setup", range(2, 33, 2)),
}
"""A file -> what its clips are sorted by, and of which of these are those that train."""
FILES = {60: ("NTU60_CS.npz", "NTU60_CV.npz"), 120: ("NTU120_CSub.npz", "NTU120_CSet.npz")}

AWAY = torch.tensor([0.0, 0.0, 3.0])
"""Metres. The scripts move the first frame's mid spine to the camera, where Kinect puts joints that it lost."""


def npz_of(data_dir: str | None, num_classes: int) -> Path:
    """The file, either of two; where there is none, a sentence that says what makes it."""
    folder = release_folder("ntu_rgbd", data_dir, FILES[num_classes], PUBLISHED_AT)
    return next(path for name in FILES[num_classes] if (path := folder / name).exists())


def rows_of(path: Path) -> list[Entry]:
    """The file's clips in its own order; a UserError where the scripts did not write it of the list beside it."""
    num_classes = next(count for count, names in FILES.items() if path.name in names)
    names = _names(path.with_name(NAMES), num_classes)
    by, training = ORDERS[path.stem]
    ordered = sorted(names, key=lambda stem: getattr(names[stem], by))
    entries: list[Entry] = []
    for part in ("train", "test"):
        stems = [stem for stem in ordered if (getattr(names[stem], by) in training) == (part == "train")]
        clips, labels = _clips(path, part), _labels(path, part, num_classes)
        if not len(stems) == len(clips) == len(labels):
            counts = f"x_{part} has {len(clips)} clips and y_{part} {len(labels)}"
            raise _refused(path, f"{counts}, {NAMES} lists {len(stems)} to {part}")
        _refuse_other_order(path, part, labels, [names[stem].action - 1 for stem in stems])
        entries += [Entry(stem, path, partial(_read, stem, clip)) for stem, clip in zip(stems, clips, strict=True)]
    return entries


def _refuse_other_order(path: Path, part: str, labels: Int[np.ndarray, "N"], listed: Sequence[int]) -> None:
    for row in np.flatnonzero(labels != np.array(listed))[:1]:
        said = f"class {labels[row]}" if labels[row] >= 0 else "no one class"
        raise _refused(path, f"row {row} of y_{part} is of {said}, by {NAMES} it is of class {listed[row]}")


def _names(path: Path, num_classes: int) -> dict[str, Name]:
    """The clips that the scripts found, in their order, of the chosen classes."""
    try:
        stems = path.read_text("ascii").split()
    except (OSError, ValueError):
        raise UserError(
            f"ntu_rgbd needs the list {path}, which says which clip of an npz is which: copy it from data/ntu120/"
            f"statistics of {PUBLISHED_AT}."
        ) from None
    names = {stem: name_of(stem) for stem in stems}
    if wrong := [stem for stem, name in names.items() if name is None]:
        raise UserError(f"{path} lists {wrong[0]!r}, which is no clip of NTU RGB+D: copy it anew from {PUBLISHED_AT}.")
    return {stem: name for stem, name in names.items() if name is not None and name.action <= num_classes}


def _clips(path: Path, part: str) -> Float[np.ndarray, "N T 150"]:
    clips = _mapped(path, f"x_{part}")
    if clips.ndim != 3 or clips.shape[2] != 2 * JOINTS * 3:
        raise _refused(path, f"x_{part} is {list(clips.shape)}, not [N T {2 * JOINTS * 3}]")
    return clips


def _labels(path: Path, part: str, num_classes: int) -> Int[np.ndarray, "N"]:
    """Classes, -1 where a row has not one 1 among zeros."""
    rows = _mapped(path, f"y_{part}")
    if rows.ndim != 2 or rows.shape[1] != num_classes:
        raise _refused(path, f"y_{part} is {list(rows.shape)}, not [N {num_classes}]")
    one = ((rows == 1).sum(1) == 1) & ((rows == 0).sum(1) == num_classes - 1)
    return np.where(one, rows.argmax(1), -1)


def _mapped(path: Path, key: str) -> Shaped[np.ndarray, "..."]:
    """An array of the file, read from disk when looked at; a UserError where it is none of numbers."""
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            if f"{key}.npy" not in archive.namelist():
                raise _refused(path, f"it lacks {key}")
            member = archive.getinfo(f"{key}.npy")
            if member.compress_type != zipfile.ZIP_STORED:
                raise _refused(path, f"{key} is compressed, so it cannot be mapped")
            file.seek(member.header_offset + 26)  # of a zip's local header, the lengths of name and extra field
            file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
            np.lib.format.read_magic(file)
            shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
            if dtype.kind != "f":
                raise _refused(path, f"{key} is an array of {dtype}, not of floating-point numbers")
            return np.memmap(path, dtype, "r", file.tell(), shape, "F" if by_column else "C")
    except (OSError, ValueError, struct.error, zipfile.BadZipFile) as error:
        raise _refused(path, f"it is no whole npz, truncated or damaged: {str(error).rstrip('.')}") from None


def _refused(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: {reason}; make it anew with CTR-GCN's scripts, {PUBLISHED_AT}.")


def _read(stem: str, frames: Float[np.ndarray, "F 150"]) -> Float[Tensor, "T J 3"] | Broken:
    """A clip's main body, metres along the camera's axes, T >= 1; or the reason why there is none."""
    body = main_of(stem, np.moveaxis(frames.reshape(-1, 2, JOINTS, 3), 1, 0))
    return body if isinstance(body, Broken) else body + AWAY
