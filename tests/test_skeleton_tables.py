"""The joint tables are trees, mirror onto themselves, and fit the recordings."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from fedkd.data.skeleton_augment import mirrored
from fedkd.skeleton import KINECT_V1, NTU, SKELETONS, UTD_MHAD_TO_KINECT_V1, Skeleton

every_skeleton = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=[f"{j} joints" for j in SKELETONS])
DATA = Path(os.environ.get("FEDKD_DATA", "data that is not there"))
NW_UCLA, UTD_MHAD = DATA / "nw_ucla" / "all_sqe", DATA / "utd_mhad" / "Skeleton"


@every_skeleton
def test_every_joint_has_one_way_to_the_centre(skeleton: Skeleton) -> None:
    assert len(skeleton.parents) == len(skeleton.joints) == len(set(skeleton.joints)) == len(skeleton.bones) + 1
    for joint in range(len(skeleton.joints)):
        for _ in skeleton.joints:
            joint = skeleton.parents[joint]
        assert joint == skeleton.centre


@every_skeleton
def test_the_mirror_keeps_the_bones(skeleton: Skeleton) -> None:
    mirror = list(range(len(skeleton.joints)))
    for left, right in skeleton.pairs:
        mirror[left], mirror[right] = right, left
        assert skeleton.joints[left].replace("left", "right") == skeleton.joints[right]
    assert {(mirror[child], mirror[parent]) for child, parent in skeleton.bones} == set(skeleton.bones)
    sided = [joint for joint, name in enumerate(skeleton.joints) if "left" in name or "right" in name]
    assert sorted(joint for pair in skeleton.pairs for joint in pair) == sided


def test_kinect_v1_bones_are_those_of_the_n_ucla_feeder() -> None:
    # CTR-GCN, feeders/feeder_ucla.py, 1-based; (3, 3) is the centre.
    feeder = [(1, 2), (2, 3), (3, 3), (4, 3), (5, 3), (6, 5), (7, 6), (8, 7), (9, 3), (10, 9), (11, 10), (12, 11)]
    feeder += [(13, 1), (14, 13), (15, 14), (16, 15), (17, 1), (18, 17), (19, 18), (20, 19)]
    assert [(child - 1, parent - 1) for child, parent in feeder] == list(enumerate(KINECT_V1.parents))


def test_ntu_hands_are_pyskls() -> None:
    hands = [(child + 1, parent + 1) for child, parent in NTU.bones if child > 20]
    assert hands == [(22, 8), (23, 8), (24, 12), (25, 12)]
    assert NTU.joints[NTU.centre] == "spine shoulder"


@pytest.mark.skipif(not NW_UCLA.is_dir(), reason="set FEDKD_DATA to a folder with nw_ucla/all_sqe")
def test_n_ucla_bodies_fit_the_table() -> None:
    clips = [np.array(json.loads(path.read_text())["skeletons"]) for path in sorted(NW_UCLA.glob("*.json"))[::30]]
    lengths = np.concatenate([bone_lengths(clip, KINECT_V1) for clip in clips])  # frames, bones
    names = [KINECT_V1.joints[child] for child, _ in KINECT_V1.bones]
    typical = dict(zip(names, np.median(lengths, axis=0), strict=True))
    steady = {n: len_.std() / len_.mean() for n, len_ in zip(names, lengths.T, strict=True)}
    assert max(v for n, v in steady.items() if "knee" in n or "elbow" in n) < 0.3
    assert 0.35 < typical["left knee"] < 0.6 and 0.35 < typical["right knee"] < 0.6  # thighs, metres
    assert 0.03 < typical["left hand"] < 0.15 and 0.03 < typical["left foot"] < 0.15
    heights = np.stack([clip.mean(0)[:, 1] for clip in clips])  # clips, joints
    assert (heights.argmax(1) == KINECT_V1.joints.index("head")).mean() > 0.9


@pytest.mark.skipif(not UTD_MHAD.is_dir(), reason="set FEDKD_DATA to a folder with utd_mhad/Skeleton")
def test_utd_order_becomes_kinect_v1() -> None:
    text = (UTD_MHAD / "Skeleton_joint_order.txt").read_text().replace("center", "centre").replace("_", " ")
    named = re.findall(r"^\d+\. ([a-z ]+)[;.]", text, flags=re.MULTILINE)
    assert tuple(named[at] for at in UTD_MHAD_TO_KINECT_V1) == KINECT_V1.joints


def bone_lengths(clip: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    children, parents = np.array(skeleton.bones).T
    return np.linalg.norm(clip[:, children] - clip[:, parents], axis=-1)


def test_a_body_that_nobody_described_has_no_mirror_image() -> None:
    with pytest.raises(ValueError, match=r"bodies of 20 or 25 joints, .* got 17; add the body"):
        mirrored(torch.zeros(1, 4, 17, 3))
