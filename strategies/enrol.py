"""Before the first round: every view says what it has, and the event labels it can tell are told to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from flwr.serverapp import Grid

from fedkd.errors import UserError
from fedkd.types import EventLabels
from fedkd.wire import Kind, Letter, WireError, number, pack_events, unpack_events
from strategies.answers import part
from strategies.post import Failures, Post, too_few, understood

LATE = 60.0
"""Seconds that a view which comes late has to enrol: the others wait for it."""

MOST = 2**32
"""Clips that a view can have: as many as there are event ids."""


@dataclass(frozen=True)
class Enrolment:
    """What the views said: training clips of each, and (`tell`) the event labels each can tell.

    failures  why others do not take part, or missed a round of a federated teacher.
    lost      those of them whose host did not answer, so that they may come later.
    """

    num_clips: dict[str, int]
    events: dict[str, EventLabels]
    failures: Failures
    lost: Sequence[str]
    tell: bool

    def letters(self) -> dict[str, Letter]:
        """What each view is told before its first round: the event labels of the others, if any were asked for."""
        return event_letters(self.events) if self.events else {view: {} for view in self.num_clips}


def enrolled(post: Post, asked: int, *, tell: bool, needed: int, num_classes: int) -> Enrolment:
    """What the views that were asked have answered (with `tell`, their event labels too)."""
    num_clips, events = _said(post, tell, num_classes)
    if len(num_clips) < needed:
        raise UserError(too_few(len(num_clips), asked, needed, "at enrolment", post.failures))
    return Enrolment(num_clips, events, post.failures, sorted(post.lost), tell)


def refuse_untaught(post: Post, seen: str) -> None:
    """A UserError where no view that enrolled has a teacher: the run would pass for one with teachers.

    seen  what the teacher sees.
    """
    if not any(number(letter[Kind.CLIPS], "teachers") for letter in post.answers.values()):
        raise UserError(
            f"expected a view that recorded what the teacher sees, {seen}, got none; choose another teacher=, or "
            "strategy.teacher=false."
        )


def enrol_late(
    post: Post, grid: Grid, enrolment: Enrolment, views: Sequence[str], num_classes: int, round: int
) -> bool:
    """Ask views that were not there before `round`; whether any of them takes part now."""
    post.ask(grid, "query.enrol", {view: {} for view in views}, {"tell": enrolment.tell}, timeout=LATE, round=round)
    num_clips, events = _said(post, enrolment.tell, num_classes)
    enrolment.num_clips.update(num_clips)
    enrolment.events.update(events)
    return bool(num_clips)


def _said(post: Post, tell: bool, num_classes: int) -> tuple[dict[str, int], dict[str, EventLabels]]:
    """What answers that make sense say; the others are failures, and answers no more."""

    def read(view: str, letter: Letter) -> tuple[int, EventLabels | None]:
        clips, _ = (_count(letter, name) for name in ("train", "teachers"))
        return clips, _events(letter, num_classes) if tell else None

    said = understood(post.answers, read, post.failures)
    post.answers = {view: letter for view, letter in post.answers.items() if view in said}
    num_clips = {view: clips for view, (clips, _) in said.items()}
    return num_clips, {view: events for view, (_, events) in said.items() if events is not None}


def _count(letter: Letter, name: str) -> int:
    count = number(part(letter, Kind.CLIPS), name)
    if not 0 <= count <= MOST:
        raise WireError(f"expected 0 to {MOST} as '{name}', got {count:g}.")
    return int(count)


def _events(letter: Letter, num_classes: int) -> EventLabels:
    events = unpack_events(part(letter, Kind.EVENTS))
    if (wrong := events.classes[events.classes >= num_classes]).numel():
        raise WireError(f"expected event labels of classes 0 to {num_classes - 1}, got class {int(wrong[0])}.")
    return events


def event_letters(events: Mapping[str, EventLabels]) -> dict[str, Letter]:
    """For each view, the event labels that the others told and it did not."""
    return {view: {Kind.EVENTS: pack_events(_from_others(view, events))} for view in events}


def _from_others(view: str, events: Mapping[str, EventLabels]) -> EventLabels:
    others = [labels for name, labels in sorted(events.items()) if name != view]
    if not others:
        return EventLabels.none()
    told = EventLabels.of(torch.cat([o.ids for o in others]), torch.cat([o.classes for o in others]))
    return told.rows(~torch.isin(told.ids, events[view].ids))
