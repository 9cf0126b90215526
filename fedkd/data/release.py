"""What every loader of a published data set does alike: refuse what cannot work, name events, leave labels out.

    check_settings("mine", protocol, PROTOCOLS, labels, frames)       # as the data set is made
    require_view("mine", self.view_names(), name)                     # then, for each view,
    refuse_broken("mine", folder, broken)
    refuse_same_id("mine", (recording.event for recording in recordings))
    return labelled(View(...), share=self.labels, seed=seed)

A data set's own are its files, its splits, and how a clip is prepared.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped
from numpy.typing import ArrayLike
from torch import Tensor

from fedkd.data.check import Broken
from fedkd.data.labelled import keep_labels, refuse_degenerate, refuse_leak
from fedkd.data.store import Source, Store
from fedkd.errors import UserError, remark
from fedkd.seeding import generator, opaque_id
from fedkd.types import UNKNOWN, Clips, View


@runtime_checkable
class Recording(Protocol):
    """One part's recording of an event: a sensor's, a camera's."""

    @property
    def event(self) -> str:
        """Its name within the data set."""

    @property
    def label(self) -> int:
        """0-based."""


R = TypeVar("R", bound=Recording)
C = TypeVar("C")


def release_folder(dataset: str, data_dir: str | None, patterns: Sequence[str], published_at: str) -> Path:
    """The data set's folder below `data_dir`, or FEDKD_DATA; a UserError where no file of the patterns is there."""
    root = data_dir or os.environ.get("FEDKD_DATA")
    folder = Path(root or "").expanduser() / dataset
    if not root or not any(next(folder.glob(pattern), None) for pattern in patterns):
        raise UserError(
            f"{dataset} finds no {' and no '.join(patterns)} in {folder}: set data_dir= or FEDKD_DATA to the folder "
            f"that holds {dataset} (published at {published_at})."
        )
    return folder


def check_settings(dataset: str, protocol: str, protocols: Collection[str], labels: float, frames: int) -> None:
    """A UserError for a protocol the data set does not have, a share outside (0, 1], or clips of no length."""
    if protocol not in protocols:
        raise UserError(f"{dataset} has the protocols {', '.join(protocols)}, got {protocol!r}.")
    check_share(dataset, labels)
    if frames < 2:
        raise UserError(f"{dataset} needs at least 2 frames a clip, got {frames}.")


def check_share(dataset: str, labels: float) -> None:
    """A UserError for a share of labels outside (0, 1]."""
    if not 0 < labels <= 1:
        raise UserError(f"{dataset} labels is a share in (0, 1], got {labels}.")


def require_view(dataset: str, views: Sequence[str], name: str) -> None:
    """A UserError for a view that the data set, as it is set, does not have."""
    if name not in views:
        raise UserError(f"{dataset} has the views {', '.join(views)}, got {name!r}.")


def refuse_broken(dataset: str, folder: Path, broken: Sequence[Broken]) -> None:
    """A UserError for a folder with files that cannot be read: a run on the rest would pass for one on all."""
    if broken:
        raise UserError(
            f"{dataset}: {len(broken)} files of {folder} are broken, first {broken[0].name}: {broken[0].reason}; "
            f"`fedkd data check {dataset}` names them all, copy them again."
        )


def remark_thin(dataset: str, there: int, published: int, what: str, folder: Path | str) -> None:
    """Say that a folder has fewer clips than were published: enough for a trial, no figure is the literature's."""
    if there < published:
        remark(f"{dataset}: {there} of {published} published {what} in {folder}")


def prepared(
    dataset: str, kept: Store, sources: Sequence[Source], taken: Iterable[str] | None = None
) -> Mapping[str, Shaped[np.ndarray, "..."]]:
    """Each source's prepared clip by its name; a UserError where one is not there, out of date, broken or damaged.

    taken   names of the clips that will be looked at, of which alone the bytes are checked; None: all.
    """
    again = f"run `fedkd data prepare {dataset}`"
    if waiting := kept.out_of_date(sources):
        raise UserError(
            f"{dataset}: {len(waiting)} of {len(sources)} clips are not prepared or have changed, first {waiting[0]}; "
            f"{again} once."
        )
    if broken := kept.broken(sources):
        raise UserError(
            f"{dataset}: {len(broken)} recordings are broken, first {broken[0].name}: {broken[0].reason}; copy them "
            f"again and {again}."
        )
    if spoilt := kept.damaged(map(kept.named, sources) if taken is None else taken):
        raise UserError(
            f"{dataset}: {len(spoilt)} prepared clips are damaged, first {spoilt[0]}; {again} again, which makes "
            "them anew."
        )
    clips = kept.clips()
    return {name: clips[name] for name in map(kept.named, sources)}


def as_prepared(
    dataset: str, kept: Iterable[tuple[Store, Sequence[Source]]], what: str = "files"
) -> tuple[list[Broken], list[str]]:
    """For a check, which opens no source: those that `prepare` could not read or whose prepared clip is damaged, a note
    on those it has not read.
    """
    broken, waiting = [], 0
    for store, sources in kept:
        stale = store.out_of_date(sources)
        broken += [*store.broken(sources), *damaged(dataset, store, sources, without=stale)]
        waiting += len(stale)
    return broken, [f"{waiting} {what} not read yet: `fedkd data prepare {dataset}` reads them once"] if waiting else []


def damaged(dataset: str, kept: Store, sources: Sequence[Source], *, without: Collection[str]) -> list[Broken]:
    """Of these sources, but those named in `without`, the ones whose prepared clip is damaged."""
    names = {kept.named(source) for source in sources} - set(without)
    reason = f"its prepared clip is damaged: `fedkd data prepare {dataset}` makes it anew"
    return [Broken(name, reason) for name in kept.damaged() if name in names]


def filmed(dataset: str, clips: Mapping[str, C], there: Collection[str], stream: str = "rgb") -> dict[str, C]:
    """Of clips by name those that have pictures of a stream, by the same names; of the others it is said how many."""
    those = {name: clip for name, clip in clips.items() if name in there}
    if len(those) < len(clips):
        remark(f"{dataset}: {len(clips) - len(those)} of {len(clips)} clips lack {stream}")
    return those


def rows(kept: Store, clips: Mapping[str, np.ndarray], names: Sequence[str]) -> Shaped[Tensor, "N ..."]:
    """Of a store's prepared clips those of these names, as a stream."""
    stream = np.empty((len(names), *kept.shape), kept.dtype)
    for row, name in zip(stream, names, strict=True):
        row[:] = clips[name]
    return torch.from_numpy(stream)


def recorded_by_all(dataset: str, view: str, by_part: Mapping[str, Iterable[R]]) -> list[dict[str, R]]:
    """Each event that every part of a view recorded, by id: its recordings. Of those left out it is said how many."""
    found = {part: {r.event: r for r in recordings} for part, recordings in by_part.items()}
    events = set[str]().union(*found.values())
    lacking = {part: len(events) - len(of_one) for part, of_one in found.items() if len(of_one) < len(events)}
    whole = events.intersection(*found.values())
    if lacking:
        parts = ", ".join(f"{part} lacks {count}" for part, count in lacking.items())
        remark(f"{dataset}: {len(events) - len(whole)} of {len(events)} events are left out of {view}: {parts}")
    ordered = sorted(whole, key=lambda event: event_id(dataset, event))
    return [{part: of_one[event] for part, of_one in found.items()} for event in ordered]


def first(event: Mapping[str, R]) -> R:
    """A recording of the event; what all of them say of it is the same."""
    return next(iter(event.values()))


def clips_of(dataset: str, events: Sequence[Mapping[str, R]], streams: Mapping[str, Shaped[Tensor, "N ..."]]) -> Clips:
    """Events' ids and labels beside their streams."""
    return Clips(
        ids=torch.tensor([event_id(dataset, first(event).event) for event in events], dtype=torch.int64),
        labels=torch.tensor([first(event).label for event in events], dtype=torch.int64),
        streams=dict(streams),
    )


def event_id(dataset: str, event: str) -> int:
    """The id under which every view knows an event."""
    return opaque_id(f"{dataset}/{event}")


def refuse_same_id(dataset: str, events: Iterable[str], remedy: str = "remove the recordings of one of them") -> None:
    """A UserError for two events, of whatever view and split, that have one id: they would be taken for one event."""
    by_id: dict[int, str] = {}
    for event in events:
        other = by_id.setdefault(event_id(dataset, event), event)
        if other != event:
            raise UserError(f"{dataset}: the events {other} and {event} have the same id; {remedy}.")


def single(values: ArrayLike) -> Float32[np.ndarray, "..."]:
    """Numbers as float32, in which one too large for it is infinite: look for what is not finite after, not before."""
    with np.errstate(over="ignore"):
        return np.array(values, dtype=np.float32)


def mask(truths: Iterable[bool]) -> Bool[Tensor, "N"]:
    """One truth a clip."""
    return torch.tensor(list(truths), dtype=torch.bool)


def labelled(
    view: View,
    *,
    share: float,
    seed: int,
    may_know: Bool[Tensor, "N"] | None = None,
    exchanges: bool = True,
    across_views: bool = False,
) -> View:
    """The view with the labels it has: of those it may know, a share, drawn by the view for itself.

    Refused while every true label is still in place: a view that cannot learn or, with `exchanges`, has none to share;
    and one with an event in two parts of its split, unless it is tested `across_views`, on other cameras' clips.
    """
    refuse_leak(view, across_views=across_views)
    refuse_degenerate(view, exchanges=exchanges)
    train = view.train if may_know is None else view.train.knowing(view.train.labels.where(may_know, UNKNOWN))
    return replace(view, train=keep_labels(train, share, generator(seed, "labels", view.name)))
