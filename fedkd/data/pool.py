"""All views' recordings in one place: what federation is there to avoid, kept as its upper bound.

Views that recorded the same modalities (cameras) are laid one after the other: each clip is an event by itself. Views
that recorded different ones (a camera and a body-worn sensor) are laid side by side: an event has the streams of all,
which is the setting of papers on cross-modality distillation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch

from fedkd.errors import UserError
from fedkd.types import UNKNOWN, Clips, EventLabels, View

POOLED = "all"
"""Name of the one view that holds every view's clips."""


def pool(views: Sequence[View], *, share_labels: bool) -> View:
    """One view that recorded what all of them did, and shares nothing with anybody.

    share_labels  a clip takes the label that any view has for its event, as if told by event id.

    Raises UserError for views that have some modalities in common and others not.
    """
    join = _laid(views)
    trains = [view.train for view in views]
    if share_labels:
        told = told_by(trains)
        trains = [t.knowing(torch.where(t.labels != UNKNOWN, t.labels, told.classes_of(t.ids))) for t in trains]
    train, valid, test = join(trains), join([view.valid for view in views]), join([view.test for view in views])
    return View(POOLED, views[0].classes, train, torch.zeros(len(train), dtype=torch.bool), valid, test)


def _laid(views: Sequence[View]) -> Callable[[Sequence[Clips]], Clips]:
    """One after the other, or side by side."""
    streams = [frozenset(view.train.streams) for view in views]
    if len(set(streams)) == 1:
        return _one_after_another
    if sum(map(len, streams)) == len(frozenset[str]().union(*streams)):
        return _side_by_side
    having = "; ".join(f"{view.name} has {', '.join(sorted(view.train.streams))}" for view in views)
    raise UserError(
        f"recordings are pooled of views with the same modalities, or with none in common, but {having}; "
        "choose other data.views, or a strategy that does not pool."
    )


def told_by(parts: Sequence[Clips]) -> EventLabels:
    """Every label that any part has."""
    ids, labels = torch.cat([part.ids for part in parts]), torch.cat([part.labels for part in parts])
    return EventLabels.of(ids[labels != UNKNOWN], labels[labels != UNKNOWN])


def _one_after_another(parts: Sequence[Clips]) -> Clips:
    ids = torch.arange(sum(len(part) for part in parts))
    streams = {modality: torch.cat([part.streams[modality] for part in parts]) for modality in parts[0].streams}
    return Clips(ids, torch.cat([part.labels for part in parts]), streams)


def _side_by_side(parts: Sequence[Clips]) -> Clips:
    """The events that all parts have, each with the streams of all, and the label that any of them has."""
    ids = reduce(lambda common, part: common[torch.isin(common, part.ids)], parts, parts[0].ids)
    aligned = [part.rows(torch.isin(part.ids, ids)) for part in parts]
    streams = {modality: stream for part in aligned for modality, stream in part.streams.items()}
    return Clips(ids, torch.stack([part.labels for part in aligned]).amax(0), streams)
