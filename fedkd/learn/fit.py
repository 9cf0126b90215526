"""One round of teaching: the steps a student takes through its lesson."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from fedkd.learn.lesson import Lesson
from fedkd.learn.objective import Objective, total
from fedkd.learn.pupil import Pupil
from fedkd.types import Tally

Augment = Callable[[Tensor, torch.Generator], Tensor]


def fit(
    pupil: Pupil,
    lesson: Lesson,
    objective: Objective,
    *,
    augment: Augment | None,
    rounds: int,
    listening: float,
    generator: torch.Generator,
) -> Tally:
    """Teach `pupil` for one of `rounds` rounds; the tally holds each term's sum over the samples it saw.

    Every step draws `batch` clips whose class is known and `batch` clips that somebody guides, and takes one pass
    over both together. A lesson with neither teaches nothing: the tally's count is then 0.
    """
    steps = pupil.schooling.steps(len(lesson.labels))
    known = _cycle(lesson.known.nonzero().squeeze(1), pupil.schooling.batch, generator)
    guided = _cycle(_worth_hearing(lesson, objective, listening), pupil.schooling.batch, generator)
    tally = Tally()
    pupil.net.train()
    for _ in range(steps):
        known_rows, guided_rows = next(known), next(guided)
        if len(known_rows) + len(guided_rows) == 0:
            break
        clips = lesson.clips[torch.cat([known_rows, guided_rows])]
        logits = pupil.net(clips if augment is None else augment(clips, generator))
        terms: dict[str, Tensor] = {}
        if len(known_rows):
            terms |= objective.supervised_terms(logits[: len(known_rows)], lesson, known_rows)
        if len(guided_rows):
            terms |= objective.guided_terms(logits[len(known_rows) :], lesson, guided_rows, listening)
        pupil.descend(total(terms), rounds * steps)
        tally += Tally(1, {name: float(losses.detach().mean()) for name, losses in terms.items()})
    return tally


def _worth_hearing(lesson: Lesson, objective: Objective, listening: float) -> Int[Tensor, n]:
    """Positions of the clips on which a term other than the supervised one speaks."""
    spoken = (lesson.trust > 0) & bool(listening and objective.consensus)
    if lesson.teacher is not None and objective.teacher:
        spoken = torch.ones_like(spoken)
    if objective.pseudo:
        spoken = spoken | (lesson.pseudo >= 0)
    return spoken.nonzero().squeeze(1)


def _cycle(rows: Int[Tensor, n], batch: int, generator: torch.Generator) -> Iterator[Int[Tensor, b]]:
    """Endless batches through `rows`, in a new order at each pass; empty batches when there are no rows."""
    if len(rows) == 0:
        while True:
            yield rows
    waiting = rows[:0]
    while True:
        while len(waiting) < batch:
            waiting = torch.cat([waiting, rows[torch.randperm(len(rows), generator=generator)]])
        yield waiting[:batch]
        waiting = waiting[batch:]
