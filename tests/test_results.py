"""A result folder is read again: whole, half written, damaged. `record_run` writes one as a run would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedkd.errors import UserError
from fedkd.record import FUSED, Record
from fedkd.results import MEAN, by_view, comparable, label_share, load, short_names
from fedkd.words import human_bytes, human_seconds, percent

CLASSES = ("wave", "sit down", "pick up with two hands")
VIEWS = ("left", "right", "top")


def record_run(folder: Path, *, rounds: int = 3, end: str = "finished", dead: str = "", **entries: Any) -> Path:
    """A run's folder, as the observer leaves it; the view `dead` fails from round 2 on."""
    heading = {
        "method": "distil", "dataset": "toy", "protocol": "by_subject", "seed": 0, "rounds": rounds,
        "views": list(VIEWS), "classes": list(CLASSES), "split": "test", "accuracy": {}, "accuracy_mean": None,
        "accuracy_fused": None, "bytes_up": 0, "bytes_down": 0, "place": "local", "suspects": [], "digest": None,
    }  # fmt: skip
    share = entries.pop("labels", 0.1)
    config = f"data:\n  labels: {share}\nstrategy:\n  name: distil\nresults_dir: {folder}\n"
    record = Record(folder, config, heading | entries)
    record.rows({"round": 0, "view": v, "status": "enrolled", "bytes_up": 10, "bytes_down": 5} for v in VIEWS)
    record.update(rounds_done=0, bytes_up=30, bytes_down=15, failures=[])
    failures: list[dict[str, Any]] = []
    for number in range(1, rounds + 1 if end == "finished" else rounds):
        record_round(record, number, failures, dead)
    if end == "finished":
        table = [[4, 1, 0], [1, 4, 0], [0, 0, 0]]
        record.write("confusion.json", json.dumps(dict.fromkeys((*VIEWS, FUSED), table)))
        record.update(status="finished", digest="0123456789abcdef" * 4)
    elif end == "failed":
        record.update(status="failed", reason="the disk of host 2 is full")
    return folder


def record_round(record: Record, number: int, failures: list[dict[str, Any]], dead: str = "") -> None:
    lost = dead if number >= 2 else ""
    accuracy = {view: 0.5 + 0.1 * number - 0.05 * i for i, view in enumerate(VIEWS) if view != lost}
    rows: list[dict[str, Any]] = [
        {
            "round": number, "view": view, "status": "ok", "accuracy": right, "supervised": 1.0 / number,
            "consensus": 0.5, "lack": 0.9, "bytes_up": 1000, "bytes_down": 500, "seconds": 2.5,
        }
        for view, right in accuracy.items()
    ]  # fmt: skip
    if lost:
        failures.append({"round": number, "view": lost, "reason": "camera [lost]: <unplugged>"})
        rows.append({"round": number, "view": lost, "status": failures[-1]["reason"], "bytes_up": 0, "bytes_down": 500})
    record.rows([*rows, {"round": number, "view": FUSED, "status": "ok", "accuracy": 0.6 + 0.1 * number}])
    record.update(
        rounds_done=number, failures=failures, accuracy=accuracy, accuracy_mean=sum(accuracy.values()) / len(accuracy),
        accuracy_fused=0.6 + 0.1 * number, bytes_up=30 + 3000 * number, bytes_down=15 + 1500 * number,
    )  # fmt: skip


def test_what_was_written_is_read(tmp_path: Path) -> None:
    result = load(record_run(tmp_path / "run"))
    assert result.views == sorted(VIEWS)
    assert result.rounds_done == 3
    assert result.history("left").to_dict() == pytest.approx({1: 0.6, 2: 0.7, 3: 0.8})
    assert result.history(MEAN).to_dict() == pytest.approx({1: 0.55, 2: 0.65, 3: 0.75})
    assert result.history(FUSED).iloc[-1] == pytest.approx(0.9)
    assert result.bytes_so_far().to_dict() == {0: 45, 1: 4545, 2: 9045, 3: 13545}
    assert set(result.confusion) == {*VIEWS, FUSED}
    assert np.trace(result.confusion["left"]) == 8


def test_bytes_by_round_end_in_the_summary_s_totals(tmp_path: Path) -> None:
    result = load(record_run(tmp_path / "run"))
    assert result.bytes_so_far().iloc[-1] == result.summary["bytes_up"] + result.summary["bytes_down"]


def test_by_view_has_last_terms_and_summed_bytes(tmp_path: Path) -> None:
    table = by_view(load(record_run(tmp_path / "run")))
    assert list(table.index) == [*sorted(VIEWS), FUSED]
    left = table.loc["left"]
    assert (left["bytes_up"], left["bytes_down"], left["seconds"]) == (3010, 1505, 7.5)
    assert left["supervised"] == pytest.approx(1 / 3, rel=1e-5)
    assert left["f1"] == pytest.approx(8 / 10)  # of two classes, each 2 x 4 right over 5 events and 5 guesses
    assert np.isnan(table.loc[FUSED, "bytes_up"])


@pytest.mark.parametrize("end", ["running", "failed"])
def test_an_unfinished_run_is_readable(tmp_path: Path, end: str) -> None:
    result = load(record_run(tmp_path / "run", end=end))
    assert result.summary["status"] == end
    assert result.rounds_done == 2
    assert result.confusion == {}
    assert by_view(result)["f1"].isna().all()


def test_a_run_before_its_first_row_is_readable(tmp_path: Path) -> None:
    summary = load(record_run(tmp_path / "model")).summary
    Record(tmp_path / "run", "", {**summary, "accuracy": {}, "accuracy_mean": None, "accuracy_fused": None})
    result = load(tmp_path / "run")
    assert len(result.rounds) == 0
    assert list(by_view(result).index) == [*sorted(VIEWS), FUSED]


def test_a_record_from_before_a_term_was_known_is_readable(tmp_path: Path) -> None:
    folder = record_run(tmp_path / "run")
    pd.read_csv(folder / "rounds.csv").drop(columns="hint").to_csv(folder / "rounds.csv", index=False)
    result = load(folder)
    assert result.rounds["hint"].isna().all() and result.history("left").iloc[-1] == pytest.approx(0.8)


def test_a_record_from_before_late_answers_were_noted_is_readable(tmp_path: Path) -> None:
    folder = record_run(tmp_path / "run")
    pd.read_csv(folder / "rounds.csv").drop(columns="late").to_csv(folder / "rounds.csv", index=False)
    result = load(folder)
    assert (result.rounds["late"] == "").all() and result.history("left").iloc[-1] == pytest.approx(0.8)


def test_the_rounds_whose_answers_came_late_are_read_as_words(tmp_path: Path) -> None:
    folder = record_run(tmp_path / "run")
    with open(folder / "rounds.csv", "a") as file:
        file.write("4,left,ok,,,,,,,,,,,3\n5,left,ok,,,,,,,,,,,\n")
    assert list(load(folder).rounds["late"])[-2:] == ["3", ""]


def test_a_table_of_an_older_fedkd_gets_the_columns_of_today_when_its_run_goes_on(tmp_path: Path) -> None:
    folder = record_run(tmp_path / "run", end="failed", dead="top")
    today = (folder / "rounds.csv").read_text()
    pd.read_csv(folder / "rounds.csv", dtype=str).drop(columns=["hint", "late"]).to_csv(
        folder / "rounds.csv", index=False
    )
    record = Record.again(folder)
    record.back_to(2)
    assert (folder / "rounds.csv").read_text() == today
    record.rows([{"round": 3, "view": "left", "status": "ok", "late": "2"}])
    assert list(load(folder).rounds["late"])[-1] == "2"
    record.close()


def test_a_dead_camera_keeps_its_row(tmp_path: Path) -> None:
    result = load(record_run(tmp_path / "run", dead="top"))
    assert list(result.history("top").index) == [1]
    assert np.isnan(by_view(result).loc["top", "accuracy"])
    assert [failure["view"] for failure in result.failures] == ["top", "top"]


def test_a_line_being_written_is_left_for_the_next_look(tmp_path: Path) -> None:
    folder = record_run(tmp_path / "run")
    with open(folder / "rounds.csv", "a") as file:
        file.write("4,left,ok,0.7")
    assert load(folder).rounds["round"].max() == 3


def test_a_view_may_be_called_nan(tmp_path: Path) -> None:
    folder = record_run(tmp_path / "run")
    with open(folder / "rounds.csv", "a") as file:
        file.write("3,nan,ok,0.25,,,,,,,,\n")
    assert list(load(folder).history("nan")) == [0.25]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "summary.json").unlink(), "expected a result folder with a summary.json"),
        (lambda f: (f / "rounds.csv").unlink(), "expected rounds.csv"),
        (lambda f: (f / "confusion.json").unlink(), "expected confusion.json"),
        (lambda f: (f / "config.yaml").unlink(), "expected config.yaml"),
        (lambda f: (f / "config.yaml").write_text("a: [1"), "expected a configuration"),
        (lambda f: _truncate(f / "summary.json"), "expected whole JSON"),
        (lambda f: _truncate(f / "confusion.json"), "expected whole JSON"),
        (lambda f: (f / "summary.json").write_text("[]"), "expected a JSON object"),
        (lambda f: (f / "summary.json").write_text("{}"), "method, dataset"),
        (lambda f: (f / "summary.json").write_bytes(b"\xff\xfe"), "expected readable text"),
        (lambda f: (f / "confusion.json").write_text('{"left": [[1, 2]]}'), "expected a 3 x 3 table"),
        (lambda f: (f / "confusion.json").write_text('{"left": [[1], [2, 3]]}'), "expected a 3 x 3 table"),
        (lambda f: (f / "rounds.csv").write_text("a,b\n1,2\n"), "expected the columns round,view"),
        (lambda f: (f / "rounds.csv").write_text(""), "expected the columns round,view"),
        (lambda f: (f / "rounds.csv").open("a").write("x,left,ok,,,,,,,,,\n"), "expected a table of numbers"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(tmp_path: Path, damage: Any, says: str) -> None:
    folder = record_run(tmp_path / "run")
    damage(folder)
    with pytest.raises(UserError, match=says) as caught:
        load(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert str(folder) in sentence


def test_the_folder_above_a_result_names_the_newest_inside(tmp_path: Path) -> None:
    record_run(tmp_path / "distil" / "run")
    with pytest.raises(UserError, match="distil/run"):
        load(tmp_path)


def test_labels_say_what_differs(tmp_path: Path) -> None:
    runs = [load(record_run(tmp_path / str(seed), seed=seed)) for seed in (0, 1)]
    assert short_names(runs) == ["distil seed 0", "distil seed 1"]
    runs = [load(record_run(tmp_path / f"l{share}", labels=share)) for share in (0.1, 0.2)]
    assert short_names(runs) == ["distil labels=0.1", "distil labels=0.2"]
    twins = [load(record_run(tmp_path / name)) for name in ("morning", "evening")]
    assert short_names(twins) == ["distil morning", "distil evening"]


def test_only_the_same_exam_is_comparable(tmp_path: Path) -> None:
    run = load(record_run(tmp_path / "run"))
    twin = load(record_run(tmp_path / "twin", method="alone"))
    others = [
        load(record_run(tmp_path / "seed", seed=1)),
        load(record_run(tmp_path / "split", split="valid")),
        load(record_run(tmp_path / "labels", labels=0.5)),
    ]
    assert comparable(run, [run, *others, twin]) == [twin]


def test_a_result_stays_as_it_was_when_it_was_read(tmp_path: Path) -> None:
    run, twin, other = (
        load(record_run(tmp_path / name, labels=share)) for name, share in (("run", 0.1), ("twin", 0.1), ("other", 0.2))
    )
    assert run.settings == {"data.labels": 0.1, "strategy.name": "distil"}
    for result in (run, twin, other):
        (result.folder / "config.yaml").unlink()
    assert comparable(run, [twin, other]) == [twin] and label_share(other) == 0.2
    assert short_names([run, other]) == ["distil labels=0.1", "distil labels=0.2"]


def test_figures_for_people() -> None:
    assert [human_bytes(n) for n in (None, 0, 999, 1000, 53973, 999_999, 6_613_470)] == [
        "-", "0 B", "999 B", "1.0 kB", "54.0 kB", "1.0 MB", "6.6 MB",
    ]  # fmt: skip
    assert [human_seconds(s) for s in (0.44, 38.1, 98.2, 7260)] == ["0.4 s", "38 s", "1 min 38 s", "2 h 1 min"]
    assert percent(0.41176) == "41.2%"
    assert percent(float("nan")) == percent(None) == "-"
