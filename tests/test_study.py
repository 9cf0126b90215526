"""A study runs each combination once, and its intervals are those of its subjects."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import JOB

from fedkd.errors import UserError
from fedkd.metrics.paired_bootstrap import paired_bootstrap
from simulations.cli import main
from simulations.local import cores
from simulations.study_table import Done, _table, controls
from simulations.sweep import KILLED, jobs_for, outcomes


def test_a_method_beside_itself_differs_by_nothing() -> None:
    count = np.full((3, 4, 2), 10.0)
    right = np.arange(24.0).reshape(3, 4, 2) / 3
    assert paired_bootstrap(right, right, count) == paired_bootstrap(right, right, count)
    same = paired_bootstrap(right, right, count)
    assert (same.difference, same.low, same.high) == (0, 0, 0)


@given(st.integers(0, 1000))
def test_the_interval_holds_the_difference(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = random.integers(5, 50, (5, 6, 3)).astype(float)
    right, before = random.random((5, 6, 3)) * count, random.random((5, 6, 3)) * count
    found = paired_bootstrap(right, before, count)
    assert found.low <= found.difference <= found.high
    assert found.difference == pytest.approx(((right - before).sum((0, 1)) / count.sum((0, 1))).mean())


@pytest.mark.parametrize("axis", ["subjects", "seeds"])
def test_subjects_or_seeds_that_differ_widen_the_interval(axis: str) -> None:
    count, before = np.full((10, 10, 1), 20.0), np.full((10, 10, 1), 10.0)
    alike = paired_bootstrap(np.full((10, 10, 1), 12.0), before, count)
    assert alike.low == alike.high == pytest.approx(0.1)
    differ = np.tile(np.array([20.0, 4.0] * 5)[:, None], (10, 1, 1))  # of subjects
    apart = paired_bootstrap(differ if axis == "subjects" else differ.swapaxes(0, 1), before, count)
    assert apart.difference == pytest.approx(0.1) and apart.low < 0 < apart.high


def test_of_many_subjects_and_one_seed_the_interval_is_the_textbooks() -> None:
    """The mean of independent differences: near its normal interval, 1.96 standard errors either side."""
    right = np.random.default_rng(0).normal(10, 3, (1, 400, 1))
    found = paired_bootstrap(right, np.zeros_like(right), np.ones_like(right))
    half = 1.96 * right.std() / 20
    assert found.high - found.difference == pytest.approx(half, rel=0.05)
    assert found.difference - found.low == pytest.approx(half, rel=0.05)


def test_one_subject_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="two or more subjects"):
        paired_bootstrap(np.ones((3, 1, 2)), np.ones((3, 1, 2)), np.ones((3, 1, 2)))


def test_a_studys_interval_is_over_seeds_too() -> None:
    """Two subjects alike, two seeds apart: +50 and -50 points."""
    rows = [
        {"method": method, "seed": seed, "view": view, "subject": subject, "right": right[seed], "clips": 4}
        for method, right in (("alone", (2, 2)), ("distil", (4, 0)))
        for seed in (0, 1)
        for view in ("v01", "fused")
        for subject in (0, 1)
    ]
    *_, distil = _table(pd.DataFrame(rows), _two("alone", "distil"), "alone")
    assert distil.endswith("| +0.0 [-50.0, +50.0] | +0.0 [-50.0, +50.0] |")


def _two(*methods: str) -> list[Done]:
    result = SimpleNamespace(summary={"seed": 0, "bytes_up": 1, "bytes_down": 2})
    return [Done(method, [], result) for method in methods]  # type: ignore[arg-type]


def test_a_view_that_only_one_method_answered_for_is_a_dash_for_the_other() -> None:
    rows = [
        {"method": method, "seed": seed, "subject": subject, "view": view, "right": int(seed == subject), "clips": 1}
        for method, views in (("central", ("v01", "fused")), ("distil", ("v01", "v02", "fused")))
        for view in views
        for seed in (0, 1)
        for subject in (0, 1)
    ]
    _, _, central, distil = _table(pd.DataFrame(rows), _two("central", "distil"), "central")
    assert central == "| central | 50.0 ± 0.0 | - | 50.0 ± 0.0 | 50.0 ± 0.0 | 3 |  |  |"
    assert distil.count("50.0 ± 0.0") == 4 and distil.endswith("| +0.0 [+0.0, +0.0] | +0.0 [+0.0, +0.0] |")


def test_of_one_subject_a_table_has_the_difference_alone() -> None:
    rows = [
        {"method": method, "seed": 0, "subject": 5, "view": view, "right": right, "clips": 1}
        for method, right in (("alone", 0), ("distil", 1))
        for view in ("v01", "fused")
    ]
    *_, distil = _table(pd.DataFrame(rows), _two("alone", "distil"), "alone")
    assert distil.endswith("| +100.0 (one subject) | +100.0 (one subject) |")


def test_each_row_has_the_control_that_shares_its_other_words() -> None:
    rows = [f"{method} labels={share}{end}" for method, end in (("a", ""), ("b", " x=0")) for share in (0.1, 1.0)]
    assert controls(rows, "b x=0") == {"a labels=0.1": "b labels=0.1 x=0", "a labels=1.0": "b labels=1.0 x=0"}
    assert controls(["a", "a x=0", "b"], "a") == {"a x=0": "a", "b": "a"}  # a row of that name is everyone's
    assert controls(rows, "c") == {}


@pytest.mark.slow
def test_a_study_ends_in_a_table_and_is_not_run_twice(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    asked = [
        "study",
        str(tmp_path),
        "data=tiny",
        "data.labels=0.4",
        "student=imu_tcn",
        "rounds=1",
        "strategy=alone,labels",
    ]
    asked += ["seed=0,1", "--against", "alone", "--variant", "strategy=alone objective.label_smoothing=0"]
    assert main(asked) == 0
    table = capsys.readouterr().out
    assert "| alone |" in table and "mean minus alone" in table and "| alone objective.label_smoothing=0 |" in table
    runs = sorted((tmp_path / "runs").rglob("summary.json"))
    assert len(runs) == 6
    assert main(asked) == 0
    assert sorted((tmp_path / "runs").rglob("summary.json")) == runs


@pytest.mark.slow
def test_a_sweep_may_have_several_runs_at_once_and_says_what_they_remark(tmp_path: Path, capfd) -> None:
    words = [*JOB, "data.broken_view=v02,null", "min_views=3", f"results_dir='{tmp_path}'"]
    assert main(["run", "-m", "--jobs", "2", *words]) == 2
    said = capfd.readouterr()
    assert (
        "2 runs, 2 at once" in said.err and "1 of 2 runs failed, the others are done: data.broken_view=v02" in said.err
    )
    assert len(list(tmp_path.rglob("report.html"))) == 1


@pytest.mark.slow
def test_a_report_that_cannot_be_written_costs_no_other_run(tmp_path: Path, capsys, monkeypatch) -> None:
    def full(result, others):
        raise UserError("the disk is full")

    monkeypatch.setattr("simulations.cli.report", full)
    assert main(["run", "-m", *JOB, "seed=0,1", "place.workers=1", f"results_dir='{tmp_path}'"]) == 0
    assert capsys.readouterr().err.count("fedkd: the disk is full") == 2
    assert len(list(tmp_path.rglob("summary.json"))) == 2


def test_a_fleet_takes_one_run_at_a_time() -> None:
    assert jobs_for([["data=tiny", "place=fleet", f"seed={seed}"] for seed in (0, 1)]) == 1


def test_runs_of_a_sweep_share_a_cluster() -> None:
    runs = [["data=tiny", "place=ray", f"place.address='{address}'"] for address in ("a:1", "b:1")]
    with pytest.raises(UserError, match=r"expected one place.address for all runs of a sweep"):
        jobs_for(runs)
    assert jobs_for([["data=tiny"]]) == cores()


FAULTY = """
import os, signal
from pathlib import Path
from fedkd.errors import remark
from simulations import study, sweep

def run_one(overrides, *, results_dir, name):
    match overrides[1]:
        case "seed=1":
            os.kill(os.getpid(), signal.SIGKILL)
        case "seed=2":
            raise MemoryError("no more")
        case "seed=3":
            remark("The folder is thin.")
    return Path(overrides[1])

sweep.run_one = run_one  # in the processes of the sweep too, which import this script

if __name__ == "__main__":
    runs = [["data=tiny", f"seed={seed}"] for seed in range(5)]
    for outcome in sweep.at_once(runs, 2):
        print(*outcome, sep="|", flush=True)
    study.study(Path("study"), runs, command="", against=None, jobs=2)
"""


def test_a_run_that_is_killed_or_raises_costs_a_sweep_that_run_alone(tmp_path: Path) -> None:
    script = tmp_path / "faulty.py"
    script.write_text(FAULTY)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[:5] == [
        "seed=0|",
        f"None|{KILLED}",
        "None|MemoryError: no more",
        "seed=3|fedkd: The folder is thin.",
        "seed=4|",
    ]
    remarked, *_, sentence = done.stderr.splitlines()
    assert remarked == "fedkd: The folder is thin.", "no failure, and said"
    failed = f"2 of 5 runs failed, the others are kept: seed=1: {KILLED}; seed=2: MemoryError: no more"
    assert sentence == f"fedkd.errors.UserError: {failed}"


def test_one_after_the_other_too_a_run_that_raises_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_one(overrides: list[str]) -> Path:
        if "seed=1" in overrides:
            raise MemoryError("no more")
        return Path(overrides[1])

    monkeypatch.setattr("simulations.sweep.run_one", run_one)
    runs = [["data=tiny", f"seed={seed}"] for seed in range(3)]
    assert list(outcomes(runs, None)) == [(Path("seed=0"), ""), (None, "MemoryError: no more"), (Path("seed=2"), "")]
    with pytest.raises(MemoryError):
        list(outcomes(runs[1:2], None))


@pytest.mark.parametrize("jobs", ["-1", "0", "two", "1.5"])
def test_as_many_runs_at_once_as_can_be(jobs: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for verb in (["run", "-m"], ["study", str(tmp_path)]):
        with pytest.raises(SystemExit) as ended:
            main([*verb, "--jobs", jobs, "data=tiny"])
        assert ended.value.code == 2
        assert f"--jobs: expected how many runs at once, 1 or more, got '{jobs}'" in capsys.readouterr().err


ENDLESS = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from simulations.processes import end_with_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_a_killed_study_leaves_no_run_behind(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as study:
        assert study.stdout is not None
        worker = Path("/proc") / study.stdout.readline().strip()
        assert worker.is_dir()
        study.kill()
    deadline = time.monotonic() + 20
    while worker.is_dir():
        assert time.monotonic() < deadline, "the worker outlives its study"
        time.sleep(0.1)
