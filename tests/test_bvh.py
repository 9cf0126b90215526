"""Biovision's files: places against an independent computation, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from fedkd.data.bvh import hierarchy, positions

LEGS = ("UpLeg", "UpLegRoll", "Leg", "LegRoll", "Foot", "ToeBase")
ARMS = ("Shoulder", "Arm", "ArmRoll", "ForeArm", "ForeArmRoll", "Hand")


def chain(names: list[str], offset: str, within: str = "") -> list[str]:
    """Lines of joints that hang on one another, then what else hangs on the last, or its end."""
    if not names:
        return within.split("\n") if within else ["End Site", "{", "OFFSET " + offset, "}"]
    head = [f"JOINT {names[0]}", "{", "OFFSET " + offset, "CHANNELS 3 Zrotation Yrotation Xrotation"]
    return [*head, *chain(names[1:], offset, within), "}"]


def berkeley_hierarchy() -> str:
    """Berkeley-MHAD's 30 joints and 5 ends; a person with arms out to the sides, facing +z."""
    arms = [line for side, x in (("Right", -8), ("Left", 8)) for line in chain([side + a for a in ARMS], f"{x} 0 0")]
    trunk = chain(["spine", "spine1", "spine2"], "0 8 0", "\n".join([*chain(["Neck", "Head"], "0 8 0"), *arms]))
    legs = [line for side, x in (("Right", -9), ("Left", 9)) for line in chain([side + j for j in LEGS], f"{x} -14 0")]
    root = ["ROOT Hips", "{", "OFFSET 3 4 5"]
    channels = "CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation"
    return "\n".join(["HIERARCHY", *root, channels, *trunk, *legs, "}"]) + "\n"


def write_bvh(path: Path, values: np.ndarray, hertz: float = 480.0) -> None:
    """A file as published: 174 lines before the rows, each of which ends with a space."""
    rows = "".join(" ".join(f"{value:.6f}" for value in row) + " \n" for row in values)
    path.write_text(f"{berkeley_hierarchy()}MOTION\nFrames: {len(values)}\nFrame Time: {1 / hertz:.7f}\n{rows}")


def test_the_written_files_are_those_that_were_published(tmp_path: Path) -> None:
    """30 joints, 5 ends, 93 channels and 174 lines of head, as programs that read the release say."""
    write_bvh(tmp_path / "x.bvh", np.zeros((1, 93)))
    joints = hierarchy(berkeley_hierarchy())
    assert len(joints) == 35 and sum(joint.name.endswith(" end") for joint in joints) == 5
    assert sum(len(joint.channels) for joint in joints) == 93
    assert len((tmp_path / "x.bvh").read_text().splitlines()) == 174 + 1


def test_places_agree_with_scipys_turns(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(-60, 60, (3, 93))
    write_bvh(tmp_path / "x.bvh", values, hertz=30.0)
    joints = hierarchy(berkeley_hierarchy())
    found = positions(tmp_path / "x.bvh", [joint.name for joint in joints], hertz=30.0)
    assert not isinstance(found, str)
    for row, frame in zip(values.round(6), found, strict=True):
        column, seen = 3, {}
        for at, joint in enumerate(joints):
            turn = Rotation.identity()
            if joint.channels:
                turn = Rotation.from_euler("ZYX", row[column : column + 3], degrees=True)
                column += 3
            if joint.parent is None:
                seen[at] = (row[:3], turn)  # the root's offset gives way to its position
            else:
                place, above = seen[joint.parent]
                seen[at] = (place + above.apply(joint.offset), above * turn)
            torch.testing.assert_close(frame[at], torch.tensor(seen[at][0]).float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[: text.rindex("0.0", 0, -400)], "promises 40 frames of 93 numbers"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-3]), "promises 40 frames of 93 numbers and has 37"),
        (lambda text: text[:300], "no MOTION"),
        (lambda text: text.replace("\n}", "", 1), "does not close"),
        (lambda text: text.replace("JOINT Head", "JOINT Skull"), "lacks Head"),
        *(
            (
                lambda text, time=time: text.replace("Frame Time: 0.0020833", f"Frame Time: {time}"),
                f"time is {time}, not",
            )
            for time in ("0.0", "-0.002", "inf", "nan")
        ),
        (lambda text: text.replace(" 0.000000 \n", " nan \n"), "not finite"),
        (lambda text: text.replace("OFFSET 0", "OFFSET 1e300", 1), "not finite"),
        (lambda text: text.replace(" 0.000000 \n", " x \n"), "no whole BVH file"),
    ],
)
def test_what_is_no_such_file_is_said(tmp_path: Path, damage, sentence: str) -> None:
    path = tmp_path / "x.bvh"
    write_bvh(path, np.zeros((40, 93)))
    path.write_text(damage(path.read_text()))
    assert sentence in str(positions(path, ("Hips", "Head"), hertz=30.0))
