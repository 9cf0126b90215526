"""The place `flower`: Flower's own engine gives the same bits, its failures are failures, and nothing of it stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_processes import until
from test_resume import Killed, kill_at
from tiny import JOB, only_folder, run, started_with, summary

from simulations.cli import main
from simulations.processes import end_all, free_port

pytestmark = [pytest.mark.flower, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return summary(run(tmp_path_factory.mktemp("reference"), "place.workers=1"))


@pytest.fixture
def mark(monkeypatch, tmp_path):
    """A setting that every process started by the test has in its environment; none may be left."""
    monkeypatch.setenv("FEDKD_TEST_MARK", str(tmp_path))
    yield
    left = started_with("FEDKD_TEST_MARK", tmp_path)
    end_all(lambda: started_with("FEDKD_TEST_MARK", tmp_path))
    assert not left


@pytest.mark.usefixtures("mark")
def test_same_seed_same_bits_as_in_one_process(reference, tmp_path):
    folder = run(tmp_path, "place=flower")
    assert summary(folder)["digest"] == reference["digest"]
    assert summary(folder)["place"] == "flower"
    assert summary(folder)["bytes_up"] == reference["bytes_up"]
    assert "Starting Distil strategy" in (folder / "flower.log").read_text()


@pytest.mark.usefixtures("mark")
def test_a_run_that_was_killed_in_one_place_goes_on_in_this_one(monkeypatch, tmp_path):
    calm = summary(run(tmp_path / "calm", "rounds=4", "place.workers=1"))
    with monkeypatch.context() as patch:
        kill_at(patch, 15)
        with pytest.raises(Killed):
            run(tmp_path / "killed", "rounds=4", "place.workers=1")
    folder = only_folder(tmp_path / "killed")
    assert 0 < summary(folder)["rounds_done"] < 4
    monkeypatch.chdir(tmp_path)  # the ServerApp works elsewhere
    assert main(["run", "resume=killed", "place=flower"]) == 0
    assert summary(folder)["digest"] == calm["digest"] and summary(folder)["place"] == "flower"
    assert not (folder / "checkpoint" / "cameras").exists()


@pytest.mark.usefixtures("mark")
def test_a_run_whose_command_is_killed_leaves_nothing_of_flowers_and_goes_on_at_once(tmp_path, capsys):
    words = ("rounds=12", "place.workers=1")
    calm = summary(run(tmp_path / "calm", *words))
    asked = [*JOB, "rounds=12", "place=flower", f"results_dir='{tmp_path / 'killed'}'"]
    with subprocess.Popen([sys.executable, "-m", "simulations.cli", "run", *asked], start_new_session=True) as command:
        until(lambda: (tmp_path / "killed").exists() and rounds_done(tmp_path / "killed") > 0, seconds=120)
        scratch = at_work_in("fedkd-flower-", started_with("FEDKD_TEST_MARK", tmp_path))
        os.killpg(command.pid, signal.SIGKILL)
    folder = only_folder(tmp_path / "killed")
    assert rounds_done(tmp_path / "killed") < 12
    assert main(["run", f"resume={folder}", "place=local", "place.workers=1"]) == 0
    assert "waits half a minute for it to end" in capsys.readouterr().err
    assert summary(folder)["digest"] == calm["digest"]
    until(lambda: not started_with("FEDKD_TEST_MARK", tmp_path))
    assert not scratch.exists()


def rounds_done(results):
    return max((summary(path.parent).get("rounds_done", 0) for path in results.rglob("summary.json")), default=0)


def at_work_in(prefix, pids):
    """The one folder of this name that these processes work in."""
    [folder] = {path for path in map(_working_directory, pids) if path.name.startswith(prefix)}
    return folder


def _working_directory(pid):
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:  # ended meanwhile
        return Path()


@pytest.mark.usefixtures("mark")
def test_a_run_below_its_quorum_exits_with_2_and_one_sentence(tmp_path, capsys):
    asked = [*JOB, "place=flower", "data.broken_view=v02", "min_views=3", f"results_dir='{tmp_path}'"]
    assert main(["run", *asked]) == 2
    *_, where, sentence = capsys.readouterr().err.splitlines()  # the live view may have said what it waits for
    assert where.startswith("what the failed run wrote is in ")
    assert sentence.startswith("fedkd: 2 of 3 views answered at enrolment, 3 needed: ")
    assert "the recordings of v02 cannot be read" in sentence
    assert summary(only_folder(tmp_path))["status"] == "failed"


def test_plain_flwr_run_deals_three_views_to_the_two_supernodes_it_has(reference, tmp_path):
    home = tmp_path / "home"
    environment = {
        **os.environ,
        "HOME": str(home),
        "FLWR_HOME": str(home / ".flwr"),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ADDRESS": "local",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    try:
        ran = subprocess.run(
            ["flwr", "run", ".", "--run-config", f'overrides="{" ".join(JOB)}"', "--stream"],
            cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        end_all(lambda: started_with("FLWR_HOME", home / ".flwr"))
    folder = only_folder(home)
    assert f"the record of this run goes to {folder}" in ran.stdout
    assert summary(folder)["digest"] == reference["digest"]
    assert summary(folder)["place"] == "flower"
