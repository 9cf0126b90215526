"""One round of teaching: the steps a student takes through its lesson."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from fedkd.learn.augment import Augment, augmented
from fedkd.learn.hints.shown import showing
from fedkd.learn.lesson import Lesson
from fedkd.learn.mixup import Mixture
from fedkd.learn.objective import Objective, total
from fedkd.learn.pupil import Pupil
from fedkd.types import Tally

Judge = Callable[[Lesson], dict[str, Tensor]]
"""part of a lesson -> each term's loss [B] of a batch of clips, by what that part says."""


def fit(
    pupil: Pupil,
    lesson: Lesson,
    objective: Objective,
    *,
    augment: Augment | None,
    round: int,
    rounds: int,
    listening: float,
    generator: torch.Generator,
) -> Tally:
    """Teach `pupil` in round `round` of `rounds`; the tally holds each term's mean over a batch, summed over the steps.

    Every method takes the same number of steps over batches of the same size, drawn from the clips of which something
    is known or believed. A lesson without such a clip teaches nothing: the tally's count is then 0.
    """
    useful = objective.useful(lesson, listening).nonzero().squeeze(1)
    if len(useful) == 0:
        return Tally()
    steps = pupil.schooling.steps(len(lesson.labels))
    course_steps = pupil.course_steps(steps, round, rounds)
    batches = batches_of(useful, pupil.schooling.batch, generator)
    tally = Tally()
    pupil.net.train()
    for _ in range(steps):
        part = augmented(lesson.rows(next(batches)), augment, generator)
        if pupil.schooling.mixup:
            mixture = Mixture.draw(len(part.labels), pupil.schooling.mixup, generator)
            judge = _judge(pupil, mixture.clips(part.clips), lesson, objective, listening)
            terms = mixture.losses(judge(part), judge(part.rows(mixture.partner)))
        else:
            terms = _judge(pupil, part.clips, lesson, objective, listening)(part)
        pupil.descend(total(terms), course_steps)
        tally += Tally(1, {name: float(losses.detach().mean()) for name, losses in terms.items()})
    return tally


def _judge(pupil: Pupil, clips: Tensor, lesson: Lesson, objective: Objective, listening: float) -> Judge:
    """What the net makes of a batch of clips, to be judged by parts of the lesson."""
    if not (lesson.shown and objective.hint):
        logits = pupil.net(clips)
        return lambda part: objective.terms(logits, part, listening)
    net = showing(pupil.net)
    maps = net.maps(clips)
    logits = net.read(maps)

    def judge(part: Lesson) -> dict[str, Tensor]:
        terms = objective.terms(logits, part, listening)
        heads = zip(pupil.hints, part.shown, strict=True)
        hints = [hint(maps, shown, part.labels, part.events) for hint, shown in heads]
        return terms | {"hint": objective.hint * torch.stack(hints).sum(0)}

    return judge


def batches_of(rows: Int[Tensor, "n"], batch: int, generator: torch.Generator) -> Iterator[Int[Tensor, "b"]]:
    """Endless batches through `rows`, in a new order at each pass."""
    waiting = rows[:0]
    while True:
        while len(waiting) < batch:
            waiting = torch.cat([waiting, rows[torch.randperm(len(rows), generator=generator)]])
        yield waiting[:batch]
        waiting = waiting[batch:]
