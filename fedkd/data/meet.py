"""The events that several views filmed, in one place: for students that learn side by side on clips of one event."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from fedkd.data.pool import told_by
from fedkd.types import UNSEEN, Clips


def meet(parts: Sequence[Clips]) -> tuple[Clips, Int[Tensor, "N V"]]:
    """All events of which any view has a clip, without streams, and each event's row among every view's clips.

    The row is UNSEEN where a view did not film the event. An event has the label that any of the views has for it.
    """
    ids = torch.cat([part.ids for part in parts]).unique()
    rows = torch.stack([_rows_of(ids, part.ids) for part in parts], dim=1)
    return Clips(ids, told_by(parts).classes_of(ids), {}), rows


def _rows_of(ids: Int[Tensor, "N"], there: Int[Tensor, "n"]) -> Int[Tensor, "N"]:
    rows = torch.full_like(ids, UNSEEN)
    rows[torch.searchsorted(ids, there)] = torch.arange(len(there))
    return rows
