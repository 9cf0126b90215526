"""Pictures and the page of a result: they exist, show something, and hold a panel for everything there is to see."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from test_results import VIEWS, record_run

from fedkd.plots import _apart as apart
from fedkd.plots import accuracy_figure, bytes_figure, confusion_figure, draw, view_colours
from fedkd.report import finish
from fedkd.results import FUSED, load


def test_every_picture_is_drawn_and_none_is_blank(tmp_path: Path) -> None:
    run, baseline = (load(record_run(tmp_path / name, method=name)) for name in ("distil", "alone"))
    pictures = draw(run, [baseline])
    assert [picture.name for picture in pictures] == ["accuracy.png", "bytes.png", "confusion.png"]
    for picture in pictures:
        assert picture.parent == run.folder / "plots"
        pixels = imread(picture)
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].var() > 1e-3


def test_a_panel_a_view_and_one_for_the_fused(tmp_path: Path) -> None:
    run, baseline = (load(record_run(tmp_path / name, method=name)) for name in ("distil", "alone"))
    assert len(accuracy_figure(run).axes) == 1
    assert [len(axes.lines) for axes in accuracy_figure(run).axes] == [len(VIEWS) + 1]
    beside = accuracy_figure(run, [baseline]).axes
    assert [len(axes.lines) for axes in beside] == [2] * (len(VIEWS) + 1)
    assert len({axes.get_ylim() for axes in beside}) == 1
    assert [axes.get_xscale() for axes in bytes_figure([run, baseline]).axes] == ["log", "log"]
    confusion = confusion_figure(run).axes
    assert len(confusion) == len(VIEWS) + 2  # with the colour bar
    assert [label.get_text() for label in confusion[0].get_yticklabels()] == run.summary["classes"]


def test_a_panel_that_would_stay_empty_holds_the_mean(tmp_path: Path) -> None:
    run, baseline = (
        load(record_run(tmp_path / name, method=name, views=[*VIEWS, "absent"])) for name in ("distil", "alone")
    )
    panels = accuracy_figure(run, [baseline]).axes
    assert [axes.get_title("left") for axes in panels][-2:] == ["all fused", "mean of the views"]
    assert panels[-1].texts[0].get_text() == "distil: 75%"


def test_the_title_says_seed_and_share_of_labels(tmp_path: Path) -> None:
    figure = accuracy_figure(load(record_run(tmp_path / "run")))
    assert figure.get_suptitle() == "distil on toy (by_subject), seed 0, 10 % of the labels"


def test_a_view_has_one_colour_whoever_asks() -> None:
    assert view_colours(["b", "a"]) == view_colours(["a", "b"])
    assert len(set(view_colours(list("abcdef")).values())) == 7  # six views, and the fused


@pytest.mark.parametrize("end", ["running", "failed"])
def test_an_unfinished_run_has_the_pictures_it_has_numbers_for(tmp_path: Path, end: str) -> None:
    pictures = draw(load(record_run(tmp_path / "run", end=end, dead="top")))
    assert [picture.stem for picture in pictures] == ["accuracy", "bytes"]


def test_a_run_without_an_exam_has_no_pictures(tmp_path: Path) -> None:
    assert draw(load(record_run(tmp_path / "run", rounds=1, end="failed"))) == []


def test_a_run_of_one_round_is_drawn(tmp_path: Path) -> None:
    assert len(draw(load(record_run(tmp_path / "run", rounds=1)))) == 3


def test_labels_keep_apart_in_order_and_near() -> None:
    placed = apart({"a": 0.51, "b": 0.50, "c": 0.2, "d": 0.52})
    heights = [placed[name] for name in ("c", "b", "a", "d")]
    assert placed["c"] == pytest.approx(0.2)
    assert (np.diff(heights) > 0.06).all()
    assert np.mean(heights[1:]) == pytest.approx(0.51), "moved up as much as down"
    assert max(apart(dict.fromkeys("abcde", 1.0)).values()) == pytest.approx(1.0)
    assert apart({}) == {}


def test_the_page_needs_nothing_beside_it(tmp_path: Path) -> None:
    run, baseline = (record_run(tmp_path / name, method=name, dead="top") for name in ("distil", "alone"))
    finish(load(run), [load(baseline)])
    page = (run / "report.html").read_text()
    sources = re.findall(r'(?:src|href)\s*=\s*"([^"]{0,30})', page)
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    for words in ("all fused", "Beside other runs", "13.5 kB", "labels: 0.1", "90.0%"):
        assert words in page
    assert "&lt;unplugged&gt;" in page, "a reason is text, never markup"


def test_the_page_of_a_failed_run_says_so(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run", end="failed")
    finish(load(run))
    assert "the disk of host 2 is full" in (run / "report.html").read_text()


def test_the_fused_row_closes_the_table(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run")
    finish(load(run))
    last_row = re.search(r'<tr class="sum"><td>([^<]*)</td><td>([^<]*)</td>', (run / "report.html").read_text())
    assert last_row is not None
    assert last_row.groups() == ("all fused", "90.0%")
    assert load(run).history(FUSED).iloc[-1] == pytest.approx(0.9)
