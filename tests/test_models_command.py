"""`fedkd models`: parameters and multiply-adds, against numbers worked out by hand."""

import pytest

from simulations import models
from simulations.cli import main

CLASSES = 12
SMALL = {"student": ["imu_tcn", "rgb_small"], "teacher": ["none", "tcn"]}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few nets of the configuration: all of them take a while."""
    monkeypatch.setattr(models, "options", SMALL.__getitem__)


def tcn(frames: int, values: int) -> tuple[int, int]:
    """64 channels; kernels of 3 frames, one from the values, five from 64 channels; norms of two numbers a channel."""
    enter, block, classify = 3 * values * 64, 3 * 64 * 64, 64 * CLASSES
    parameters = enter + 64 + 2 * 64 + 5 * (block + 64 + 2 * 64) + classify + CLASSES
    return parameters, frames * (enter + 5 * block) + classify


def rgb_small() -> tuple[int, int]:
    """Eight pictures of 24 x 24 squares of 2 x 2 x 3 = 12 numbers; 24 channels on 12 x 12, then 48 on 6 x 6."""
    stem, first, second, third = 9 * 12 * 48, 9 * 24 * 24, 9 * 24 * 48, 9 * 48 * 48  # 3 x 3, without bias
    short, squeeze = 24 * 48, 48 * 12  # 1 x 1, the latter with bias
    over_time, head = 3 * (12 * 6 * 6) * 96, 2 * 96 * CLASSES
    norms = 2 * (24 + 24 + 48 + 48)
    weights = stem + first + second + third + short + squeeze + over_time + head
    multiplied = 8 * (144 * (stem + first) + 36 * (second + short + third + squeeze) + over_time) + head
    return weights + norms + 12 + 96 + CLASSES, multiplied


def test_by_hand() -> None:
    found = {name: (shape, parameters, macs) for _, name, _, shape, parameters, macs in models.weigh()}
    assert found == {
        "imu_tcn": ((64, 4, 3), *tcn(64, 4 * 3)),
        "rgb_small": ((8, 48, 48, 3), *rgb_small()),
        "tcn": ((32, 20, 3), *tcn(32, 2 * 20 * 3)),  # and velocities
    }
    assert found["imu_tcn"][1:] == (65_676, 4_080_384) and found["rgb_small"][1:] == (170_328, 22_397_184)


def test_the_command_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "student imu_tcn imu 64 x 4 x 3 65,676 4.1 M" in rows
    assert "student rgb_small rgb 8 x 48 x 48 x 3 170,328 22.4 M" in rows
    assert "teacher tcn skeleton 32 x 20 x 3 86,412 2.7 M" in rows
    assert not any("none" in row for row in rows), "no net, no row"
