"""Training clips changed by chance, and what teachers show of them in step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.learn.lesson import Lesson

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""(clips [B ...], generator) -> clips, each changed in its own way."""


@runtime_checkable
class Retiming(Protocol):
    """An augmentation that also moves clips in time, and says how."""

    def with_moments(self, clips: Tensor, generator: torch.Generator) -> tuple[Tensor, Float[Tensor, "B T"]]:
        """The changed clips, and the moment of the whole clip that each frame shows: 0 its start, 1 its end."""


def augmented(part: Lesson, augment: Augment | None, generator: torch.Generator) -> Lesson:
    """Part of a lesson with its clips changed. What a teacher showed of a whole clip is taken at the moments that are
    left of it, so that hints about time compare the same moments.
    """
    if augment is None:
        return part
    if not (part.shown and isinstance(augment, Retiming)):
        return replace(part, clips=augment(part.clips, generator))
    clips, moments = augment.with_moments(part.clips, generator)
    return replace(part, clips=clips, shown=[shown.at(moments) for shown in part.shown])
