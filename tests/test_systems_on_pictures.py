"""The seed papers' systems with students that see pictures, end to end on a few rendered clips.

The papers' students see RGB; what is measured on real data has poses or depth in its place.
"""

from pathlib import Path

import pytest
from tiny import statuses, summary

from fedkd.record import FUSED
from simulations.run import run_one

FEW = (
    "data=synthetic", "data.views=2", "data.train_subjects=2", "data.train_trials=1", "data.valid_subjects=1",
    "data.valid_trials=1", "data.test_subjects=1", "data.test_trials=1", "data.lab_subjects=1", "data.lab_trials=1",
    "data.size=32", "data.labels=0.4", "rounds=2", "evaluate_every=2", "speak_after=1", "teaching.rounds=1",
    "++student.schooling.epochs=1", "++teacher.schooling.epochs=1", "place.workers=1",
)  # fmt: skip
ONE_TEACHER = ("~data.depth", "~teacher@assistants.inertial", "~student@students.inertial")


@pytest.mark.parametrize(
    "words",
    [
        ("experiment=cmd_mv", "strategy=distil", "student=rgb_mobilenet"),
        ("experiment=cmd_mv", "strategy=together", "student=rgb_small"),
        ("experiment=focal_channel", "strategy=central", "student=rgb_mobilenet", *ONE_TEACHER),
        ("experiment=online", "strategy=central", "student=rgb_mobilenet"),
        pytest.param(("experiment=cmd_mv", "student=rgb_s3d", "data.frames=16"), marks=pytest.mark.slow),
        pytest.param(("experiment=cmd_mv", "student=rgb_r2plus1d"), marks=pytest.mark.slow),
        pytest.param(("experiment=cmd_mv", "student=rgb_swin3d"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_picture_student_takes_answers_and_hints(tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = run_one([*words[:1], *FEW, *words[1:], f"results_dir='{tmp_path}'"])
    assert summary(folder)["status"] == "finished" and not summary(folder)["failures"]
    assert {view for _, view in statuses(folder)} >= {"v01", "v02", FUSED}
    row = (folder / "rounds.csv").read_text().splitlines()
    columns = row[0].split(",")
    hints = [line.split(",")[columns.index("hint")] for line in row[1:]]
    assert any(hint and float(hint) > 0 for hint in hints)
