"""What a view answered to a round's letter, read and checked. One that makes no sense is a failure of that view."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from flwr.app import ArrayRecord
from torch import Tensor

from fedkd.errors import reason_of
from fedkd.terms import TERMS
from fedkd.types import SoftLabels, Tally
from fedkd.wire import Kind, Letter, Record, WireError, number, unpack_soft, unpack_tally, unpack_weights
from strategies.failures import brief

Said = TypeVar("Said")
Meant = TypeVar("Meant")

CLOCK = ("seconds", "lack")
"""What a view tells of itself beside its tally."""


@dataclass(frozen=True)
class Answer:
    """One view's answer to one round.

    table    its soft labels as they travelled; `soft` is what they say.
    weights  its student's, where they were asked for.
    late     rounds after the one it belongs to that it came; 0: in time. Where its soft labels are of another answer
             than the rest, theirs,
    rest     and this is how late the rest came.
    unaware  it answers a letter from before those that tell its view what it has to know now.
    """

    tally: Tally
    clock: Mapping[str, float]
    soft: SoftLabels | None = None
    table: ArrayRecord | None = None
    weights: Mapping[str, Tensor] | None = None
    late: int = 0
    rest: int = 0
    unaware: bool = False

    @property
    def delays(self) -> set[int]:
        """How many rounds late its parts came; empty where all came in time."""
        return {self.late, self.rest} - {0}

    def after(self, late: Answer) -> Answer:
        """This answer, with the soft labels that its view said in a `late` one where it says none now."""
        if self.soft is not None or late.soft is None:
            return self
        return replace(self, soft=late.soft, table=late.table, late=late.late)


def merged(in_time: Mapping[str, Answer], late: Mapping[str, Answer]) -> dict[str, Answer]:
    """By view, in name order: its answer in time, with what it said late, or its late answer alone."""
    both = {view: answer.after(late[view]) if view in late else answer for view, answer in in_time.items()}
    return dict(sorted({**late, **both}.items()))


def understood(said: Mapping[str, Said], read: Callable[[str, Said], Meant]) -> tuple[dict[str, Meant], dict[str, str]]:
    """(what `read` makes of what each view said, why what others said makes no sense, whatever it is), by view."""
    found, failures = dict[str, Meant](), dict[str, str]()
    for view, one in said.items():
        try:
            found[view] = read(view, one)
        except Exception as error:
            failures[view] = nonsense(error)
    return found, failures


def nonsense(error: Exception) -> str:
    """The reason of a view whose answer cannot be read."""
    return brief(f"its answer makes no sense: {reason_of(error)}")


def understand(letter: Letter, num_classes: int, late: int = 0) -> Answer:
    """The answer in a letter; a ValueError says what makes no sense in it."""
    tally, clock = unpack_tally(part(letter, Kind.TALLY)), part(letter, Kind.CLOCK)
    soft = table = None
    if Kind.SOFT in letter:
        table = _arrays(letter, Kind.SOFT)
        soft = believed(table, num_classes)
    weights = weights_in(letter) if Kind.WEIGHTS in letter else None
    seconds = {name: number(clock, name) for name in clock}
    for told, known in ((tally.sums, TERMS), (seconds, CLOCK)):
        for name, value in told.items():
            if name not in known or not math.isfinite(value):
                raise WireError(f"expected finite numbers of {', '.join(known)}, got {name} {value}.")
    return Answer(tally, seconds, soft, table, weights, late, rest=late)


def believed(record: Record, num_classes: int) -> SoftLabels:
    """The soft labels in a view's record; a WireError where they are of other classes, or would outweigh the others."""
    soft = unpack_soft(record)
    if soft.num_classes != num_classes:
        raise WireError(f"expected soft labels over {num_classes} classes, got {soft.num_classes}.")
    if len(soft) and (most := float(soft.weight.max())) > 1:
        raise WireError(f"expected soft labels that weigh 1 at most, got {most:g}.")
    return soft


def weights_in(letter: Letter) -> dict[str, Tensor]:
    """The weights in a letter; a WireError where not all are numbers."""
    weights = unpack_weights(_arrays(letter, Kind.WEIGHTS))
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise WireError(f"expected finite weights, got others in {', '.join(broken)}.")
    return weights


def part(letter: Letter, kind: str) -> Record:
    """A record of a letter; a WireError where it is not there."""
    if kind not in letter:
        raise WireError(f"expected a {kind} in the answer, got {', '.join(sorted(letter)) or 'nothing'}.")
    return letter[kind]


def _arrays(letter: Letter, kind: str) -> ArrayRecord:
    record = part(letter, kind)
    if not isinstance(record, ArrayRecord):
        raise WireError(f"expected {kind} as arrays, got a {type(record).__name__}.")
    return record
