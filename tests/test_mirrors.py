"""Where classes are mirror images of one another nobody sees a mirror image, whatever net is chosen."""

import pytest
import torch
from torch import Tensor

from fedkd.assemble import mentor_courses, student_course
from fedkd.build import build
from fedkd.config import load, options, source
from fedkd.errors import Remark
from fedkd.seeding import generator

NETS = [(group, name) for group in ("student", "teacher") for name in options(group) if name != "none"]
JOINTS = {"skeleton": 20, "pose2d": 20, "pose3d": 20, "imu": 4, "skeleton+imu": 24}


def one_sided(modality: str, count: int = 64) -> Tensor:
    """Clips of which everything is on the right: points at x = 1, or pictures that are bright on their right."""
    if modality in ("rgb", "depth"):
        pictures = torch.zeros(count, 8, 16, 16, 3 if modality == "rgb" else 1, dtype=torch.uint8)
        pictures[:, :, :, 8:] = 200
        return pictures
    points = torch.zeros(count, 8, JOINTS[modality], 2 if modality == "pose2d" else 3)
    points[..., 0] = 1
    return points


def sides(clips: Tensor) -> set[str]:
    """Where things are, over all clips."""
    if clips.dtype == torch.uint8:
        left, right = (half.float().mean((1, 2, 3, 4)) for half in clips.chunk(2, dim=3))
    else:
        left, right = torch.zeros(len(clips)), clips[..., 0].mean((1, 2))
    return {"right" if r > half else "left" for half, r in zip(left, right, strict=True)}


def looks(node, of: str) -> set[str]:
    """The sides that a net sees while it learns and at its exam."""
    seen = set()
    if node.augment is not None:
        clips = one_sided(node.get("taught_on") or node.modality)
        seen |= sides(build(node.augment)(clips, generator(0, of)))
    if node.get("glimpses") is not None:
        seen |= set.union(*(sides(look) for look in build(node.glimpses)(one_sided(node.modality, 1))))
    return seen or {"right"}


@pytest.mark.parametrize(("group", "name"), NETS)
def test_no_net_of_the_configuration_sees_a_mirror_image_of_utd_mhad(group: str, name: str) -> None:
    assert looks(load(["data=utd_mhad", f"{group}={name}"])[group], name) == {"right"}


def test_elsewhere_nets_see_them() -> None:
    for student in ("rgb_small", "rgb_s3d", "pose_net", "skeleton_net"):
        assert looks(load(["data=tiny", f"student={student}"]).student, student) == {"left", "right"}


def test_so_it_is_for_every_net_of_a_run_and_can_be_had() -> None:
    words = ["data=utd_mhad", "student=rgb_small", "teacher=stgcn", "+student@students.kinect=rgb_s3d",
             "+teacher@assistants.second=pose_net"]  # fmt: skip
    with pytest.warns(Remark, match=r"some classes of UtdMhad .*: student, teacher, students.kinect"):
        cfg = load([*words, "seed=71"])  # what was loaded before is not loaded again
    assert cfg.student.augment.flip == 0 and cfg.student.glimpses is None and cfg.student.augment.shift == 4
    for course in (student_course(cfg), student_course(cfg, "kinect"), *mentor_courses(cfg).values()):
        assert course.augment is None or course.augment.flip == 0
        assert course.glimpses is None or not course.glimpses.mirror
    allowed = load([*words, "data.mirrors=true"])
    assert allowed.student.augment.flip == 0.5 and allowed.student.glimpses is not None


def test_the_commands_of_the_focal_channel_system_mirror_no_swipe() -> None:
    [line] = [line for line in source("experiment/focal_channel").splitlines() if "data=utd_mhad with colour" in line]
    words = line.partition("videos:")[2].split()
    assert "student=rgb_small" in words
    cfg = load(["experiment=focal_channel", *words])
    assert looks(cfg.student, "focal") == {"right"} and cfg.student.augment.flip == 0


def test_nothing_is_said_of_nets_that_see_none(recwarn: pytest.WarningsRecorder) -> None:
    load(["experiment=utd_depth_focal", "seed=72"])
    assert not [w for w in recwarn if issubclass(w.category, Remark)]
