"""Whoever is told to end, or whose parent has, ends what it has started; and who has started nothing ends at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulations.processes import ends_on_sigterm, started_in


@pytest.fixture(autouse=True)
def _a_terminal() -> Iterator[None]:
    """Whatever started these tests may have been told to ignore that its terminal is gone."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_once(number: signal.Signals) -> None:
    ended, before = [], signal.getsignal(number)

    def run() -> None:
        with ends_on_sigterm():
            try:
                os.kill(os.getpid(), number)
                time.sleep(20)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)  # as after a parent that ended by the same signal
                time.sleep(0.01)
                ended.append("what was started")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert ended == ["what was started"] and signal.getsignal(number) is before


def test_who_ignores_that_the_terminal_is_gone_goes_on_doing_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with ends_on_sigterm():
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.01)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


STUDY = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from simulations.processes import end_with_parent, ends_on_sigterm

def run(folder):
    with ends_on_sigterm():
        try:
            (folder / "pid").write_text(str(os.getpid()))
            (folder / "pid").rename(folder / "started")
            time.sleep(600)
        finally:
            time.sleep(0.5)
            (folder / "ended").touch()

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        pool.submit(run, Path(sys.argv[1])).result()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_a_run_whose_study_is_killed_ends_what_it_has_started(tmp_path: Path) -> None:
    script = tmp_path / "study.py"
    script.write_text(STUDY)
    with subprocess.Popen([sys.executable, script, tmp_path]) as study:
        until(lambda: (tmp_path / "started").exists())
        worker = Path("/proc") / (tmp_path / "started").read_text()
        study.kill()
    until(lambda: not worker.is_dir())
    assert (tmp_path / "ended").exists()


GUARDED = """
import os, subprocess, sys
from pathlib import Path
from simulations.guardian import guarded

folder = Path(sys.argv[1])
with guarded(folder):
    subprocess.Popen(["sleep", "600"], cwd=folder, start_new_session=True)
    print(flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, 0])
def test_however_a_process_ends_its_guardian_ends_what_works_in_its_folder(number: int, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    command = [sys.executable, "-c", GUARDED, folder]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        assert started_in(folder)
        os.killpg(process.pid, number)
        process.stdin.close()
    until(lambda: not started_in(folder) and not folder.exists())


def until(there: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)
