"""Biovision's hierarchical motion files: where a skeleton's joints are.

    joints = positions(path, ("Hips", "Head", "LeftHand end"), hertz=30.0)      # [T 3 3], in the file's unit

Meredith, Maddock. Motion Capture File Formats Explained. University of Sheffield CS-01-11, 2001. HIERARCHY nests the
joints, each with its OFFSET from its parent and the CHANNELS that move it; MOTION has a row of channel values a frame.
A joint's turns (degrees) apply in the order of its channels; its position, where it has such channels, stands in place
of its offset. An End Site takes its joint's name: "LeftHand end".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.data.release import single

AXES = "XYZ"
_NODE = re.compile(
    r"(?:ROOT|JOINT|End)\s+(\S+)\s*\{\s*OFFSET\s+(\S+)\s+(\S+)\s+(\S+)"
    r"(?:\s+CHANNELS\s+\d+((?:\s+[XYZ](?:position|rotation))*))?|\}"
)
_MOTION = re.compile(r"MOTION\s+Frames:\s*(\d+)\s+Frame Time:\s*(\S+)\s*\n")


@dataclass(frozen=True, slots=True)
class Joint:
    """A joint of the hierarchy. `parent` is its place among the joints, None of the root; channels as "Xrotation"."""

    name: str
    parent: int | None
    offset: tuple[float, float, float]
    channels: tuple[str, ...]


def positions(path: Path, names: Sequence[str], hertz: float) -> Float[Tensor, "T J 3"] | str:
    """The named joints about `hertz` times a second, or the reason in words why there are none.

    Every n-th row is read and looked at; of the others only their number is.
    """
    try:
        text = path.read_text()
        motion = _MOTION.search(text)
        if motion is None:
            return "it is no whole BVH file: it has no MOTION with Frames and Frame Time"
        joints = hierarchy(text[: motion.start()])
        rows = text[motion.end() :].rstrip().split("\n")
        seconds = float(motion[2])
        if not 0 < seconds < np.inf:
            return f"its frame time is {motion[2]}, not a finite number of seconds above 0"
        every = max(1, round(1 / hertz / seconds))
        values = np.array([row.split() for row in rows[::every]], dtype=np.float64)
    except (OSError, ValueError) as error:
        return f"it is no whole BVH file, truncated or damaged: {error}"
    width, last = sum(len(joint.channels) for joint in joints), len(rows[-1].split())
    if (len(rows), last) != (int(motion[1]), width) or values.shape[1:] != (width,):
        return f"it promises {motion[1]} frames of {width} numbers and has {len(rows)}, the last of {last}"
    if not np.isfinite(values).all():
        return "it has numbers that are not finite"
    if missing := [name for name in names if name not in {joint.name for joint in joints}]:
        return f"its skeleton lacks {', '.join(missing)}"
    places = dict(zip((joint.name for joint in joints), placed(joints, values), strict=True))
    found = torch.from_numpy(single(np.stack([places[name] for name in names], axis=1)))
    return found if found.isfinite().all() else "its joints have places that are not finite"


def hierarchy(text: str) -> list[Joint]:
    """The joints, parents first; ValueError where the text does not nest."""
    joints: list[Joint] = []
    opened: list[int] = []
    for node in _NODE.finditer(text):
        if node[0] == "}":
            if not opened:
                raise ValueError("a joint closes that was not opened")
            opened.pop()
            continue
        parent = opened[-1] if opened else None
        name = node[1] if node[1] != "Site" or parent is None else f"{joints[parent].name} end"
        opened.append(len(joints))
        joints.append(
            Joint(name, parent, (float(node[2]), float(node[3]), float(node[4])), tuple((node[5] or "").split()))
        )
    if opened or not joints:
        raise ValueError("its hierarchy does not close")
    return joints


def placed(joints: Sequence[Joint], values: Float[np.ndarray, "T C"]) -> list[Float[np.ndarray, "T 3"]]:
    """Where each joint is, frame by frame: its parent's place, and its own offset as all above it have turned it."""
    places: list[np.ndarray] = []
    turns: list[np.ndarray] = []
    column = 0
    for joint in joints:
        place = np.tile(joint.offset, (len(values), 1))
        turn = np.tile(np.eye(3), (len(values), 1, 1))
        for channel in joint.channels:
            axis, value = AXES.index(channel[0]), values[:, column]
            if channel.endswith("position"):
                place[:, axis] = value
            else:
                turn = turn @ about(axis, np.radians(value))
            column += 1
        if joint.parent is not None:
            place = places[joint.parent] + (turns[joint.parent] @ place[..., None])[..., 0]
            turn = turns[joint.parent] @ turn
        places.append(place)
        turns.append(turn)
    return places


def about(axis: int, angle: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T 3 3"]:
    """Right-handed turns about an axis, radians."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.tile(np.eye(3), (len(angle), 1, 1))
    turn[:, first, first] = turn[:, second, second] = np.cos(angle)
    turn[:, second, first] = np.sin(angle)
    turn[:, first, second] = -turn[:, second, first]
    return turn
