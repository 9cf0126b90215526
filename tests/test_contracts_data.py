"""The laws of every data set that a YAML names: people apart, events alike, ids that tell nothing."""

import os
from pathlib import Path

import pytest
import torch

from fedkd.config import build, load, options
from fedkd.errors import UserError
from fedkd.types import UNKNOWN, View

SMALL = {
    "synthetic": (
        "data.views=2", "data.train_subjects=2", "data.train_trials=1", "data.valid_subjects=1", "data.valid_trials=1",
        "data.test_subjects=1", "data.test_trials=1", "data.labels=0.5", "data.modalities=[skeleton,pose2d,imu]",
    ),
}  # fmt: skip
"""What makes a data set that is made small enough for a test of seconds."""

RECORDED = ("nw_ucla", "utd_mhad", "berkeley_mhad", "mmact")
TRANSDUCTIVE = ("nw_ucla_cross_view",)
"""Protocols whose test clips are training events filmed from another side, as their docstrings say."""


@pytest.fixture(scope="module", params=options("data"))
def opened(request: pytest.FixtureRequest) -> tuple[str, object, dict[str, View]]:
    name = request.param
    needed = [folder for folder in RECORDED if name.startswith(folder)]
    if needed and not Path(os.environ.get("FEDKD_DATA", ""), needed[0]).is_dir():
        pytest.skip(f"{name} needs recordings: set FEDKD_DATA to a folder that holds {needed[0]}")
    data = build(load([f"data={name}", *SMALL.get(name, ())]).data)
    return name, data, {view: data.view(view, 0) for view in data.view_names()}


def test_views_are_in_name_order_and_filmed_what_they_share(opened: tuple) -> None:
    _, data, views = opened
    assert list(views) == sorted(views) and len(views) >= 2
    for name, view in views.items():
        assert view.name == name and view.classes == tuple(data.classes)
        assert view.shared.shape == (len(view.train),)
        elsewhere = torch.cat([other.train.ids for other in views.values() if other is not view])
        assert torch.isin(view.train.ids[view.shared], elsewhere).all()


def test_people_in_training_are_in_no_exam(opened: tuple) -> None:
    name, data, views = opened
    if name in TRANSDUCTIVE:
        pytest.skip("transductive by definition; its docstring says so")
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


def test_an_unknown_view_is_named(opened: tuple) -> None:
    _, data, _ = opened
    with pytest.raises(UserError, match="v99"):
        data.view("v99", 0)
