"""Which numbers a setting takes, where not every number works.

refuse_out_of_range(cfg)     # UserError: objective.threshold must be above 0 and at most 1, got 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fedkd.errors import UserError
from fedkd.terms import TERMS

Range = tuple[str, Callable[[Any], bool]]
"""In words, and whether a finite number is in it."""

COUNT: Range = ("a whole number, at least 1", lambda x: isinstance(x, int) and x >= 1)
ROUNDS: Range = ("a whole number, at least 0", lambda x: isinstance(x, int) and x >= 0)
SHARE: Range = ("a share from 0 to 1", lambda x: 0 <= x <= 1)
DECAY: Range = ("at least 0 and below 1", lambda x: 0 <= x < 1)
BAR: Range = ("above 0 and at most 1", lambda x: 0 < x <= 1)
WEIGHT: Range = ("at least 0", lambda x: x >= 0)
POSITIVE: Range = ("above 0", lambda x: x > 0)

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
    **{f"{group}.temperature": POSITIVE for group in ("loss", "guidance", "hint", "consensus")},
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

MAY_BE_NULL = ("speak_every", "place.workers", "place.hosts", "place.supernodes")


def refuse_out_of_range(cfg: DictConfig) -> None:
    """A UserError for the first setting whose value cannot work."""
    nothing = object()
    nets = ("student", "teacher", *(f"{group}.{name}" for group in ("students", "assistants") for name in cfg[group]))
    schooling = {f"{net}.schooling.{name}": allowed for net in nets for name, allowed in SCHOOLING.items()}
    for name, (words, holds) in {**RANGES, **schooling}.items():
        value = OmegaConf.select(cfg, name, default=nothing)
        if value is nothing or (value is None and name in MAY_BE_NULL):
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (number and holds(value)):
            null = "null or " if name in MAY_BE_NULL else ""
            raise UserError(f"{name} must be {null}{words}, got {value!r}.")
