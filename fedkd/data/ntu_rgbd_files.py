"""NTU RGB+D 60 and 120 on disk: one .skeleton text a clip, read with every fault named.

Shahroudy, Liu, Ng, Wang. NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis. CVPR 2016.
https://arxiv.org/abs/1604.02808; Liu, Shahroudy, Perez, Wang, Duan, Kot. NTU RGB+D 120. TPAMI 2019.
https://arxiv.org/abs/1905.04757. Recordings: https://rose1.ntu.edu.sg/dataset/actionRecognition; names, actions and
reader: https://github.com/shahroudy/NTURGB-D. Three Kinects v2 film every performance at once; 56,880 files of setups
1-17 and actions 1-60, and 57,600 of setups 18-32 and actions 61-120, called ``SsssCcccPpppRrrrAaaa.skeleton``: setup,
camera, performer, replication, action.

A file, in lines that end with LF or CRLF: the number of frames; for each frame its number of bodies; for each body
``id clippedEdges leftConfidence leftState rightConfidence rightState restricted leanX leanY trackingState``, the number
of joints (25), and a line a joint: ``x y z depthX depthY colourX colourY qW qX qY qZ trackingState``, metres first.

What is odd about the release, and what is done here:

* A performance has one person or two, but the Kinect also sees bodies in chairs, and gives a person who was lost for a
  moment another id. `main_body` chooses, in the manner of the field.
* 302 clips (535 of 120) have missing or incomplete skeletons: the authors' list, `fedkd.data.ntu_rgbd_missing`, which
  are left out before they are read. Any other clip in which nobody is seen is broken.
* Ids go beyond 2**53: they are compared as text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fedkd.data.check import Broken
from fedkd.data.ntu_rgbd_missing import MISSING
from fedkd.data.release import release_folder, single
from fedkd.errors import UserError
from fedkd.seeding import opaque_number

PUBLISHED_AT = "https://rose1.ntu.edu.sg/dataset/actionRecognition"
PUBLISHED_CLIPS = {60: 56_880 - 302, 120: 114_480 - 535}
"""Number of classes -> its clips, less those with missing skeletons."""
FOLDERS = ("nturgb+d_skeletons", "nturgb+d_skeletons120")
"""Of setups 1-32, or of 1-17 and of 18-32."""

VIEWS = ("v01", "v02", "v03")
"""Cameras C001 to C003."""

JOINTS = 25

SHORTEST_BODY = 12
"""Frames: of several bodies in a clip, shorter ones are noise."""
WIDEST, MOST_WIDE = 0.8, 0.69754
"""Width over height of a person, and the share of frames that may be wider before a body is taken for furniture."""

ACTIONS = (
    "drink water", "eat meal", "brush teeth", "brush hair", "drop", "pick up", "throw", "sit down", "stand up", "clap",
    "read", "write", "tear up paper", "put on jacket", "take off jacket", "put on a shoe", "take off a shoe",
    "put on glasses", "take off glasses", "put on a hat", "take off a hat", "cheer up", "wave", "kick something",
    "reach into pocket", "hop", "jump up", "phone call", "play with phone", "type on a keyboard", "point to something",
    "take a selfie", "check time", "rub two hands", "nod head or bow", "shake head", "wipe face", "salute",
    "put palms together", "cross hands in front", "sneeze or cough", "stagger", "fall", "headache",
    "stomachache or heart pain", "backache", "neckache", "nausea or vomiting", "fan self", "punch or slap",
    "kick other", "push other", "pat on back", "point finger at other", "hug", "give something", "touch other's pocket",
    "shake hands", "walk towards each other", "walk apart",
    "put on headphones", "take off headphones", "shoot at the basket", "bounce ball", "tennis bat swing",
    "juggle table tennis balls", "hush", "flick hair", "thumb up", "thumb down", "ok sign", "victory sign",
    "staple book", "count money", "cut nails", "cut paper", "snap fingers", "open bottle", "sniff", "squat down",
    "toss a coin", "fold paper", "ball up paper", "play magic cube", "apply cream on face", "apply cream on hand",
    "put on bag", "take off bag", "put something into a bag", "take something out of a bag", "open a box",
    "move heavy objects", "shake fist", "throw up cap", "hands up", "cross arms", "arm circles", "arm swings",
    "run on the spot", "butt kicks", "cross toe touch", "side kick", "yawn", "stretch oneself", "blow nose",
    "hit with something", "wield knife", "knock over", "grab other's stuff", "shoot at other with a gun",
    "step on foot", "high-five", "cheers and drink", "carry something together", "take a photo of other",
    "follow other", "whisper in other's ear", "exchange things", "support somebody", "finger-guessing game",
)  # fmt: skip
"""Classes 0..119: the published actions 1..120, the first 60 of which are NTU RGB+D."""

TRAINING_SUBJECTS = {
    60: (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38),
    120: (
        *(1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38, 45, 46, 47, 49, 50, 52, 53, 54),
        *(55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103),
    ),
}
"""Of x_sub: 20 (Shahroudy et al.) and 53 (Liu et al.; as typed in CTR-GCN, `data/ntu120/seq_transformation.py`)."""

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """What a file's name says. `camera` is 1..3; `action`, and so the class plus one, 1..120."""

    setup: int
    camera: int
    performer: int
    replication: int
    action: int

    @property
    def view(self) -> str:
        """The client."""
        return VIEWS[self.camera - 1]

    @property
    def event(self) -> int:
        """The id of the performance, the same for its three cameras; no two performances have the same."""
        return opaque_number(((self.setup * 128 + self.performer) * 4 + self.replication) * 128 + self.action)


@dataclass(frozen=True, slots=True)
class Body:
    """One tracked body: the frames in which it was seen, and its joints in them, metres in the camera's own frame."""

    frames: Sequence[int]
    joints: Float[Tensor, "T J 3"]


@dataclass(frozen=True, eq=False)
class Entry:
    """A clip of a larger file, which `read` reads: its main body, or why there is none. Without it, only named."""

    stem: str
    file: Path
    read: Callable[[], Float[Tensor, "T J 3"] | Broken] | None = None

    def stat(self) -> os.stat_result:
        """The file's: a clip is as old as what it came in."""
        return self.file.stat()


def name_of(stem: str) -> Name | None:
    """A file's name taken apart, if the data set has such a clip."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    setup, camera, performer, replication, action = map(int, match.groups())
    actions = range(1, 61) if 1 <= setup <= 17 else range(61, 121) if 18 <= setup <= 32 else ()
    there = 1 <= camera <= 3 and 1 <= performer <= 106 and replication in (1, 2) and action in actions
    return Name(setup, camera, performer, replication, action) if there else None


def files_of(data_dir: str | None) -> list[Path]:
    """The .skeleton files in name order, a clip in both folders once; a UserError where there are none, or where the
    folders have a clip in two forms.
    """
    patterns = [f"{folder}/*.skeleton" for folder in FOLDERS]
    root = release_folder("ntu_rgbd", data_dir, patterns, PUBLISHED_AT)
    by_name = {path.name: path for pattern in reversed(patterns) for path in root.glob(pattern)}
    for path in in_both_folders(data_dir):
        if not _alike(path, root / FOLDERS[1] / path.name):
            raise UserError(
                f"ntu_rgbd: {path.name} lies in {FOLDERS[0]} and, with other content, in {FOLDERS[1]} of {root}: "
                "remove the one that is not the release's."
            )
    return [by_name[name] for name in sorted(by_name)]


def in_both_folders(data_dir: str | None) -> list[Path]:
    """The files of the first folder that lie in the second one too."""
    root = release_folder("ntu_rgbd", data_dir, [f"{folder}/*.skeleton" for folder in FOLDERS], PUBLISHED_AT)
    names = {path.name for path in (root / FOLDERS[1]).glob("*.skeleton")}
    return [path for path in sorted((root / FOLDERS[0]).glob("*.skeleton")) if path.name in names]


def _alike(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes; they are read once in a process as long as they stay the same."""
    stats = one.stat(), other.stat()
    return stats[0].st_size == stats[1].st_size and _same_bytes(
        one, other, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)
    )


@cache
def _same_bytes(one: Path, other: Path, stamp: tuple[tuple[int, int], ...]) -> bool:
    return one.read_bytes() == other.read_bytes()


def usable(files: Sequence[Path]) -> list[Path]:
    """The files that the authors' list of missing skeletons does not name."""
    return [path for path in files if path.stem not in MISSING]


def read_file(path: Path) -> Float[Tensor, "T J 3"] | Broken:
    """A clip's main body, metres in the camera's own frame, T >= 1; or the reason why the file is not one."""
    if name_of(path.stem) is None:
        return Broken(
            path.name,
            "its name is not SsssCcccPpppRrrrAaaa.skeleton with cameras 1-3, performers 1-106, replications 1-2, and "
            "actions 1-60 in setups 1-17 or 61-120 in setups 18-32",
        )
    try:
        bodies = bodies_of(path.read_bytes())
    except OSError as error:
        return Broken(path.name, f"it cannot be read: {error.strerror}")
    except ValueError as error:
        return Broken(path.name, f"it is no whole .skeleton file, truncated or damaged: {error}")
    return main_body(bodies) if bodies else Broken(path.name, "no frame has a body")


def bodies_of(text: bytes) -> list[Body]:
    """Every body of a clip, in the order in which they appear. ValueError says what is wrong with the text."""
    lines = iter(enumerate(text.rstrip().split(b"\n"), 1))
    seen: dict[bytes, dict[int, list[list[float]]]] = {}
    try:
        num_frames = _count(lines)
        for frame in range(num_frames):
            for _ in range(_count(lines)):
                identity = _numbers(lines, 10)[0]
                if (num_joints := _count(lines)) != JOINTS:
                    raise ValueError(f"frame {frame} has a body of {num_joints} joints, not {JOINTS}")
                joints = [[float(value) for value in _numbers(lines, 12)[:3]] for _ in range(JOINTS)]
                seen.setdefault(identity, {})[frame] = joints
    except StopIteration:
        raise ValueError("it ends before its last frame") from None
    if next(lines, None) is not None:
        raise ValueError(f"it goes on after its {num_frames} frames")
    bodies = [Body(list(body), _tensor(list(body.values()))) for body in seen.values()]
    if not all(body.joints.isfinite().all() for body in bodies):
        raise ValueError("a coordinate is not finite")
    return bodies


def _count(lines: Iterator[tuple[int, bytes]]) -> int:
    """The next line's only number; StopIteration where there is no line."""
    number, line = next(lines)
    if not line.strip().isdigit():
        raise ValueError(f"line {number} is no count")
    return int(line)


def _numbers(lines: Iterator[tuple[int, bytes]], count: int) -> list[bytes]:
    """The next line's numbers, as text; StopIteration where there is no line."""
    number, line = next(lines)
    fields = line.split()
    if len(fields) != count:
        raise ValueError(f"line {number} has {len(fields)} numbers, not {count}")
    return fields


def _tensor(values: list[list[list[float]]]) -> Float[Tensor, "T J 3"]:
    return torch.from_numpy(single(values))  # torch.tensor takes six times as long


def main_body(bodies: Sequence[Body]) -> Float[Tensor, "T J 3"]:
    """The person who moves most, in the frames in which he or she was seen.

    As usual (the authors' FAQ; MS-G3D and CTR-GCN, `data/ntu/get_raw_denoised_data.py`): where there are several, those
    of eleven frames or fewer go, then those that are too wide for a person in most frames; motion is the variance of
    all joints over all frames, summed over x, y and z; bodies seen only before or after the main one are the same
    person under another id. Not as usual: a body lost for a moment keeps its frames' order (the field's code takes it
    for seen without a break), and where all bodies are noise, the one that moves most is taken, not the last.
    Of two people who act together only this one is seen: the nets here take one body.
    """
    if len(bodies) > 1:
        bodies = [body for body in bodies if len(body.frames) >= SHORTEST_BODY] or bodies
    if len(bodies) > 1:
        bodies = [body for body in bodies if 1 - _upright(body).float().mean() < MOST_WIDE] or bodies
    main, *others = sorted(bodies, key=_motion, reverse=True)
    person = dict(zip(main.frames, main.joints, strict=True))
    for body in others:
        if body.frames[-1] < min(person) or body.frames[0] > max(person):
            person |= dict(zip(body.frames, body.joints, strict=True))
    return torch.stack([person[frame] for frame in sorted(person)])


def main_of(stem: str, people: Float[np.ndarray, "M F J 3"]) -> Float[Tensor, "T J 3"] | Broken:
    """The main body of people side by side, with zeros where one was not seen; or the reason why there is none."""
    joints = [torch.from_numpy(single(person)) for person in people]
    if not all(person.isfinite().all() for person in joints):
        return Broken(stem, "a coordinate is not finite")
    seen = [(person != 0).flatten(1).any(1) for person in joints]
    bodies = [Body(s.nonzero().flatten().tolist(), j[s]) for s, j in zip(seen, joints, strict=True) if s.any()]
    return main_body(bodies) if bodies else Broken(stem, "no frame has a body")


def _upright(body: Body) -> Bool[Tensor, "T"]:
    """The frames in which a body is as wide as a person may be."""
    width, height, _ = (body.joints.amax(1) - body.joints.amin(1)).unbind(1)
    return width <= WIDEST * height


def _motion(body: Body) -> float:
    """In square metres; frames in which the body is too wide may lower it and not raise it."""
    upright = body.joints[_upright(body)]
    return min(_variance(joints) for joints in (body.joints, upright) if len(joints))


def _variance(joints: Float[Tensor, "T J 3"]) -> float:
    return float(joints.flatten(0, 1).var(0, correction=0).sum())
