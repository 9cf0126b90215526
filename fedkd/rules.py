"""What cannot work, refused in a sentence before anything is read or written; the first rule that is broken speaks.

refuse_other_kinds(cfg, defaults)    # UserError: rounds must be an int, got 'x'.
refuse_unworkable(cfg)               # UserError: objective.threshold must be above 0 and at most 1, got 2.
refuse_idle(cfg, defaults)           # UserError: hint (ContrastHint) can do nothing without a teacher; ..
refuse_unfit(cfg, data.view_names())
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fedkd.errors import UserError, remark
from fedkd.terms import TERMS

# Kinds

KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
"""By the name that annotations have for it: what a value may be."""


def refuse_other_kinds(cfg: DictConfig, defaults: DictConfig, prefix: str = "") -> None:
    """A UserError for a value of another kind than its default: a word where a number is expected, and so on."""
    for name, default in ((str(key), value) for key, value in defaults.items()):
        if isinstance(default, DictConfig):
            refuse_other_kinds(cfg[name], default, f"{prefix}{name}.")
        elif type(default).__name__ in KINDS:
            refuse_other_kind(f"{prefix}{name}", type(default).__name__, cfg[name])


def refuse_other_kind(name: str, kind: str, value: Any) -> None:
    """A UserError for a value that is not of the kind, one of KINDS."""
    if not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise UserError(f"{name} must be {'an' if kind == 'int' else 'a'} {kind}, got {value!r}.")


# Ranges

Range = tuple[str, Callable[[Any], bool]]
"""In words, and whether a finite number is in it."""

COUNT: Range = ("a whole number, at least 1", lambda x: isinstance(x, int) and x >= 1)
ROUNDS: Range = ("a whole number, at least 0", lambda x: isinstance(x, int) and x >= 0)
SHARE: Range = ("a share from 0 to 1", lambda x: 0 <= x <= 1)
DECAY: Range = ("at least 0 and below 1", lambda x: 0 <= x < 1)
BAR: Range = ("above 0 and at most 1", lambda x: 0 < x <= 1)
WEIGHT: Range = ("at least 0", lambda x: x >= 0)
POSITIVE: Range = ("above 0", lambda x: x > 0)
SOFTENING: Range = ("at least 0.1", lambda x: x >= 0.1)
"""Of beliefs p ** (1 / T) in float32: below ln K / 87 all K classes would come out as 0 where none is likely."""

RANGES: dict[str, Range] = {
    **dict.fromkeys(("rounds", "evaluate_every", "min_views", "speak_after", "speak_every", "teaching.rounds"), COUNT),
    **dict.fromkeys(("place.workers", "place.hosts", "place.supernodes"), COUNT),
    **dict.fromkeys(("timeout", "patience"), POSITIVE),
    **{f"objective.{term}": WEIGHT for term in TERMS},
    "objective.threshold": BAR,
    "objective.ramp_rounds": ROUNDS,
    "objective.label_smoothing": DECAY,
    "online.strengthen": WEIGHT,
    **dict.fromkeys(("strategy.teacher_voice", "strategy.deaf_below", "strategy.staleness"), SHARE),
    **dict.fromkeys(("loss.temperature", "guidance.temperature"), SOFTENING),
    **dict.fromkeys(("hint.temperature", "consensus.temperature"), POSITIVE),
    "consensus.beta": POSITIVE,
    **dict.fromkeys(("loss.target_weight", "loss.others_weight"), WEIGHT),
    **dict.fromkeys(("hint.distribution", "hint.correlation", "hint.distance", "hint.angle"), WEIGHT),
    **dict.fromkeys(("guidance.share", "guidance.threshold"), SHARE),
    "hint.share": BAR,
}
"""By the setting's name; a setting that the chosen options do not have is not asked about."""

SCHOOLING: dict[str, Range] = {
    "batch": COUNT, "epochs": COUNT, "learning_rate": POSITIVE, "weight_decay": WEIGHT, "mixup": WEIGHT, "ema": DECAY,
}  # fmt: skip
"""The same, below the `schooling` of every net."""

AUGMENT: dict[str, Range] = {
    **dict.fromkeys(("turn", "tilt", "roll", "shear", "shift", "nearer", "jitter"), WEIGHT),
    **dict.fromkeys(("squeeze", "scale", "zoom", "stretch", "warp"), DECAY),
    **dict.fromkeys(("flip", "contrast", "light"), SHARE),
    "crop": BAR,
}
"""The same, below the `augment` of every net, and what that does afterwards."""

MAY_BE_NULL = ("speak_every", "place.workers", "place.hosts", "place.supernodes")


def _refuse_out_of_range(cfg: DictConfig) -> None:
    """A UserError for the first setting whose value cannot work."""
    nothing = object()
    nets = ("student", "teacher", *(f"{group}.{name}" for group in ("students", "assistants") for name in cfg[group]))
    for net in nets:
        if strangers := [
            str(name) for name in OmegaConf.select(cfg, f"{net}.schooling") or {} if name not in SCHOOLING
        ]:
            raise UserError(f"{net}.schooling has no setting {', '.join(strangers)}; it has {', '.join(SCHOOLING)}.")
    schooling = {f"{net}.schooling.{name}": allowed for net in nets for name, allowed in SCHOOLING.items()}
    augments = [f"{net}.augment{further}" for net in nets for further in ("", ".augment")]
    augmenting = {f"{augment}.{name}": allowed for augment in augments for name, allowed in AUGMENT.items()}
    for name, (words, holds) in {**RANGES, **schooling, **augmenting}.items():
        value = OmegaConf.select(cfg, name, default=nothing)
        if value is nothing or (value is None and name in MAY_BE_NULL):
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (number and holds(value)):
            null = "null or " if name in MAY_BE_NULL else ""
            raise UserError(f"{name} must be {null}{words}, got {value!r}.")


# What does not go together


def refuse_unworkable(cfg: DictConfig) -> None:
    """A UserError for a configuration that no data could make work."""
    _refuse_out_of_range(cfg)
    _refuse_names(cfg)
    _refuse_silence(cfg)
    _refuse_origin(cfg)
    _refuse_online(cfg)
    _refuse_apart(cfg)
    _refuse_mixing(cfg)
    _refuse_moments(cfg)
    _refuse_no_teacher(cfg)
    _refuse_nets(cfg)


def refuse_unfit(cfg: DictConfig, views: Sequence[str]) -> None:
    """A UserError where `students` names a view that the data does not have, or `min_views` more than it has."""
    if cfg.min_views > len(views):
        raise UserError(f"min_views must be at most {len(views)}, the number of views, got {cfg.min_views}.")
    strangers = sorted(set(cfg.students) - set(views))
    if strangers:
        raise UserError(
            f"students names {', '.join(strangers)}, but the data has the views {', '.join(views)}; take it out with "
            f"{' '.join(f'~student@students.{stranger}' for stranger in strangers)}."
        )


def _refuse_names(cfg: DictConfig) -> None:
    """What files and splits cannot be called."""
    if not cfg.name or set("/\\\0") & set(str(cfg.name)) or cfg.name in (".", ".."):
        raise UserError(f"name is one folder under results_dir, without / or .., got {cfg.name!r}.")
    if not cfg.results_dir:
        raise UserError("results_dir must name a folder, got ''; leave it out for results.")
    if cfg.split not in ("test", "valid"):
        raise UserError(f"split must be test or valid, got {cfg.split!r}.")


def _refuse_silence(cfg: DictConfig) -> None:
    """Views that speak too late for anybody to hear."""
    if "first" in cfg.strategy.exchange and cfg.speak_after >= cfg.rounds:
        raise UserError(
            f"strategy={cfg.strategy.name} needs speak_after below rounds, got {cfg.speak_after} of {cfg.rounds}: "
            "nobody would hear what is said; set rounds= or speak_after=."
        )


def _refuse_origin(cfg: DictConfig) -> None:
    """Teachers from nowhere."""
    if cfg.teaching.origin not in ("local", "federated", "lab", "file", "online"):
        raise UserError(f"teaching.origin must be local, federated, lab, file or online, got {cfg.teaching.origin!r}.")


def _refuse_online(cfg: DictConfig) -> None:
    """What a teacher cannot do while it learns in the same steps as its students."""
    one_teacher = _teaches(cfg) and not cfg.assistants and cfg.teaching.paired
    if _online(cfg) and (not one_teacher or cfg.objective.pseudo):
        raise UserError(
            "teaching.origin=online needs strategy.teacher=true and one teacher=, no assistants, teaching.paired=true "
            "and objective.pseudo=0."
        )


def _refuse_apart(cfg: DictConfig) -> None:
    """What students who learn side by side in one place cannot do."""
    further = cfg.assistants or cfg.students or cfg.guidance.get("_target_") or not cfg.teaching.paired
    if cfg.strategy.apart and not _online(cfg) and (further or not _teaches(cfg)):
        raise UserError(
            f"strategy={cfg.strategy.name} needs one teacher= and one student=: no assistants, students or guidance, "
            "and teaching.paired=true."
        )


def _refuse_mixing(cfg: DictConfig) -> None:
    """mixup where a batch is of events."""
    mixing = any(net.get("schooling", {}).get("mixup") for net in (cfg.student, cfg.teacher, *cfg.students.values()))
    if mixing and (_online(cfg) or cfg.strategy.apart):
        raise UserError(
            f"teaching.origin={cfg.teaching.origin} with strategy={cfg.strategy.name} does not mix clips, its batches "
            "are of events; set schooling.mixup=0 of all nets."
        )


def _refuse_moments(cfg: DictConfig) -> None:
    """A hint about moments, where a teacher and its students see clips cropped each in its own way."""
    if "distribution" in cfg.hint and (_online(cfg) or cfg.strategy.apart):
        raise UserError(
            f"hint=focal_channel compares moments, which teaching.origin={cfg.teaching.origin} with "
            f"strategy={cfg.strategy.name} does not keep in step; choose another hint=, or strategy=central with "
            "teaching.origin=local."
        )


def _refuse_no_teacher(cfg: DictConfig) -> None:
    """Where a teacher is to come from, and cannot."""
    origin = cfg.teaching.origin
    if origin not in ("local", "online") and cfg.teacher.model is None:
        raise UserError(
            f"teaching.origin={origin} needs a teacher, but there is none; set teacher= or teaching.origin=local."
        )
    if _teaches(cfg) and origin == "file" and cfg.teaching.file is None:
        raise UserError("teaching.origin=file needs teaching.file=<weights.safetensors>.")
    if _teaches(cfg) and origin == "federated" and cfg.strategy.pool:
        raise UserError(
            f"strategy={cfg.strategy.name} pools the recordings, so there are no views to federate a teacher over; use "
            "teaching.origin=local, lab or file."
        )


def _refuse_nets(cfg: DictConfig) -> None:
    """Nets beside `student` and `teacher` that nobody could use."""
    if cfg.students and cfg.strategy.common_start:
        raise UserError(
            f"strategy={cfg.strategy.name} has one net for all views, but students names {', '.join(cfg.students)}; "
            "leave students out, or choose another strategy."
        )
    if cfg.assistants and cfg.strategy.teacher and cfg.teacher.model is None:
        raise UserError(f"assistants {', '.join(cfg.assistants)} need a teacher before them; set teacher=.")
    for name, whose in (("teacher", "the first teacher's"), ("student", "the student's")):
        if name in cfg.assistants:  # chance goes by it: batches and dropout would be the same
            raise UserError(f"an assistant cannot be called {name}; that is {whose} name, choose another.")


# What does nothing


def refuse_idle(cfg: DictConfig, defaults: DictConfig) -> None:
    """A UserError for settings that can do nothing at all, a remark on those that this strategy has no use for.

    An experiment's baselines are itself with another strategy, so what only the strategy leaves idle is no mistake.
    """
    changed = [
        f"online.{name}={cfg.online[name]}" for name, value in defaults.online.items() if cfg.online[name] != value
    ]
    if changed and not _online(cfg):
        raise UserError(
            f"{', '.join(changed)} can do nothing with teaching.origin={cfg.teaching.origin}; set "
            "teaching.origin=online, or leave it out."
        )
    by_teachers = {"hint": cfg.hint.get("_target_"), "guidance": cfg.guidance.get("_target_")}
    idle = [f"{group} ({target.rpartition('.')[2]})" for group, target in by_teachers.items() if target]
    idle += [] if cfg.teaching.paired else ["teaching.paired=false"]
    if idle and cfg.teacher.model is None:
        raise UserError(
            f"{', '.join(idle)} can do nothing without a teacher; set teacher=, or leave it out (hint=none, "
            "guidance=none)."
        )
    if idle and not cfg.strategy.teacher:
        remark(f"strategy={cfg.strategy.name} has no use for a teacher, so these do nothing: {', '.join(idle)}")


def _teaches(cfg: DictConfig) -> bool:
    """Whether there is a teacher, and the strategy lets it guide the students."""
    return bool(cfg.strategy.teacher) and cfg.teacher.model is not None


def _online(cfg: DictConfig) -> bool:
    return bool(cfg.teaching.origin == "online")
