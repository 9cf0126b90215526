"""The events that several views filmed, in one place: for students that learn side by side on clips of one event."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from fedkd.data.pool import POOLED, told_by
from fedkd.types import UNSEEN, Clips, View


def meet(views: Sequence[View]) -> tuple[View, Int[Tensor, "N V"]]:
    """All events that any of the views filmed, without streams, and each training event's row in every view's clips.

    The row is UNSEEN where a view did not film the event. An event has the label that any of the views has for it.
    """
    train, valid, test = (_events([getattr(view, split) for view in views]) for split in ("train", "valid", "test"))
    rows = torch.stack([_rows_of(train.ids, view.train.ids) for view in views], dim=1)
    shared = torch.isin(train.ids, torch.cat([view.train.ids[view.shared] for view in views]))
    return View(POOLED, views[0].classes, train, shared, valid, test), rows


def _events(parts: Sequence[Clips]) -> Clips:
    ids = torch.cat([part.ids for part in parts]).unique()
    return Clips(ids, told_by(parts).classes_of(ids), {})


def _rows_of(ids: Int[Tensor, "N"], there: Int[Tensor, "n"]) -> Int[Tensor, "N"]:
    rows = torch.full_like(ids, UNSEEN)
    rows[torch.searchsorted(ids, there)] = torch.arange(len(there))
    return rows
