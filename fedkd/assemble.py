"""From a configuration to the courses of a run: read at the door of both parties."""

from __future__ import annotations

from functools import partial
from typing import Any

from omegaconf import DictConfig
from torch import nn

from fedkd.config import build
from fedkd.learn.course import Course
from fedkd.learn.objective import Objective
from fedkd.learn.pupil import Schooling


def student_course(cfg: DictConfig) -> Course:
    """How the students of a run are made and taught."""
    told = {name: cfg.objective[name] for name in ("supervised", "teacher", "consensus", "pseudo", "ramp_rounds")}
    return _course(cfg.student, cfg, cfg.rounds, **told)


def teacher_course(cfg: DictConfig) -> Course | None:
    """How the teacher of a run is made and taught, from true labels alone; None in a run without one."""
    if cfg.teacher.model is None or not cfg.strategy.teacher:
        return None
    return _course(cfg.teacher, cfg, cfg.teaching.rounds)


def _course(node: DictConfig, cfg: DictConfig, rounds: int, **weights: Any) -> Course:
    objective = Objective(build(cfg.loss), label_smoothing=cfg.objective.label_smoothing, **weights)
    augment = None if node.augment is None else build(node.augment)
    glimpses = None if node.get("glimpses") is None else build(node.glimpses)
    schooling = Schooling(**node.get("schooling", {}))
    taught_on = node.get("taught_on") or node.modality
    make = partial(_make, node.model)
    return Course(node.modality, taught_on, make, augment, glimpses, schooling, objective, rounds)


def _make(node: DictConfig, clip_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    net: nn.Module = build(node, sample_shape=clip_shape, num_classes=num_classes)
    return net
