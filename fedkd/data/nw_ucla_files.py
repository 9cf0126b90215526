"""Northwestern-UCLA on disk: one json per clip, read with every fault named.

Wang, Nie, Xia, Wu, Zhu. Cross-view Action Modeling, Learning and Recognition. CVPR 2014. arXiv:1405.2941.
The recordings: https://wangjiangb.github.io/my_data.html; the json edition read here (``all_sqe.zip``): "NW-UCLA" in
https://github.com/Uason-Chen/CTR-GCN#data-preparation. 1,484 files ``aAA_sSS_eEE_vVV.json`` (action, subject, take,
view) with the keys ``file_name``, ``label`` (1..10) and ``skeletons`` [T 20 3], metres in the camera's own frame, in
Kinect v1's joint order. The action numbers skip 7 and 10, so ``label`` is the action's place in ACTIONS.

What is wrong with the release, and what is done here:

* In a02 and a03 every v03 file (95) holds the same array as its v02 file: `repeats` finds them, by content.
* a02_s09_e04 has one frame; it stays (`fedkd.data.skeleton.resample` repeats it).
* Two clips lose joints for one frame, which then lie exactly on the camera: `fedkd.data.skeleton.repaired`.
* The views of an event are trimmed apart (equal T in 3 of 433 triples): never compare them frame by frame.
* s05 has no v03 clip but repeated ones; 115 of the 548 events lack a view.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.data.check import Broken
from fedkd.data.read_once import read_once
from fedkd.data.release import release_folder, single

PUBLISHED_AT = "https://github.com/Uason-Chen/CTR-GCN#data-preparation"
PUBLISHED_CLIPS = 1484
VIEWS = ("v01", "v02", "v03")
SUBJECTS = tuple(range(1, 11))
JOINTS = 20

# Names as on the data set's page; the numbers are those of the file names.
ACTIONS = {
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}

_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_(v\d\d)")


@dataclass(frozen=True, slots=True)
class Recording:
    """One clip as published. `label` is 0-based; `joints` metres [T 20 3] in the camera's own frame, T >= 1."""

    name: str
    event: str
    label: int
    subject: int
    view: str
    joints: Float[Tensor, "T J 3"]


def folder_of(data_dir: str | None) -> Path:
    """The folder of json files; where it is absent or empty, a sentence that says where to get them."""
    return release_folder("nw_ucla", data_dir, ("all_sqe/*.json",), PUBLISHED_AT) / "all_sqe"


def read_folder(folder: Path) -> tuple[tuple[Recording, ...], tuple[Broken, ...]]:
    """All clips in name order, and the files that are none; read once in a process as long as the files stay the same.

    About 1.5 s for the full set, so no prepared copy is kept on disk.
    """
    return _read_files(sorted(folder.glob("*.json")))


@read_once
def _read_files(paths: Sequence[Path]) -> tuple[tuple[Recording, ...], tuple[Broken, ...]]:
    read = [read_file(path) for path in paths]
    return tuple(r for r in read if isinstance(r, Recording)), tuple(r for r in read if isinstance(r, Broken))


def read_file(path: Path) -> Recording | Broken:
    """One clip, or the reason why the file is not one."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return Broken(path.name, "its name is not aAA_sSS_eEE_vVV.json")
    action, subject, view = int(match[1]), int(match[2]), match[4]
    if action not in ACTIONS or subject not in SUBJECTS or view not in VIEWS:
        return Broken(path.name, "the data set has actions 1-6, 8, 9, 11, 12, subjects 1-10 and views 1-3 only")
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        return Broken(path.name, f"it cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        return Broken(path.name, f"it is no whole json, truncated or damaged: {error}")
    label = list(ACTIONS).index(action)
    reason = _disagreement(content, path.stem, label)
    if reason:
        return Broken(path.name, reason)
    joints = _joints(content["skeletons"])
    if isinstance(joints, str):
        return Broken(path.name, joints)
    return Recording(path.stem, path.stem[:11], label, subject, view, joints)


def _disagreement(content: object, stem: str, label: int) -> str | None:
    """What a file says of itself against what its name says."""
    if not isinstance(content, dict) or not {"file_name", "label", "skeletons"} <= content.keys():
        return "it lacks one of the keys file_name, label, skeletons"
    if content["file_name"] != stem:
        return f"it says its name is {content['file_name']!r}"
    if content["label"] != label + 1:
        return f"its label is {content['label']!r}, its name says {label + 1}"
    return None


def _joints(skeletons: object) -> Float[Tensor, "T J 3"] | str:
    """The joints as float32, or the reason why there are none."""
    try:
        joints = single(skeletons)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return "its frames differ in shape or hold something that is no number"
    if joints.ndim != 3 or len(joints) == 0 or joints.shape[1:] != (JOINTS, 3):
        return f"its skeletons are {list(joints.shape)}, not [T {JOINTS} 3] with T >= 1"
    if not np.isfinite(joints).all():
        return "a coordinate is not finite"
    return torch.from_numpy(joints)


def repeats(recordings: Sequence[Recording]) -> dict[str, str]:
    """{clip: the clip it repeats}, by content; the clip of the first view, then of the first name, is the original.

    Which camera of a repeated pair truly filmed it is not known; keeping v02's is a convention.
    """
    first: dict[bytes, str] = {}
    copies: dict[str, str] = {}
    for recording in sorted(recordings, key=lambda r: (r.view, r.name)):
        original = first.setdefault(recording.joints.numpy().tobytes(), recording.name)
        if original != recording.name:
            copies[recording.name] = original
    return copies
