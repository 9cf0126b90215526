"""Before the first round: every view says what it has, and the event labels it can tell are told to the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from flwr.serverapp import Grid

from fedkd.errors import UserError
from fedkd.types import EventLabels
from fedkd.wire import Letter, number, pack_events, unpack_events
from strategies.post import Failures, Post, too_few


@dataclass(frozen=True)
class Enrolment:
    """What the views said: training clips of each, and the event labels each can tell."""

    num_clips: Mapping[str, int]
    events: Mapping[str, EventLabels]
    failures: Failures

    def letters(self) -> dict[str, Letter]:
        """What each view is told before its first round: the event labels of the others, if any were asked for."""
        return event_letters(self.events) if self.events else {view: {} for view in self.num_clips}


def enrol(post: Post, grid: Grid, pupils: tuple[str, ...], *, tell: bool, needed: int, timeout: float) -> Enrolment:
    """Ask every pupil what it has; with `tell`, also for its event labels."""
    answers, failures = post.ask(grid, "query.enrol", {view: {} for view in pupils}, {"tell": tell}, timeout=timeout)
    if len(answers) < needed:
        raise UserError(too_few(len(answers), len(pupils), needed, "at enrolment", failures))
    num_clips = {view: int(number(letter["clips"], "train")) for view, letter in answers.items()}
    events = {view: unpack_events(letter["events"]) for view, letter in answers.items() if "events" in letter}
    return Enrolment(num_clips, events, failures)


def event_letters(events: Mapping[str, EventLabels]) -> dict[str, Letter]:
    """For each view, the event labels that the others told and it did not."""
    return {view: {"events": pack_events(_from_others(view, events))} for view in events}


def _from_others(view: str, events: Mapping[str, EventLabels]) -> EventLabels:
    others = [labels for name, labels in sorted(events.items()) if name != view]
    if not others:
        return EventLabels.none()
    told = EventLabels.of(torch.cat([o.ids for o in others]), torch.cat([o.classes for o in others]))
    return told.rows(~torch.isin(told.ids, events[view].ids))
