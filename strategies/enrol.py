"""Before the first round: every view says what it has, and the event labels it can tell are told to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from flwr.serverapp import Grid

from fedkd.errors import UserError
from fedkd.types import EventLabels
from fedkd.wire import Kind, Letter, WireError, number, pack_events, unpack_events
from strategies.answers import part, understood
from strategies.exchange import Exchange
from strategies.failures import Failures, too_few
from strategies.pace import ENROL
from strategies.post import Post

ENROL_SECONDS = 60.0
"""Seconds, or `timeout` where that is less, that a view which comes late has to enrol: the others wait for it."""

MOST_ASKED = 2
"""Messages in which a view is asked to enrol and that it has not answered: one may be lost. Nobody waits for more."""

MOST_CLIPS = 2**32
"""Clips that a view can have: as many as there are event ids."""


@dataclass(frozen=True)
class Enrolment:
    """What the views said: training clips of each, and (`tell`) the event labels each can tell. A view may come later.

    failures  why others do not take part, or missed a round of a federated teacher.
    lost      those of them whose host did not answer, so that they may come later.
    """

    num_clips: Mapping[str, int]
    events: Mapping[str, EventLabels]
    failures: Mapping[str, str]
    lost: Sequence[str]
    tell: bool

    def letters(self) -> dict[str, Letter]:
        """What each view is told before its first round: the event labels of the others, if any were asked for."""
        return event_letters(self.events) if self.events else {view: {} for view in self.num_clips}


def enrolled(exchange: Exchange, asked: int, *, tell: bool, needed: int, num_classes: int) -> Enrolment:
    """What the views that were asked have answered (with `tell`, their event labels too)."""
    num_clips, events, failures = _said(exchange, tell, num_classes)
    if len(num_clips) < needed:
        raise UserError(too_few(len(num_clips), asked, needed, "at enrolment", failures))
    return Enrolment(num_clips, events, failures, sorted(exchange.lost), tell)


def refuse_untaught(exchange: Exchange, enrolment: Enrolment, seen: str) -> None:
    """A UserError where no view that enrolled has a teacher: the run would pass for one with teachers.

    exchange  in which they did.
    seen      what the teacher sees.
    """
    if not any(number(exchange.letters[view][Kind.CLIPS], "teachers") for view in enrolment.num_clips):
        raise UserError(
            f"expected a view that recorded what the teacher sees, {seen}, got none; choose another teacher=, or "
            "strategy.teacher=false."
        )


def enrol_late(
    post: Post, grid: Grid, enrolment: Enrolment, views: Sequence[str], num_classes: int, round: int, *, timeout: float
) -> tuple[Enrolment, Failures]:
    """(the enrolment with those of `views`, not there before `round`, that take part now, why others do not).

    One that needs longer takes part when its answer has come.
    """
    came = {view: late[-1][1] for view, late in post.late(grid, ENROL).items() if view in views}
    new = [view for view in views if view not in came and post.answers_due(view, ENROL, round) < MOST_ASKED]
    exchange = Exchange()
    if new:
        wish = {"tell": enrolment.tell}
        seconds = min(ENROL_SECONDS, timeout) if any(post.unanswered(view, ENROL) < MOST_ASKED for view in new) else 0.0
        exchange = post.ask(grid, ENROL, {view: {} for view in new}, wish, timeout=seconds, round=round)
    exchange = replace(exchange, letters={**came, **exchange.letters})
    num_clips, events, failures = _said(exchange, enrolment.tell, num_classes)
    num_clips, events = {**enrolment.num_clips, **num_clips}, {**enrolment.events, **events}
    return replace(enrolment, num_clips=num_clips, events=events), failures


def _said(exchange: Exchange, tell: bool, num_classes: int) -> tuple[dict[str, int], dict[str, EventLabels], Failures]:
    """(clips, event labels) in answers that make sense, and why there are no others."""

    def read(view: str, letter: Letter) -> tuple[int, EventLabels | None]:
        clips, _ = (_count(letter, name) for name in ("train", "teachers"))
        return clips, _events(letter, num_classes) if tell else None

    said, nonsense = understood(exchange.letters, read)
    num_clips = {view: clips for view, (clips, _) in said.items()}
    events = {view: events for view, (_, events) in said.items() if events is not None}
    return num_clips, events, {**exchange.failures, **nonsense}


def _count(letter: Letter, name: str) -> int:
    count = number(part(letter, Kind.CLIPS), name)
    if not 0 <= count <= MOST_CLIPS:
        raise WireError(f"expected 0 to {MOST_CLIPS} as '{name}', got {count:g}.")
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
