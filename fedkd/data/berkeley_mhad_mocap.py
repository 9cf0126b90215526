"""Berkeley-MHAD's motion capture: one skeleton file a clip.

`Mocap/SkeletalData/skl_sSS_aAA_rRR.bvh`, 480 Hz, centimetres, y up: 30 joints and 5 ends, solved by the authors from
the 43 LED markers of `Mocap/OpticalData`, which are not read. A joint's position channels stand in place of its OFFSET,
as in the authors' own `bvh2xyz.m`, which comes with the recordings; readers that add the two move the body.

Of the 35 the 20 are kept that a Kinect has, in the order of `fedkd.skeleton.KINECT_V1`, so that whatever reads a
Kinect's skeletons reads these. Left out: the "...Roll" joints, which lie along the limbs, two joints of the spine, the
collar bones, and the ends of head and toes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from fedkd.data.berkeley_mhad_files import recorded, who
from fedkd.data.bvh import positions
from fedkd.data.check import Broken
from fedkd.data.read_once import read_once

HERTZ = 30.0
"""Frames kept a second, the Kinects' rate."""

METRES = 0.01
"""What the files' unit is."""

JOINTS = (
    *("Hips", "spine1", "Neck", "Head"),
    *("LeftArm", "LeftForeArm", "LeftHand", "LeftHand end"),
    *("RightArm", "RightForeArm", "RightHand", "RightHand end"),
    *("LeftUpLeg", "LeftLeg", "LeftFoot", "LeftToeBase"),
    *("RightUpLeg", "RightLeg", "RightFoot", "RightToeBase"),
)
"""The file's joint for each of KINECT_V1's."""

_NAME = re.compile(r"skl_(s\d\d_a\d\d_r\d\d)")


@dataclass(frozen=True, slots=True)
class Pose:
    """One clip's skeleton. `label` is 0-based; `joints` [T 20 3] in metres, y up, in KINECT_V1's order."""

    event: str
    label: int
    subject: int
    joints: Float[Tensor, "T 20 3"]


def read_mocap(folder: Path) -> tuple[tuple[Pose, ...], tuple[Broken, ...]]:
    """The clips in name order, and the files that are none; read once as long as the files stay the same."""
    return _read_files(recorded(folder, "mocap"))


@read_once
def _read_files(paths: Sequence[Path]) -> tuple[tuple[Pose, ...], tuple[Broken, ...]]:
    read = [read_pose(path) for path in paths]
    return tuple(r for r in read if isinstance(r, Pose)), tuple(r for r in read if isinstance(r, Broken))


def read_pose(path: Path) -> Pose | Broken:
    """One clip, or the reason why the file is not one."""
    match = _NAME.fullmatch(path.stem)
    named = who(match[1]) if match else None
    if match is None or named is None:
        return Broken(path.name, "its name is not skl_sSS_aAA_rRR.bvh with S in 1-12, A in 1-11 and R in 1-5")
    joints = positions(path, JOINTS, HERTZ)
    if isinstance(joints, str):
        return Broken(path.name, joints)
    return Pose(match[1], named[1] - 1, named[0], joints * METRES)
