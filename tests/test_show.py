"""`fedkd show`: one screen for a result, one table for several."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from test_results import record_run

from fedkd.results import load
from simulations.cli import main
from simulations.show import compare, show


def printed(what: RenderableType, *, styled: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=100, force_terminal=styled, color_system="truecolor" if styled else None
    )
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


def row(text: str, first: str) -> list[str]:
    return next(line.split("  ") for line in text.splitlines() if line.startswith(first))


def test_a_result_on_one_screen(tmp_path: Path) -> None:
    text = printed(show(load(record_run(tmp_path / "run"))))
    assert len(text.splitlines()) < 24
    assert "distil on toy (by_subject), seed 0" in text
    assert "finished  3 of 3 rounds  place local" in text
    assert [cell.strip() for cell in row(text, "left") if cell.strip()] == [
        "left", "80.0%", "90.0%", "3.0 kB", "1.5 kB", "0.33", "0.50",
    ]  # fmt: skip
    assert "75.0%" in "".join(row(text, "mean"))
    assert "90.0%" in "".join(row(text, "fused"))
    assert "up 9.0 kB  down 4.5 kB  digest 0123456789ab" in text


def test_teachers_have_a_column_where_they_were_examined(tmp_path: Path) -> None:
    assert "its teacher" not in printed(show(load(record_run(tmp_path / "without"))))
    text = printed(show(load(record_run(tmp_path / "run", accuracy_teacher={"left": 0.987}))))
    assert "its teacher" in text and "98.7%" in "".join(row(text, "left"))


def test_failures_are_told_as_they_were_written(tmp_path: Path) -> None:
    text = printed(show(load(record_run(tmp_path / "run", dead="top"))))
    assert "round 2: top failed: camera [lost]: <unplugged>" in text


def test_what_several_views_say_of_a_round_is_said_once(tmp_path: Path) -> None:
    result = load(record_run(tmp_path / "run", dead="top"))
    result.summary["failures"] += [failure | {"view": "left"} for failure in result.failures]
    text = printed(show(result))
    assert "round 2: top, left failed: camera [lost]: <unplugged>" in text
    assert text.count("<unplugged>") == 2, "once a round"


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    text = printed(show(load(record_run(tmp_path / "run", end="failed"))))
    assert "failed  2 of 3 rounds" in text
    assert "the disk of host 2 is full" in text


def test_the_best_of_each_column_is_bold(tmp_path: Path) -> None:
    runs = [load(record_run(tmp_path / "distil")), load(record_run(tmp_path / "alone", method="alone", dead="top"))]
    text = printed(compare(runs), styled=True)
    assert "\x1b[1m77.5%" in text, "the mean of alone, which lost its worst view"
    assert text.count("75.0%") == 3, "the view right in both rows, and the lower mean"
    assert text.count("\x1b[1m75.0%") == 2, "equals are both best; the lower mean is not"
    plain = printed(compare(runs))
    assert row(plain, "distil")[0] == "distil"
    assert "-" in row(plain, "alone"), "a view that did not answer has no figure"


def test_an_unfinished_run_is_marked_in_the_table(tmp_path: Path) -> None:
    runs = [load(record_run(tmp_path / "a")), load(record_run(tmp_path / "b", method="alone", end="failed"))]
    assert "alone (failed)" in printed(compare(runs))


def test_the_command_prints_what_is_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = record_run(tmp_path / "run")
    assert main(["show", str(run)]) == 0
    assert "distil on toy" in capsys.readouterr().out
    assert main(["show", str(run), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((run / "summary.json").read_text())
    assert main(["show", str(tmp_path / "elsewhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_the_folder_above_the_only_result_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_run(tmp_path / "distil" / "run")
    assert main(["show", str(tmp_path / "distil"), "--report"]) == 0
    assert "distil on toy" in capsys.readouterr().out
    assert (tmp_path / "distil" / "run" / "report.html").exists()
    record_run(tmp_path / "distil" / "again")
    assert main(["show", str(tmp_path / "distil")]) == 2
    assert "holds 2 of them" in capsys.readouterr().err


def test_the_command_puts_baselines_into_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, baseline = record_run(tmp_path / "run"), record_run(tmp_path / "alone", method="alone")
    assert main(["show", str(run), str(baseline), "--report"]) == 0
    assert "alone" in capsys.readouterr().out
    assert "Beside other runs" in (run / "report.html").read_text()
    assert not (baseline / "report.html").exists()
