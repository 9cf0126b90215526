"""All views' clips in one place: what federation is there to avoid, kept as its upper bound.

Two ways: `pool` makes every clip an event of its own, for one student; `meet` keeps together the clips of one event,
for students that learn side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from fedkd.types import UNKNOWN, UNSEEN, Clips, EventLabels, View

POOLED = "all"
"""Name of the one view that holds every view's clips."""


def pool(views: Sequence[View], *, share_labels: bool) -> View:
    """One view that filmed what all of them filmed; a clip is an event here, and nobody else shares it.

    share_labels  a clip takes the label that any view has for its event, as if told by event id.
    """
    train = _join([view.train for view in views])
    if share_labels:
        train_ids = torch.cat([view.train.ids for view in views])
        known = train.labels != UNKNOWN
        told = EventLabels.of(train_ids[known], train.labels[known])
        train = train.knowing(torch.where(known, train.labels, told.classes_of(train_ids)))
    nothing_shared = torch.zeros(len(train), dtype=torch.bool)
    valid, test = (_join([getattr(view, split) for view in views]) for split in ("valid", "test"))
    return View(POOLED, views[0].classes, train, nothing_shared, valid, test)


def meet(views: Sequence[View]) -> tuple[View, Int[Tensor, "N V"]]:
    """All events that any of the views filmed, without streams, and each training event's row in every view's clips.

    The row is UNSEEN where a view did not film the event. An event has the label that any of the views has for it.
    """
    train, valid, test = (_events([getattr(view, split) for view in views]) for split in ("train", "valid", "test"))
    rows = torch.stack([_rows_of(train.ids, view.train.ids) for view in views], dim=1)
    shared = torch.isin(train.ids, torch.cat([view.train.ids[view.shared] for view in views]))
    return View(POOLED, views[0].classes, train, shared, valid, test), rows


def _events(parts: Sequence[Clips]) -> Clips:
    ids, labels = (torch.cat([getattr(part, what) for part in parts]) for what in ("ids", "labels"))
    known = labels != UNKNOWN
    told = EventLabels.of(ids[known], labels[known])
    return Clips(ids.unique(), told.classes_of(ids.unique()), {})


def _rows_of(ids: Int[Tensor, "N"], there: Int[Tensor, "n"]) -> Int[Tensor, "N"]:
    rows = torch.full_like(ids, UNSEEN)
    rows[torch.searchsorted(ids, there)] = torch.arange(len(there))
    return rows


def _join(parts: Sequence[Clips]) -> Clips:
    ids = torch.arange(sum(len(part) for part in parts))
    streams = {modality: torch.cat([part.streams[modality] for part in parts]) for modality in parts[0].streams}
    return Clips(ids, torch.cat([part.labels for part in parts]), streams)
