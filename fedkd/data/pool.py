"""All views' recordings in one place: what federation is there to avoid, kept as its upper bound.

Views that recorded the same modalities (cameras) are laid one after the other: each clip is an event by itself. Views
that recorded different ones (a camera and a body-worn sensor) are laid side by side: an event has the streams of all,
which is the setting of papers on cross-modality distillation. Beside several cameras one sensor of each kind may lie:
each clip of each camera has its event's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce

import torch

from fedkd.errors import UserError
from fedkd.types import UNKNOWN, Clips, EventLabels, View

POOLED = "all"
"""Name of the one view that holds every view's clips."""


def pool(views: Sequence[View], *, share_labels: bool) -> View:
    """One view that recorded what all of them did, and shares nothing with anybody.

    share_labels  a clip takes the label that any view has for its event, as if told by event id.

    Raises UserError for views that can be laid in neither way.
    """
    _refuse_unalike(views)
    trains = [view.train for view in views]
    if share_labels:
        told = told_by(trains)
        trains = [t.knowing(torch.where(t.labels != UNKNOWN, t.labels, told.classes_of(t.ids))) for t in trains]
    train, valid, test = (
        _join(parts) for parts in (trains, [view.valid for view in views], [view.test for view in views])
    )
    return View(POOLED, views[0].classes, train, torch.zeros(len(train), dtype=torch.bool), valid, test)


def told_by(parts: Sequence[Clips]) -> EventLabels:
    """Every label that any part has."""
    ids, labels = torch.cat([part.ids for part in parts]), torch.cat([part.labels for part in parts])
    return EventLabels.of(ids[labels != UNKNOWN], labels[labels != UNKNOWN])


def _join(parts: Sequence[Clips]) -> Clips:
    """One after another those of the kind that there is most of, and the others beside each."""
    kinds: dict[frozenset[str], list[Clips]] = {}
    for part in parts:
        kinds.setdefault(frozenset(part.streams), []).append(part)
    cameras, *sensors = sorted(kinds.values(), key=len, reverse=True)
    return _one_after_another([_side_by_side([camera, *(sensor for [sensor] in sensors)]) for camera in cameras])


def _one_after_another(parts: Sequence[Clips]) -> Clips:
    if len(parts) == 1:
        return parts[0]
    ids = torch.arange(sum(len(part) for part in parts))
    streams = {modality: torch.cat([part.streams[modality] for part in parts]) for modality in parts[0].streams}
    labels, events = (torch.cat(rows) for rows in zip(*((part.labels, part.events) for part in parts), strict=True))
    return Clips(ids, labels, streams, events)


def _side_by_side(parts: Sequence[Clips]) -> Clips:
    """The events that all parts have, each with the streams of all, and the label that any of them has."""
    ids = reduce(lambda common, part: common[torch.isin(common, part.ids)], parts, parts[0].ids)
    aligned = [part.rows(torch.isin(part.ids, ids)) for part in parts]
    streams = {modality: stream for part in aligned for modality, stream in part.streams.items()}
    return Clips(ids, torch.stack([part.labels for part in aligned]).amax(0), streams)


def _refuse_unalike(views: Sequence[View]) -> None:
    """A UserError for clips of one modality that differ, and for several views of more than one kind."""
    having = [{m: tuple(stream.shape[1:]) for m, stream in view.train.streams.items()} for view in views]
    kinds = Counter(frozenset(streams) for streams in having)
    shapes = {item for streams in having for item in streams.items()}
    each_in_one_kind = sum(map(len, kinds)) == len(shapes)
    if each_in_one_kind and sum(count > 1 for count in kinds.values()) <= 1:
        return
    told = "; ".join(
        f"{view.name} has {', '.join(f'{m} {list(shape)}' for m, shape in sorted(streams.items()))}"
        for view, streams in zip(views, having, strict=True)
    )
    raise UserError(
        "recordings are pooled of views whose clips are alike and, beside these, of one view of each other modality, "
        f"but {told}; choose other data.views, or a strategy that does not pool."
    )
