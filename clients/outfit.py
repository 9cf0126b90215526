"""The client's door: a configuration becomes the cameras of the views a host serves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clients.camera import Camera, Habits
from fedkd.assemble import student_course, teacher_course
from fedkd.config import build, load
from fedkd.data.pool import POOLED, pool
from fedkd.types import Clips, View


@lru_cache(maxsize=1)
def _data(overrides: tuple[str, ...]) -> Any:
    return build(load(overrides).data)


@lru_cache(maxsize=256)
def recordings(overrides: tuple[str, ...], view: str) -> View:
    """A view's recordings, read once a process."""
    recorded: View = _data(overrides).view(view, load(overrides).seed)
    return recorded


def exam(overrides: tuple[str, ...], view: str) -> Clips:
    """The clips a view is examined on: the test split, or the validation split while settings are chosen."""
    recorded = recordings(overrides, view)
    return recorded.valid if load(overrides).split == "valid" else recorded.test


def new_cameras(overrides: tuple[str, ...], views: Sequence[str]) -> dict[str, Camera]:
    """A fresh camera for each view, or one for all of them where the strategy pools the recordings."""
    cfg = load(overrides)
    if cfg.strategy.pool:
        everything = [recordings(overrides, name) for name in _data(overrides).view_names()]
        seen = {POOLED: pool(everything, share_labels=cfg.strategy.event_labels)}
    else:
        seen = {name: recordings(overrides, name) for name in views}
    habits = Habits(
        seed=cfg.seed,
        common_start=cfg.strategy.common_start,
        threshold=cfg.objective.threshold,
        teacher_voice=cfg.strategy.teacher_voice,
        anew_after=cfg.speak_after if cfg.strategy.anew else None,
        deaf_below=cfg.strategy.deaf_below,
    )
    return {name: Camera(view, student_course(cfg), teacher_course(cfg), habits) for name, view in seen.items()}
