"""From a configuration to the courses of a run: read at the door of both parties."""

from __future__ import annotations

from functools import partial
from typing import Any

from omegaconf import DictConfig
from torch import nn

from fedkd.build import build
from fedkd.learn.course import Course
from fedkd.learn.hints.shown import MakeHint
from fedkd.learn.objective import Objective
from fedkd.learn.online import OnlineCourse
from fedkd.learn.peers import PeerCourse
from fedkd.learn.pupil import Schooling
from fedkd.terms import TERMS


def student_course(cfg: DictConfig, view: str = "") -> Course:
    """How the student of a view is made and taught: in its own way where `students` names one, else as all are."""
    weights = {name: float(cfg.objective[name]) for name in TERMS}
    make_hint = build(cfg.hint, _partial_=True) if cfg.hint.get("_target_") else None
    guidance = build(cfg.guidance) if cfg.guidance.get("_target_") else None
    node = cfg.students.get(view, cfg.student)
    return _course(
        node, cfg, cfg.rounds, make_hint, guidance=guidance, ramp_rounds=cfg.objective.ramp_rounds, **weights
    )


def teacher_course(cfg: DictConfig) -> Course | None:
    """How the teacher of a run is made and taught, from true labels alone; None in a run without one."""
    if cfg.teacher.model is None or not cfg.strategy.teacher:
        return None
    return _course(cfg.teacher, cfg, cfg.teaching.rounds)


def mentor_courses(cfg: DictConfig) -> dict[str, Course]:
    """The teacher and its assistants, in the order in which a host teaches them; none in a run without a teacher."""
    teacher = teacher_course(cfg)
    if teacher is None:
        return {}
    assistants = {name: _course(node, cfg, cfg.teaching.rounds) for name, node in cfg.assistants.items()}
    return {"teacher": teacher, **assistants}


def online_course(cfg: DictConfig, view: str = "") -> OnlineCourse:
    """How the students of one or several views and their teacher are taught together."""
    teacher = _course(cfg.teacher, cfg, cfg.teaching.rounds, teacher=float(cfg.objective.teacher))
    parts = cfg.online
    return OnlineCourse(
        student_course(cfg, view), teacher, parts.attention, float(parts.strengthen), parts.teacher_first
    )


def peer_course(cfg: DictConfig, view: str = "") -> PeerCourse:
    """How a teacher, and then the students of several views in one place, are taught."""
    return PeerCourse(student_course(cfg, view), _course(cfg.teacher, cfg, cfg.teaching.rounds))


def _course(node: DictConfig, cfg: DictConfig, rounds: int, make_hint: MakeHint | None = None, **terms: Any) -> Course:
    objective = Objective(build(cfg.loss), label_smoothing=float(cfg.objective.label_smoothing), **terms)
    augment = None if node.augment is None else build(node.augment)
    glimpses = None if node.get("glimpses") is None else build(node.glimpses)
    schooling = Schooling(**node.get("schooling", {}))
    taught_on = node.get("taught_on") or node.modality
    make = partial(_make, node.model)
    return Course(node.modality, taught_on, make, augment, glimpses, schooling, objective, rounds, make_hint)


def _make(node: DictConfig, clip_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    net: nn.Module = build(node, sample_shape=clip_shape, num_classes=num_classes)
    return net
