"""Which labels a view has, and which views are too poor to learn from."""

from __future__ import annotations

import torch

from fedkd.errors import UserError
from fedkd.types import UNKNOWN, Clips, View

_REMEDY = "give it more recordings"


def keep_labels(clips: Clips, share: float, generator: torch.Generator) -> Clips:
    """The clips with all but a random share of their known labels hidden; at least one stays, if there was one.

    The draw is plain: rare classes may lose all their labels, as they would when a view labels what comes along.
    """
    known = (clips.labels != UNKNOWN).nonzero().flatten()
    kept = known[torch.randperm(len(known), generator=generator)[: max(1, round(share * len(known)))]]
    labels = torch.full_like(clips.labels, UNKNOWN)
    labels[kept] = clips.labels[kept]
    return clips.knowing(labels)


def refuse_leak(view: View, *, across_views: bool = False) -> None:
    """A UserError for a view with one event in two parts of its split; `across_views`, the test's may be training's."""
    parts = {"train": view.train, "valid": view.valid, "test": view.test}
    for one, other in (("train", "valid"), ("valid", "test"), *(() if across_views else [("train", "test")])):
        if both := int(torch.isin(parts[one].ids, parts[other].ids).sum()):
            raise UserError(
                f"View {view.name} needs its {one} and {other} clips to be of different events, got {both} events in "
                "both: its figures would be of what it learned by heart; correct the split."
            )


def refuse_degenerate(*views: View, exchanges: bool = True) -> None:
    """A UserError for a view that cannot learn, cannot be tested, or (with `exchanges`) has nothing to exchange.

    To be called while every true label is still in place: a view may well be left with labels of one class, or none.
    """
    for view in views:
        classes = set(view.train.labels.tolist())
        if len(view.train) < 2:
            raise UserError(f"View {view.name} needs at least two training clips, got {len(view.train)}: {_REMEDY}.")
        if len(classes) < 2:
            only = view.classes[classes.pop()]
            raise UserError(
                f"View {view.name} needs at least two classes, its training clips are all {only!r}: {_REMEDY}."
            )
        if exchanges and not view.shared.any():
            raise UserError(f"View {view.name} shares no training event with another view: {_REMEDY}.")
        if len(view.test) == 0:
            raise UserError(f"View {view.name} has no test clip, so nothing can be measured: {_REMEDY}.")
