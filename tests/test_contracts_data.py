"""The laws of every data set that a YAML names: people apart, events alike, ids that tell nothing."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import test_hmdb51
import test_mmact
import test_ntu_rgbd
import torch

from fedkd.build import build
from fedkd.config import load, options
from fedkd.data.data_set import Checked, DataSet, Pictured, Prepared
from fedkd.data.labelled import refuse_leak
from fedkd.data.release import labelled
from fedkd.data.tiny import Tiny
from fedkd.errors import UserError
from fedkd.types import UNKNOWN, View

SMALL = {
    "synthetic": (
        "data.views=2", "data.train_subjects=2", "data.train_trials=1", "data.valid_subjects=1", "data.valid_trials=1",
        "data.test_subjects=1", "data.test_trials=1", "data.labels=0.5", "data.modalities=[skeleton,pose2d,imu]",
    ),
}  # fmt: skip
"""What makes a data set that is made small enough for a test of seconds."""

WRITTEN: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "hmdb51": (test_hmdb51.write_folder, ("data.frames=4", "data.side=16")),
    "mmact": (test_mmact.write_folder, ("data.side=16",)),
    "ntu_rgbd": (test_ntu_rgbd.write_release, ()),
}
"""Data sets that nobody here has whole: a small folder in the published format, and what makes its clips small."""

RECORDED = ("nw_ucla", "utd_mhad", "berkeley_mhad")
TRANSDUCTIVE = ("nw_ucla_cross_view",)
"""Protocols whose test clips are training events filmed from another side, as their docstrings say."""

ONE_VIEW = ("hmdb51",)
NUMBERED = ("ntu_rgbd",)
"""Data sets whose event ids come of an event's own numbers, no two the same."""

NAMELESS = ("hmdb51",)
"""Data sets that do not say who is filmed."""


@pytest.fixture(scope="module", params=options("data"))
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, object, dict[str, View]]:
    name = request.param
    if name in WRITTEN:
        write, smaller = WRITTEN[name]
        root = write(tmp_path_factory.mktemp(name))
        data = build(load([f"data={name}", f"data_dir={root}", f"data.prepared_dir={root}/kept", *smaller]).data)
        assert data.prepare(lambda files, count, store: files) == []
        return name, data, {view: data.view(view, 0) for view in data.view_names()}
    needed = [folder for folder in RECORDED if name.startswith(folder)]
    if needed and not Path(os.environ.get("FEDKD_DATA", ""), needed[0]).is_dir():
        pytest.skip(f"{name} needs recordings: set FEDKD_DATA to a folder that holds {needed[0]}")
    data = build(load([f"data={name}", *SMALL.get(name, ())]).data)
    return name, data, {view: data.view(view, 0) for view in data.view_names()}


def test_it_has_what_every_data_set_has(opened: tuple) -> None:
    name, data, _ = opened
    assert isinstance(data, DataSet)
    has_files = name not in ("tiny", "synthetic")
    assert isinstance(data, Checked) == isinstance(data, Prepared) == has_files
    assert isinstance(data, Pictured) == (name == "synthetic")
    assert name.startswith(data.name) and isinstance(data.protocol, str)


def test_views_are_in_name_order_and_filmed_what_they_share(opened: tuple) -> None:
    name, data, views = opened
    assert list(views) == sorted(views) and len(views) >= (1 if name in ONE_VIEW else 2)
    for name, view in views.items():
        assert view.name == name and view.classes == tuple(data.classes)
        assert view.shared.shape == (len(view.train),)
        others = [other.train.ids for other in views.values() if other is not view]
        elsewhere = torch.cat([torch.empty(0, dtype=torch.int64), *others])
        assert torch.isin(view.train.ids[view.shared], elsewhere).all()


def test_a_split_that_would_leak_is_refused() -> None:
    view = Tiny().view("v01", 0)
    refuse_leak(view)
    for part, others in (("valid", "train and valid"), ("test", "train and test")):
        leaking = replace(view, **{part: view.train.rows(torch.arange(3))})
        with pytest.raises(UserError, match=rf"its {others} clips to be of different events, got 3 events in both"):
            labelled(leaking, share=1.0, seed=0)
    labelled(leaking, share=1.0, seed=0, across_views=True)
    with pytest.raises(UserError, match="valid and test"):
        labelled(replace(view, valid=view.test), share=1.0, seed=0, across_views=True)


def test_tiny_has_as_many_test_clips_as_asked() -> None:
    view = Tiny(tests=40).view("v01", 0)
    assert (len(view.train), len(view.valid), len(view.test)) == (24, 12, 40)
    with pytest.raises(UserError, match="a test clip of each of its 3 classes, got tests=2"):
        Tiny(tests=2)


def test_people_in_training_are_in_no_exam(opened: tuple) -> None:
    name, data, views = opened
    if name in TRANSDUCTIVE:
        pytest.skip("transductive by definition; its docstring says so")
    if name in NAMELESS:
        pytest.skip("the release does not say who is filmed")
    subject = data.subjects()
    for view in views.values():
        splits = [{subject[event] for event in clips.ids.tolist()} for clips in (view.train, view.valid, view.test)]
        assert not splits[0] & splits[1] and not splits[0] & splits[2] and not splits[1] & splits[2]


def test_an_event_has_one_class_in_all_views(opened: tuple) -> None:
    _, _, views = opened
    told: dict[int, int] = {}
    for view in views.values():
        for clips in (view.train, view.valid, view.test):
            for event, label in zip(clips.ids.tolist(), clips.labels.tolist(), strict=True):
                assert label == UNKNOWN or told.setdefault(event, label) == label


def test_exams_are_labelled_and_clips_of_a_modality_alike(opened: tuple) -> None:
    _, _, views = opened
    shapes: dict[str, set[tuple[int, ...]]] = {}
    for view in views.values():
        assert (view.test.labels != UNKNOWN).all() and len(view.test)
        assert set(view.train.streams) == set(view.test.streams)
        for modality, stream in [*view.train.streams.items(), *view.test.streams.items()]:
            shapes.setdefault(modality, set()).add(tuple(stream.shape[1:]))
    assert all(len(found) == 1 for found in shapes.values()), shapes


def test_the_same_seed_gives_the_same_labels(opened: tuple) -> None:
    _, data, views = opened
    name, view = next(iter(views.items()))
    assert data.view(name, 0).train.labels.equal(view.train.labels)


def test_two_events_of_one_id_are_refused(opened: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    name, data, views = opened
    if name in NUMBERED:
        pytest.skip("its ids are made of numbers, one to one")
    monkeypatch.setattr("fedkd.data.release.opaque_id", lambda event: 7)
    with pytest.raises(UserError, match=r"the events .+ and .+ have the same id; "):
        replace(data).view(next(iter(views)), 0)


def test_tiny_is_refused_from_where_two_of_its_events_have_one_id() -> None:
    Tiny(tests=14592)
    with pytest.raises(UserError, match="the events test/14462 and test/14592 have the same id; ask for fewer"):
        Tiny(tests=14593)


def test_an_unknown_view_is_named(opened: tuple) -> None:
    _, data, _ = opened
    with pytest.raises(UserError, match="v99"):
        data.view("v99", 0)
