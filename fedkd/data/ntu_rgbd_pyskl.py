"""NTU RGB+D's skeletons as PYSKL publishes them: one pickle for 60 classes, one for 120.

Duan, Wang, Chen, Lin. PYSKL. ACM MM 2022. https://github.com/kennymckormick/pyskl, `tools/data/README.md`; made by its
`tools/data/ntu_preproc.py`. ``{"split": ..., "annotations": [{"frame_dir": "S001C001P001R001A001", "label": 0,
"total_frames": 103, "keypoint": float16 [M T 25 3]}, ...]}``: metres in the camera's own frame, to about 2 mm; M is 1,
or 2 with zeros where a body was not seen; clips with missing skeletons are already left out. Names tell the splits, so
``split`` is not read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.data.check import Broken
from fedkd.data.ntu_rgbd_files import JOINTS, Body, main_body, name_of
from fedkd.data.release import release_folder
from fedkd.data.restricted_pickle import load_arrays
from fedkd.errors import UserError

PUBLISHED_AT = "https://github.com/kennymckormick/pyskl/blob/main/tools/data/README.md"
FILES = {60: "ntu60_3danno.pkl", 120: "ntu120_3danno.pkl"}


@dataclass(frozen=True, eq=False)
class Annotation:
    """A clip of the pickle; without `content` where it is only named."""

    stem: str
    file: Path
    content: object = None

    def stat(self) -> os.stat_result:
        """The pickle's: a clip is as old as the file it came in."""
        return self.file.stat()


def file_of(data_dir: str | None, num_classes: int) -> Path:
    """The pickle; where there is none, a sentence that says where to get it."""
    name = FILES[num_classes]
    return release_folder("ntu_rgbd", data_dir, (name,), PUBLISHED_AT) / name


def annotations_of(path: Path) -> list[Annotation]:
    """The pickle's clips in name order."""
    content = load_arrays(path)
    clips = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(clips, list) or not all(
        isinstance(c, dict) and isinstance(c.get("frame_dir"), str) for c in clips
    ):
        raise UserError(f"{path} holds no list 'annotations' of clips with a 'frame_dir': take PYSKL's {path.name}.")
    found = {clip["frame_dir"]: Annotation(clip["frame_dir"], path, clip) for clip in clips}
    return [found[stem] for stem in sorted(found)]


def read_annotation(annotation: Annotation) -> Float[Tensor, "T J 3"] | Broken:
    """A clip's main body, metres in the camera's own frame, T >= 1; or the reason why there is none."""
    clip = annotation.content
    assert isinstance(clip, dict)
    name, keypoint = name_of(annotation.stem), clip.get("keypoint")
    if name is None:
        return Broken(annotation.stem, "its name is not SsssCcccPpppRrrrAaaa of a clip that the data set has")
    if clip.get("label") != name.action - 1:
        return Broken(annotation.stem, f"its label is {clip.get('label')!r}, its name says {name.action - 1}")
    if not isinstance(keypoint, np.ndarray) or keypoint.dtype.kind != "f":
        return Broken(annotation.stem, "it has no array 'keypoint' of floating-point numbers")
    if keypoint.ndim != 4 or keypoint.shape[2:] != (JOINTS, 3):
        return Broken(annotation.stem, f"its keypoint is {list(keypoint.shape)}, not [M T {JOINTS} 3]")
    if not np.isfinite(keypoint).all():
        return Broken(annotation.stem, "a coordinate is not finite")
    people = [torch.from_numpy(person.astype(np.float32)) for person in keypoint]
    seen = [(person != 0).flatten(1).any(1) for person in people]
    bodies = [Body(s.nonzero().flatten().tolist(), p[s]) for p, s in zip(people, seen, strict=True) if s.any()]
    return main_body(bodies) if bodies else Broken(annotation.stem, "no frame has a body")
