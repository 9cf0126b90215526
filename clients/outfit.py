"""The client's door: a configuration becomes the cameras of the views a host serves."""

from __future__ import annotations

from functools import cache, lru_cache

from clients.camera import Camera, Habits, clip_shape
from clients.studio import Studio
from fedkd.assemble import mentor_courses, online_course, peer_course, student_course
from fedkd.build import build
from fedkd.config import load
from fedkd.data.data_set import DataSet
from fedkd.data.pool import POOLED, pool
from fedkd.types import Clips, View


@lru_cache(maxsize=1)
def _data(overrides: tuple[str, ...]) -> DataSet:
    data: DataSet = build(load(overrides).data)
    return data


@cache
def recordings(overrides: tuple[str, ...], view: str) -> View:
    """A view's recordings, read once a process."""
    return _data(overrides).view(view, load(overrides).seed)


def forget_recordings() -> None:
    """Let go of what was read."""
    recordings.cache_clear()
    _data.cache_clear()


def exam(overrides: tuple[str, ...], view: str) -> Clips:
    """The clips a view is examined on: the test split, or the validation split while settings are chosen."""
    recorded = recordings(overrides, view)
    return recorded.valid if load(overrides).split == "valid" else recorded.test


def owner(overrides: tuple[str, ...], view: str) -> str:
    """The name of the camera that acts for a view: its own, or the one that holds the pooled recordings."""
    return POOLED if load(overrides).strategy.pool else view


def new_camera(overrides: tuple[str, ...], name: str) -> Camera:
    """A fresh camera of a view, or of all of them where the strategy pools the recordings."""
    cfg = load(overrides)
    if name == POOLED:
        everything = [recordings(overrides, view) for view in _data(overrides).view_names()]
    else:
        everything = [recordings(overrides, name)]
    habits = Habits(
        seed=cfg.seed,
        common_start=cfg.strategy.common_start,
        threshold=cfg.objective.threshold,
        teacher_voice=cfg.strategy.teacher_voice,
        paired=cfg.teaching.paired,
        deaf_below=cfg.strategy.deaf_below,
        awaits_teacher=cfg.teaching.origin in ("lab", "file", "federated"),
    )
    if cfg.teaching.origin == "online":
        return Studio(everything, online_course(cfg, name), habits)
    if cfg.strategy.apart:
        return Studio(everything, peer_course(cfg, name), habits)
    mentors = mentor_courses(cfg)
    if name != POOLED:
        return Camera(everything[0], student_course(cfg, name), mentors, habits)
    seen = pool(everything, share_labels=cfg.strategy.event_labels)
    for role, course in mentors.items():
        clip_shape(seen, course, role)  # on a host of its own a sensor goes without the others' teachers; not here
    return Camera(seen, student_course(cfg, name), mentors, habits)
