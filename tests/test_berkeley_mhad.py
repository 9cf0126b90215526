"""Berkeley-MHAD's accelerometers: files, faults, protocols. Small folders in the published format are written here."""

from __future__ import annotations

import os
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from test_bvh import write_bvh

from fedkd.data.berkeley_mhad import BerkeleyMhad
from fedkd.data.berkeley_mhad_files import ACTIONS, SENSORS, Recording, at_even_times, read_file
from fedkd.data.berkeley_mhad_kinect import read_pgm
from fedkd.data.berkeley_mhad_mocap import Pose, read_pose
from fedkd.data.check import Broken
from fedkd.data.pool import pool
from fedkd.errors import Remark, UserError
from fedkd.results import load as read
from fedkd.skeleton import KINECT_V1
from simulations.run import run_one


def write_clip(root: Path, sensor: str, subject: int, action: int, repetition: int) -> Path:
    """One file as published, with a burst: two samples at one time."""
    chance = np.random.default_rng([int(sensor[1:]), subject, action, repetition])
    times = 1309539264.0 + np.sort(np.r_[chance.uniform(0, 2, 20), 0.5, 0.5])
    folder = root / "berkeley_mhad" / "Accelerometer" / f"Shimmer{sensor[1:]}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"acc_{sensor}_s{subject:02}_a{action:02}_r{repetition:02}.txt"
    np.savetxt(path, np.c_[chance.normal(size=(22, 3)), times], fmt="%.6f")
    return path


def write_pose(root: Path, subject: int, action: int, repetition: int, frames: int = 64) -> Path:
    """One skeleton file as published; every clip's turns differ."""
    folder = root / "berkeley_mhad" / "Mocap" / "SkeletalData"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"skl_s{subject:02}_a{action:02}_r{repetition:02}.bvh"
    turns = np.random.default_rng([subject, action, repetition]).uniform(-20, 20, (frames, 90))
    write_bvh(path, np.c_[np.full((frames, 3), (50.0, 90.0, 10.0)), turns])
    return path


def write_depth(root: Path, kinect: int, subject: int, action: int, repetition: int, frames: int = 3) -> Path:
    """One recording's depth pictures, smaller than published: a person at 2.5 m before a wall at 4 m."""
    numbers = f"s{subject:02}_a{action:02}_r{repetition:02}"
    folder = root.joinpath("berkeley_mhad", "Kinect", f"Kin{kinect:02}", *numbers.upper().split("_"))
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        picture = np.full((24, 32), 4000, ">u2")
        picture[4:20, 10 + frame : 18 + frame] = 2500 + 10 * subject
        path = folder / f"kin_k{kinect:02}_{numbers}_depth_{frame:05}.pgm"
        path.write_bytes(b"P5\n32 24\n65535\n" + picture.tobytes())
    return path


def quietly(paths, count, store):
    return paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two actions by seven people, two repetitions, six sensors."""
    for sensor in SENSORS:
        for subject in range(1, 8):
            for action in (1, 11):
                for repetition in (1, 2):
                    write_clip(tmp_path, sensor, subject, action, repetition)
    return tmp_path


def test_each_sensor_is_a_view_of_the_same_events(root: Path) -> None:
    data = BerkeleyMhad(data_dir=str(root))
    views = [data.view(name, 0) for name in data.view_names()]
    assert len(views) == 6 and all(view.train.ids.equal(views[0].train.ids) for view in views)
    assert views[0].train.streams["imu"].shape == (5 * 2 * 2, 96, 1, 3) and views[0].shared.all()
    people = data.subjects()
    assert {people[e] for e in views[0].train.ids.tolist()} == {1, 2, 3, 4, 5}
    assert {people[e] for e in views[0].test.ids.tolist()} == {6, 7}


def test_together_one_view_sees_all_sensors(root: Path) -> None:
    data = BerkeleyMhad(data_dir=str(root), together=True, frames=20)
    body = data.view("body", 0).train.streams["imu"]
    sensor = BerkeleyMhad(data_dir=str(root), frames=20).view("h03", 0).train.streams["imu"]
    assert body.shape[2:] == (6, 3) and body[:, :, 2:3].equal(sensor)


def test_events_that_a_sensor_did_not_record_are_counted(root: Path) -> None:
    for name in ("Shimmer03/acc_h03_s06_a01_r01", "Shimmer05/acc_h05_s06_a01_r01", "Shimmer05/acc_h05_s01_a01_r01"):
        (root / "berkeley_mhad" / "Accelerometer" / f"{name}.txt").unlink()
    data = BerkeleyMhad(data_dir=str(root), together=True, frames=20)
    with pytest.warns(Remark, match="2 of 28 events are left out of body: h03 lacks 1, h05 lacks 2"):
        body = data.view("body", 0)
    assert len(body.train) == 19 and len(body.test) == 7


def test_valid5_holds_a_training_subject_back(root: Path) -> None:
    data = BerkeleyMhad(data_dir=str(root), protocol="valid5")
    view, people = data.view("h01", 0), data.subjects()
    assert {people[e] for e in view.valid.ids.tolist()} == {5} and 5 not in {people[e] for e in view.train.ids.tolist()}


def test_first7_trains_on_seven_and_tests_the_other_five(root: Path) -> None:
    for sensor, subject, action in product(SENSORS, range(8, 13), (1, 11)):
        write_clip(root, sensor, subject, action, 1)
    data = BerkeleyMhad(data_dir=str(root), protocol="first7")
    view, people = data.view("h01", 0), data.subjects()
    assert Counter(people[e] for e in view.train.ids.tolist()) == dict.fromkeys(range(1, 8), 4)
    assert Counter(people[e] for e in view.test.ids.tolist()) == dict.fromkeys(range(8, 13), 2)
    assert not len(view.valid)


def test_first7_without_its_test_subjects_says_what_is_missing(root: Path) -> None:
    with pytest.raises(UserError, match=r"no clip of 8, 9, 10, 11, 12.*first5"):
        BerkeleyMhad(data_dir=str(root), protocol="first7").view("h01", 0)


def test_clips_are_resampled_by_their_times() -> None:
    """Three samples at 0, 1 and 4 seconds on a line: even moments lie on it, whatever the samples' spacing."""
    line = torch.tensor([[0.0, 0, 0], [1.0, 2, 3], [4.0, 8, 12]])
    clip = Recording("e", 0, 1, "h01", line, torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64))
    torch.testing.assert_close(at_even_times(clip, 5), torch.arange(5)[:, None] * torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("1 2 3\n", "not 4"),
        ("", "not 4"),
        ("1 2 3 x\n", "no table"),
        ("nan 1 2 3\n", "finite"),
        ("1e300 1 2 3\n", "finite"),
        ("1 2 3 1309539264.1\n1 2 3 1309539264.2", "last line does not end"),
        ("1 2 3 1309539264.1\n1 2 3 13095\n", "its times are 1.31e+09 s apart"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_broken_files_are_named(root: Path, content: str, sentence: str) -> None:
    path = write_clip(root, "h02", 1, 1, 1)
    path.write_text(content)
    assert sentence in read_file(path).reason  # type: ignore[union-attr]
    with pytest.raises(UserError, match=path.name):
        BerkeleyMhad(data_dir=str(root)).view("h01", 0)


def test_a_file_cut_anywhere_is_named(root: Path) -> None:
    path = write_clip(root, "h02", 1, 1, 1)
    whole = path.read_text()
    for cut in range(len(whole) - 60, len(whole)):
        path.write_text(whole[:cut])
        assert isinstance(read_file(path), Recording) == (whole[cut - 1] == "\n"), "but between two lines"


@pytest.mark.parametrize("name", ["acc_h02_s01_a12_r01", "acc_h02_s13_a01_r01", "acc_h02_s01_a01_r06"])
def test_a_clip_that_the_data_set_does_not_have_is_named(root: Path, name: str) -> None:
    path = write_clip(root, "h02", 1, 1, 1)
    path.rename(path.with_stem(name))
    assert isinstance(read_file(path.with_stem(name)), Broken)
    with pytest.raises(UserError, match=f"1 files .*{name}"):
        BerkeleyMhad(data_dir=str(root)).view("h01", 0)


def test_a_wrong_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="finds no"):
        BerkeleyMhad(data_dir=str(tmp_path)).view("h01", 0)


@pytest.fixture
def whole(root: Path) -> Path:
    """The same events, with motion capture and both Kinects."""
    for subject in range(1, 8):
        for action in (1, 11):
            for repetition in (1, 2):
                write_pose(root, subject, action, repetition)
                for kinect in (1, 2):
                    write_depth(root, kinect, subject, action, repetition)
    return root


def test_the_skeleton_is_a_kinects_in_metres(tmp_path: Path) -> None:
    """The written person stands straight: 16 units of neck above its hips' 90, arms out, its left on +x."""
    path = write_pose(tmp_path, 1, 1, 1, frames=64)
    write_bvh(path, np.tile([50.0, 90.0, 10.0, *[0.0] * 90], (64, 1)))
    pose = read_pose(path)
    assert isinstance(pose, Pose) and (pose.event, pose.label, pose.subject) == ("s01_a01_r01", 0, 1)
    assert pose.joints.shape == (4, 20, 3), "480 Hz, of which every 16th frame is kept"
    at = dict(zip(KINECT_V1.joints, pose.joints[0], strict=True))
    torch.testing.assert_close(at["hip centre"], torch.tensor([0.5, 0.9, 0.1]))
    for above, below in (("head", "shoulder centre"), ("shoulder centre", "spine"), ("spine", "hip centre")):
        assert at[above][1] > at[below][1] + 0.05
    for joint in ("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "foot"):
        left, right = at[f"left {joint}"], at[f"right {joint}"]
        assert left[0] > 0.5 > right[0] and left[1] == right[1], joint
    assert at["left hand"][0] > at["left wrist"][0] > at["left elbow"][0] > at["left shoulder"][0]


def test_pooled_the_motion_capture_lies_beside_every_sensor(whole: Path) -> None:
    data = BerkeleyMhad(data_dir=str(whole), views=["h01", "h02", "mocap"], frames=16)
    first, second, mocap = (data.view(name, 0) for name in data.view_names())
    train = pool([first, second, mocap], share_labels=True).train
    skeletons = mocap.train.streams["skeleton"]
    assert train.stream("skeleton+imu").shape == (40, 16, 21, 3)
    assert train.streams["skeleton"].equal(torch.cat([skeletons, skeletons]))
    assert train.streams["imu"].equal(torch.cat([first.train.streams["imu"], second.train.streams["imu"]]))
    assert train.labels.equal(torch.cat([mocap.train.labels, mocap.train.labels]))
    hips = skeletons[:, :, 0].mean(1)
    torch.testing.assert_close(hips, torch.zeros_like(hips), atol=1e-5, rtol=0)


def test_the_progressive_system_runs_on_a_sensor_and_the_motion_capture(whole: Path) -> None:
    words = ["experiment=progressive", "data=berkeley_mhad", "data.views=[h01,mocap]", "~student@students.kinect"]
    small = ["data.frames=16", "rounds=1", "evaluate_every=1", "teaching.rounds=1", "place.workers=1"]
    summary = read(run_one([*words, *small, f"data_dir={whole}", f"results_dir={whole}/results"])).summary
    assert summary["status"] == "finished" and summary["suspects"] == [] and summary["accuracy"]["h01"] is not None


def test_an_event_without_motion_capture_is_left_out_where_it_is_needed(whole: Path) -> None:
    (whole / "berkeley_mhad" / "Mocap" / "SkeletalData" / "skl_s01_a01_r01.bvh").unlink()
    views = ["h01", "mocap"]
    data = BerkeleyMhad(data_dir=str(whole), views=views)
    assert len(data.view("h01", 0).train) == 20 and (~data.view("h01", 0).shared).sum() == 1
    assert len(data.view("mocap", 0).train) == 19
    assert len(pool([data.view(view, 0) for view in views], share_labels=True).train) == 19


def test_kinects_are_prepared_once(whole: Path) -> None:
    data = BerkeleyMhad(data_dir=str(whole), views=["k01", "k02"], prepared_dir=str(whole / "kept"))
    with pytest.raises(UserError, match=r"56 clips are not prepared.*fedkd data prepare berkeley_mhad"):
        data.view("k01", 0)
    assert data.prepare(quietly) == []
    train = data.view("k01", 0).train
    depth = train.streams["depth"]
    assert depth.shape == (20, 16, 48, 48, 1) and depth.dtype == torch.uint8 and data.view("k01", 0).shared.all()
    assert depth.amax() > 0 and (depth == 0).any(), "the wall is background"


def test_the_check_counts_every_modality_that_is_there(whole: Path) -> None:
    report = BerkeleyMhad(data_dir=str(whole), prepared_dir=str(whole / "kept")).check()
    assert report.views == (*SENSORS, "k01", "k02", "mocap") and len(report.clips) == 9 * 28
    assert report.events_of_all_views() == 28 and ["not read yet" in note for note in report.notes] == [True]
    (whole / "berkeley_mhad" / "Kinect").rename(whole / "away")
    report = BerkeleyMhad(data_dir=str(whole)).check()
    assert report.views == (*SENSORS, "mocap") and ["no kinect" in note for note in report.notes] == [True]


def test_t_poses_and_backgrounds_are_no_actions_and_counted(whole: Path) -> None:
    """Named as in the release's Time_stamps: one T-pose and two backgrounds a subject."""
    release = whole / "berkeley_mhad"
    pose = release / "Mocap" / "SkeletalData" / "skl_s01_a01_r01.bvh"
    for name in ("s01_t-pose", "s12_t-pose", "s01_b01", "s01_b02"):
        pose.with_stem(f"skl_{name}").write_bytes(pose.read_bytes())
    (release / "Accelerometer" / "Shimmer02" / "acc_h02_s01_t-pose.txt").write_text("1 0 0 1309539264.1\n")
    data = BerkeleyMhad(data_dir=str(whole), views=["h02", "mocap"])
    report = data.check()
    assert not report.broken and sum(clip.view == "mocap" for clip in report.clips) == 28
    assert "5 files are of T-poses and backgrounds, no actions, and left out" in report.notes
    assert len(data.view("mocap", 0).train) == 20
    pose.with_stem("skl_s01_t-pos").write_bytes(pose.read_bytes())
    assert [fault.name for fault in data.check().broken] == ["skl_s01_t-pos.bvh"], "no other name is let through"


@pytest.mark.parametrize("view", ["mocap", "k01"])
def test_a_modality_that_is_not_there_is_one_sentence(root: Path, view: str) -> None:
    with pytest.raises(UserError, match=r"finds no .*unpack that modality"):
        BerkeleyMhad(data_dir=str(root), views=["h01", view]).view("h01", 0)


def test_unknown_views_are_refused() -> None:
    with pytest.raises(UserError, match=r"has the views h01.*mocap, got \['k03'\]"):
        BerkeleyMhad(views=["k03"])


SAID = ("1 of its 3", "truncated", "nearer", "name is not", "1 depth pictures more than the 3")


def test_faults_of_depth_recordings_are_named(whole: Path) -> None:
    kinect = whole / "berkeley_mhad" / "Kinect" / "Kin01"
    (kinect / "S01" / "A01" / "R01" / "kin_k01_s01_a01_r01_depth_00001.pgm").unlink()
    cut = kinect / "S01" / "A01" / "R02" / "kin_k01_s01_a01_r02_depth_00002.pgm"
    cut.write_bytes(cut.read_bytes()[:100])
    for path in (kinect / "S02" / "A01" / "R01").iterdir():
        path.write_bytes(path.read_bytes()[:15] + np.full((24, 32), 9000, ">u2").tobytes())
    (kinect / "S03" / "A01" / "R01").rename(kinect / "S03" / "A01" / "R09")
    twice = kinect / "S03" / "A01" / "R02" / "kin_k01_s03_a01_r02_depth_00001.pgm"
    twice.with_stem("copy_of_depth_00001").write_bytes(twice.read_bytes())
    data = BerkeleyMhad(data_dir=str(whole), views=["k01", "k02"], prepared_dir=str(whole / "kept"))
    report = data.check()
    assert len(report.broken) == 1, "what names tell; pictures are not opened"
    assert report.notes == ["55 depth recordings not read yet: `fedkd data prepare berkeley_mhad` reads them once"]
    reasons = [fault.reason for fault in data.prepare(quietly)]
    assert [sum(word in r for r in reasons) for word in SAID] == [1] * 5
    report = data.check()
    assert len(report.broken) == 5 and sum(clip.view == "k01" for clip in report.clips) == 28 - 5 and not report.notes
    with pytest.raises(UserError, match="5 recordings are broken"):
        data.view("k01", 0)


def test_a_pgm_of_eight_bits_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.pgm"
    path.write_bytes(b"P5\n# of OpenCV\n2 2\n255\n" + bytes(4))
    assert "16 bits" in str(read_pgm(path))
    path.write_bytes(b"P5\n# of OpenCV\n2 1\n65535\n" + bytes([9, 196, 0, 1]))
    picture = read_pgm(path)
    assert not isinstance(picture, str) and picture.tolist() == [[2500, 1]]


@pytest.mark.skipif(
    not Path(os.environ.get("FEDKD_DATA", ""), "berkeley_mhad").is_dir(), reason="FEDKD_DATA has no berkeley_mhad"
)
def test_the_recordings_at_hand_are_whole() -> None:
    report = BerkeleyMhad().check()
    assert len(report.clips) == 6 * (7 * 11 * 5 - 2) and not report.broken
    assert {clip.label for clip in report.clips} == set(ACTIONS)
