"""The live view: it follows a folder that grows, waits for one that is not there, and is silent afterwards."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console
from test_results import record_round, record_run

from fedkd.record import Record
from fedkd.results import load
from simulations import flower, live
from simulations.live import line, panel, watch


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_POLL_SECONDS", 0.02)


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=100, height=40, force_terminal=terminal, highlight=False)


def said(screen: Console) -> str:
    return screen.file.getvalue()  # type: ignore[attr-defined]


def until(truth: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not truth():
        assert time.monotonic() < end, "waited ten seconds"
        time.sleep(0.01)


def follow(folder: Path, model: Path, screen: Console) -> None:
    """A run of three rounds under the eyes of the live view."""
    summary = load(record_run(model)).summary
    with watch(folder, screen):
        time.sleep(0.05)  # no folder yet
        begun = {**summary, "rounds_done": 0, "accuracy": {}, "accuracy_mean": None, "accuracy_fused": None}
        record = Record(folder, "", begun)
        for number in (1, 2, 3):
            record_round(record, number, failures := [], "top")
            if number < 3:
                until(lambda seen=f"{number}": f"{seen}/3" in said(screen) or f"{seen} of 3" in said(screen))
    assert failures


def test_one_plain_line_a_round_where_there_is_no_terminal(tmp_path: Path) -> None:
    screen = console(terminal=False)
    follow(tmp_path / "run", tmp_path / "model", screen)
    lines = said(screen).splitlines()
    assert [text.split("  ")[0] for text in lines] == ["round 1/3", "round 2/3", "round 3/3"]
    assert "left 60.0%" in lines[0]
    assert "fused 70.0%" in lines[0]
    assert "top failed" in lines[1]
    assert "\x1b" not in said(screen)


def test_of_a_run_that_goes_on_the_new_rounds_are_told(tmp_path: Path) -> None:
    record_run(tmp_path / "run", end="running")
    screen = console(terminal=False)
    record = Record.again(tmp_path / "run")
    with watch(record.folder, screen):
        record_round(record, 3, [])
        until(lambda: "round 3/3" in said(screen))
    record.close()
    assert [text.split("  ")[0] for text in said(screen).splitlines()] == ["round 3/3"]


def test_on_a_terminal_the_panel_vanishes(tmp_path: Path) -> None:
    screen = console(terminal=True)
    follow(tmp_path / "run", tmp_path / "model", screen)
    text = said(screen)
    assert "2 of 3 rounds" in text
    assert "\x1b[?25l" in text, "the cursor is hidden while the panel is redrawn"
    assert text.rindex("\x1b[?25h") > text.rindex("2 of 3 rounds"), "and comes back"
    assert text.rstrip().endswith("\x1b[2K"), "the last thing written erases the panel"


@pytest.mark.parametrize("terminal", [True, False])
def test_afterwards_there_is_no_thread_and_no_word(tmp_path: Path, terminal: bool) -> None:
    screen = console(terminal=terminal)
    before = threading.active_count()
    with watch(tmp_path / "run", screen):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    words = said(screen)
    record_run(tmp_path / "run")
    time.sleep(0.1)
    assert said(screen) == words


def test_an_error_of_the_run_comes_through(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), watch(tmp_path / "run", console(terminal=True)):
        raise ZeroDivisionError
    assert threading.active_count() == before


def test_a_damaged_record_does_not_end_the_view(tmp_path: Path) -> None:
    folder, screen = record_run(tmp_path / "run", end="running"), console(terminal=False)
    whole = (folder / "summary.json").read_bytes()
    (folder / "summary.json").write_bytes(whole[:50])
    with watch(folder, screen):
        time.sleep(0.1)
        assert said(screen) == ""
        (folder / "summary.json").write_bytes(whole)
        until(lambda: "round 2/3" in said(screen))


def test_a_line_and_a_panel_say_what_is_left(tmp_path: Path) -> None:
    result = load(record_run(tmp_path / "run", end="running", dead="top"))
    assert line(result, 2, 61.0).endswith("1 min 1 s left")
    screen = console(terminal=False)
    screen.print(panel(result, 10.0, 61.0))
    assert "1 min 1 s left" in said(screen)
    assert "failed in round 2: camera [lost]" in said(screen)


@pytest.mark.parametrize("reminder", [0.0, 1e9])
def test_what_a_run_waits_for_is_shown_as_it_counts_down(
    reminder: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "REMINDER_SECONDS", reminder)
    heading = {**load(record_run(tmp_path / "model")).summary, "accuracy": {}, "accuracy_mean": None}
    del heading["rounds_done"]  # enrolment is yet to come
    record, plain, terminal = Record(tmp_path / "run", "", heading), console(terminal=False), console(terminal=True)
    with watch(record.folder, plain), watch(record.folder, terminal):
        for left in range(100, 0, -1):
            record.wait_for(f"2 of 3 views are here: waiting for top, {left} s left")
            time.sleep(0.01)
        record.wait_for("")
        record_round(record, 1, [])
    assert "waiting for top, 9" in said(terminal) and "waiting for top, 2" in said(terminal)
    lines = said(plain).splitlines()
    assert "round 1/3" in lines.pop()
    assert all("waiting for top" in text for text in lines)
    assert len(lines) > 2 if reminder == 0.0 else len(lines) == 1


def test_a_run_in_flowers_simulation_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    folder = tmp_path / "run"

    def says(self: flower._Flower, verb: str, *_: object) -> str:
        if verb == "run":
            record_run(folder, place="flower")
            return "Successfully started run 1"
        return '{"runs": [{"status": "finished:completed"}]}'

    monkeypatch.setattr(flower._Flower, "superlink", lambda self: nullcontext())
    monkeypatch.setattr(flower._Flower, "flwr", says)
    flower.run("data=tiny", folder, 3, supernodes=None, workers=None)
    assert [line.split("  ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "round 1/3", "round 2/3", "round 3/3",
    ]  # fmt: skip
