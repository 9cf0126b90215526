"""Berkeley-MHAD's accelerometers: files, faults, protocols. Small folders in the published format are written here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from fedkd.data.berkeley_mhad import BerkeleyMhad
from fedkd.data.berkeley_mhad_files import ACTIONS, SENSORS, Recording, at_even_times, read_file
from fedkd.errors import UserError


def write_clip(root: Path, sensor: str, subject: int, action: int, repetition: int) -> Path:
    """One file as published, with a burst: two samples at one time."""
    chance = np.random.default_rng([int(sensor[1:]), subject, action, repetition])
    times = 1309539264.0 + np.sort(np.r_[chance.uniform(0, 2, 20), 0.5, 0.5])
    folder = root / "berkeley_mhad" / "Accelerometer" / f"Shimmer{sensor[1:]}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"acc_{sensor}_s{subject:02}_a{action:02}_r{repetition:02}.txt"
    np.savetxt(path, np.c_[chance.normal(size=(22, 3)), times], fmt="%.6f")
    return path


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


def test_valid5_holds_a_training_subject_back(root: Path) -> None:
    data = BerkeleyMhad(data_dir=str(root), protocol="valid5")
    view, people = data.view("h01", 0), data.subjects()
    assert {people[e] for e in view.valid.ids.tolist()} == {5} and 5 not in {people[e] for e in view.train.ids.tolist()}


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
    [("1 2 3\n", "not 4"), ("", "not 4"), ("1 2 3 x\n", "no table"), ("nan 1 2 3\n", "finite")],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_broken_files_are_named(root: Path, content: str, sentence: str) -> None:
    path = write_clip(root, "h02", 1, 1, 1)
    path.write_text(content)
    assert sentence in read_file(path).reason  # type: ignore[union-attr]
    with pytest.raises(UserError, match=path.name):
        BerkeleyMhad(data_dir=str(root)).view("h01", 0)


def test_a_wrong_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no"):
        BerkeleyMhad(data_dir=str(tmp_path)).view("h01", 0)


@pytest.mark.skipif(
    not Path(os.environ.get("FEDKD_DATA", ""), "berkeley_mhad").is_dir(), reason="FEDKD_DATA has no berkeley_mhad"
)
def test_the_recordings_at_hand_are_whole() -> None:
    report = BerkeleyMhad().check()
    assert len(report.clips) == 6 * (7 * 11 * 5 - 2) and not report.broken
    assert {clip.label for clip in report.clips} == set(ACTIONS)
