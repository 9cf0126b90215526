"""NTU RGB+D's skeletons as PYSKL publishes them: one pickle for 60 classes, one for 120.

Duan, Wang, Chen, Lin. PYSKL. ACM MM 2022. https://github.com/kennymckormick/pyskl, `tools/data/README.md`; made by its
`tools/data/ntu_preproc.py`. ``{"split": ..., "annotations": [{"frame_dir": "S001C001P001R001A001", "label": 0,
"total_frames": 103, "keypoint": float16 [M T 25 3]}, ...]}``: metres in the camera's own frame, to about 2 mm; M is 1,
or 2 with zeros where a body was not seen; clips with missing skeletons are already left out. Names tell the splits, so
``split`` is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from fedkd.data.check import Broken
from fedkd.data.ntu_rgbd_files import JOINTS, Entry, main_of, name_of
from fedkd.data.release import release_folder
from fedkd.data.restricted_pickle import load_arrays
from fedkd.errors import UserError

PUBLISHED_AT = "https://github.com/kennymckormick/pyskl/blob/main/tools/data/README.md"
FILES = {60: "ntu60_3danno.pkl", 120: "ntu120_3danno.pkl"}


def pickle_of(data_dir: str | None, num_classes: int) -> Path:
    """The pickle; where there is none, a sentence that says where to get it."""
    name = FILES[num_classes]
    return release_folder("ntu_rgbd", data_dir, (name,), PUBLISHED_AT) / name


def annotations_of(path: Path) -> list[Entry]:
    """The pickle's clips in name order."""
    content = load_arrays(path)
    clips = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(clips, list) or not all(
        isinstance(c, dict) and isinstance(c.get("frame_dir"), str) for c in clips
    ):
        raise UserError(f"{path} holds no list 'annotations' of clips with a 'frame_dir': take PYSKL's {path.name}.")
    if not clips:
        raise UserError(f"{path}: its list 'annotations' holds no clip: take PYSKL's {path.name}, {PUBLISHED_AT}.")
    found: dict[str, list[Mapping[str, object]]] = {}
    for clip in clips:
        found.setdefault(clip["frame_dir"], []).append(clip)
    return [Entry(stem, path, partial(_read, stem, found[stem])) for stem in sorted(found)]


def _read(stem: str, clips: Sequence[Mapping[str, object]]) -> Float[Tensor, "T J 3"] | Broken:
    """A clip's main body, metres in the camera's own frame, T >= 1; or the reason why there is none."""
    if len(clips) > 1:
        return Broken(stem, f"it is there {len(clips)} times; keep one")
    [clip] = clips
    name, keypoint = name_of(stem), clip.get("keypoint")
    if name is None:
        return Broken(stem, "its name is not SsssCcccPpppRrrrAaaa of a clip that the data set has")
    label = clip.get("label")
    if not isinstance(label, (int, np.integer)):
        return Broken(stem, "its label is no whole number")
    if label != name.action - 1:
        return Broken(stem, f"its label is {label!r}, its name says {name.action - 1}")
    if not isinstance(keypoint, np.ndarray) or keypoint.dtype.kind != "f":
        return Broken(stem, "it has no array 'keypoint' of floating-point numbers")
    if keypoint.ndim != 4 or keypoint.shape[2:] != (JOINTS, 3):
        return Broken(stem, f"its keypoint is {list(keypoint.shape)}, not [M T {JOINTS} 3]")
    return main_of(stem, keypoint)
