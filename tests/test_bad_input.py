"""What goes wrong is said in one sentence, the exit code is not zero, and nothing written is lost."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NoReturn

import pytest
import test_berkeley_mhad
import test_hmdb51
import test_mmact
import test_ntu_rgbd
import test_nw_ucla
from test_utd_mhad import write_clip
from tiny import JOB, only_folder, run, summary

from fedkd.errors import UserError
from fedkd.record import Record
from fedkd.results import load as read
from simulations.cli import main

CONFIG = "seed: 0\n"


def fails(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """The one sentence with which a command ends."""
    assert main(arguments) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fedkd: ")]
    assert len(said) == 1
    return said[0]


def test_an_unknown_setting(capsys: pytest.CaptureFixture) -> None:
    assert "unknown setting 'bogus'" in fails(capsys, "run", "bogus=1")


def test_a_mistake_late_in_a_sweep_is_found_before_its_first_run(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    said = fails(capsys, "run", "-m", "data=tiny", f"results_dir={tmp_path}", "strategy=alone,aloone")
    assert "aloone" in said and not list(tmp_path.iterdir())


def test_an_unknown_data_set(capsys: pytest.CaptureFixture) -> None:
    assert "data/nowhere" in fails(capsys, "data", "check", "nowhere")


def test_a_data_set_that_is_made_has_nothing_to_check(capsys: pytest.CaptureFixture) -> None:
    assert "nothing to check" in fails(capsys, "data", "check", "tiny")


def test_a_missing_data_folder(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    said = fails(
        capsys, "run", "experiment=nw_ucla_10", f"data_dir={tmp_path}/no", f"results_dir={tmp_path}", "place.workers=1"
    )
    assert said.count("nw_ucla finds no all_sqe") == 1, "all three views say it"


def write_ntu(root: Path) -> None:
    test_ntu_rgbd.write_release(root, performers=(1,), actions=(1,))


def write_berkeley(root: Path) -> None:
    test_berkeley_mhad.write_clip(root, "h01", 1, 1, 1)


def write_nw_ucla(root: Path) -> None:
    test_nw_ucla.write_clip(root, 1, 1, 0, "v01")


def write_utd(root: Path) -> None:
    for modality in ("skeleton", "inertial"):
        write_clip(root, 1, 1, 1, modality)


def write_mmact(root: Path) -> None:
    for sensor in test_mmact.SENSORS:
        test_mmact.write_reading_of(root, sensor, 1, 1, 1, "walking")


@pytest.mark.parametrize(
    ("name", "write", "inside"),
    [
        ("ntu_rgbd", write_ntu, "nturgb+d_skeletons"),
        ("nw_ucla", write_nw_ucla, "all_sqe"),
        ("berkeley_mhad", write_berkeley, "Accelerometer"),
        ("utd_mhad", write_utd, "Skeleton"),
        ("mmact", write_mmact, "trimmed"),
        ("hmdb51", test_hmdb51.write_folder, "*"),
    ],
)
def test_a_folder_one_level_too_high_or_too_deep(
    capsys: pytest.CaptureFixture, tmp_path: Path, name: str, write: Callable[[Path], None], inside: str
) -> None:
    root = tmp_path / "data"
    write(root)
    for place in (tmp_path, root / name, root / name / inside, root / "nowhere"):
        for verb in ("check", "prepare") if name != "berkeley_mhad" else ("check",):
            said = fails(capsys, "data", verb, name, f"data_dir={place}", f"data.prepared_dir={tmp_path}/kept")
            assert f"{name} finds no {inside}" in said and f" in {place}/{name}: set data_dir=" in said
    assert main(["data", "check", name, f"data_dir={root}", f"data.prepared_dir={tmp_path}/kept"]) == 0


@pytest.mark.filterwarnings("ignore::fedkd.errors.Remark")
def test_a_teacher_that_no_view_has_recordings_for(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    words = (*JOB, f"results_dir={tmp_path}", "place.workers=1", "teacher.modality=depth")
    assert main(["run", *words]) == 2
    assert "expected a view that recorded what the teacher sees, depth" in capsys.readouterr().err


def test_a_net_that_cannot_take_the_clips(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    said = fails(
        capsys, "run", *JOB, f"results_dir={tmp_path}", "place.workers=1", "student=pose_net", "student.modality=imu",
        "student.taught_on=imu",
    )  # fmt: skip
    assert "PoseNet cannot be made: A net over a skeleton needs clips [T J D]" in said


def test_a_teacher_that_a_strategy_ignores_is_noted(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    job = ("data=tiny", "student=imu_tcn", "rounds=1", "place.workers=1", f"results_dir={tmp_path}")
    assert main(["run", *job, "strategy=fedavg", "teacher=tcn"]) == 0
    assert "strategy=fedavg has no use for a teacher" in capsys.readouterr().err
    assert main(["run", *job, "strategy=fedavg", "teacher=none"]) == 0
    assert "no use for" not in capsys.readouterr().err


def test_too_few_views(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    said = fails(capsys, "run", "data=synthetic", "data.views=1", f"results_dir={tmp_path}")
    assert "needs 2 or more views" in said and not list(tmp_path.iterdir())


def test_a_thin_folder_is_remarked_on_in_one_line_and_once(tmp_path: Path) -> None:
    for subject in range(1, 9):
        for action, modality in product((1, 2), ("skeleton", "inertial")):
            write_clip(tmp_path, action, subject, 1, modality)
    words = ["experiment=utd_inertial", "strategy=labels", "rounds=1", "data.frames=16", "place.workers=2"]
    run = [sys.executable, "-m", "simulations.cli", "run", *words, f"data_dir={tmp_path}", f"results_dir={tmp_path}"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "published" in line]
    assert done.returncode == 0 and said == [
        f"fedkd: utd_mhad: 16 of 861 published {modality} clips in {tmp_path}/utd_mhad"
        for modality in ("skeleton", "inertial")
    ], done.stderr


def test_a_result_folder_that_exists(tmp_path: Path) -> None:
    Record(tmp_path / "run", CONFIG, {"seed": 0})
    with pytest.raises(UserError, match="expected a new result folder"):
        Record(tmp_path / "run", CONFIG, {"seed": 0})


def test_a_results_dir_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make the result folder"):
        Record(tmp_path / "file" / "run", CONFIG, {"seed": 0})


def test_all_clients_fail_and_say_why(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    teacher = tmp_path / "no.safetensors"
    said = fails(
        capsys,
        "run",
        *JOB,
        f"results_dir={tmp_path}",
        "place.workers=1",
        "teaching.origin=file",
        f"teaching.file={teacher}",
    )
    assert "expected the teacher's weights" in said
    [folder] = tmp_path.rglob("summary.json")
    summary = json.loads(folder.read_text())
    assert summary["status"] == "failed" and "teacher's weights" in summary["reason"]


def test_a_failed_run_says_where_its_record_is(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    lost = ("data.broken_view=v02", "min_views=3", "place.workers=1", f"results_dir={tmp_path}")
    assert main(["run", *JOB, *lost]) == 2
    [summary] = tmp_path.rglob("summary.json")
    assert f"what the failed run wrote is in {summary.parent};" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("v03"), "KeyError: 'v03'"),
        (RuntimeError("the first line,\n  and the second"), "RuntimeError: the first line, and the second"),
        (UserError("a sentence."), "a sentence."),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_a_failed_run_records_its_error(
    error: BaseException, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def raises(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr("strategies.app.muster", raises)
    with pytest.raises(type(error)):
        run(tmp_path, "place.workers=1")
    assert summary(only_folder(tmp_path))["reason"] == reason


def test_a_sweep_goes_on_after_a_failed_run_and_names_it(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    sweep = ("data.broken_view=v02,v09,null", "strategy=alone", "min_views=2", "place.workers=1")
    assert main(["run", "-m", *JOB, *sweep, f"results_dir={tmp_path}"]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("fedkd: 1 of 3 runs failed, the others are done: data.broken_view=v09")
    assert "data.broken_view=v09 failed: tiny has the views" in said.err
    assert "broken_view=v02" in said.out.splitlines()[-2] and "broken_view=None" in said.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("study", "{folder}", "seed=0", "--jobs", "1", "nope=1"), "fedkd: unknown setting 'nope'"),
        (("run", "-m", *JOB, "--jobs", "1", "nope=1"), "fedkd: unknown setting 'nope'"),
        (("run", "seed=0", "--jobs", "1", "--nope", "seed=1"), "fedkd: error: unrecognized arguments: --nope"),
        (("models", "nope=1"), "fedkd: error: unrecognized arguments: nope=1"),
    ],
)
def test_settings_may_stand_after_options_and_none_is_overlooked(
    capsys: pytest.CaptureFixture, tmp_path: Path, words: Sequence[str], said: str
) -> None:
    try:
        code = main([word.format(folder=tmp_path / "study") for word in words])
    except SystemExit as stopped:  # argparse's own way
        code = stopped.code
    assert code == 2 and said in capsys.readouterr().err


FILLING = """
import sys
from fedkd.errors import UserError
from fedkd.record import Record
record = Record({folder!r}, "seed: 0\\n", {summary!r})
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    for round in range(1, 1000):
        record.rows([{{"round": round, "view": "v01", "status": "ok", "accuracy": 0.5}}])
        record.update(rounds_done=round)
except UserError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on the size of files")
def test_a_disk_that_fills_leaves_a_readable_record(tmp_path: Path) -> None:
    entries = ("method", "dataset", "protocol", "place")
    summary = {name: name for name in entries} | {"seed": 0, "rounds": 999, "views": ["v01"], "accuracy": {}}
    summary |= dict.fromkeys(("accuracy_mean", "accuracy_fused", "digest")) | {
        "bytes_up": 0,
        "bytes_down": 0,
        "suspects": [],
    }
    folder = tmp_path / "run"
    script = "from pathlib import Path\n" + FILLING.format(folder=None, summary=summary).replace(
        "None,", "Path(sys.argv[1]),", 1
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "cannot write to" in done.stdout and "File too large" in done.stdout
    result = read(folder)
    assert 0 < result.rounds_done < 999
    assert len(result.rounds) >= result.rounds_done
