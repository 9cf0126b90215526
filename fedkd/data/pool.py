"""All views' clips in one place: what federation is there to avoid, kept as its upper bound."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedkd.types import UNKNOWN, Clips, EventLabels, View

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


def _join(parts: Sequence[Clips]) -> Clips:
    ids = torch.arange(sum(len(part) for part in parts))
    streams = {modality: torch.cat([part.streams[modality] for part in parts]) for modality in parts[0].streams}
    return Clips(ids, torch.cat([part.labels for part in parts]), streams)
