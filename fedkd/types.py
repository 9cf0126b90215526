"""The nouns of fedkd, and the letters that name their axes.

* event: what happened once, and several views may have seen; known by its id.
* view: a camera or a body-worn sensor, with its recordings (`View`).
* host: a machine that serves one or more views; recordings stay on it. Flower calls it a node.
* clip: one event as one view recorded it, in one modality or several (a row of `Clips`).
* student: the net that answers for a view.
* teacher: a net that guides students, by its answers or its features; "the" teacher is a run's first.
* mentor: a teacher as one host has it, the first or an assistant (`clients.mentor`).
* pupil: a net under instruction, student or teacher (`fedkd.learn.pupil`); for the server, a view that trains.
* lab: the server's own labelled recordings, of other people, where a teacher may be taught.
* letter: what one message says to one view, or one view in reply: records by kind (`fedkd.wire`).
* told: heard from others and not known by oneself, such as the true class of an event.
* answer: a net's probabilities for a clip; for the server also a view's reply to a round.
* exam: an exchange that measures; the students answer for clips that nobody was taught on.
* fused: the views' answers for one event made one answer, by the rule that also makes the consensus.

Axes, named in every signature: B batch, N clips or events, K classes, V views, T frames, J joints, D coordinates,
M people, C channels, H W picture. Tensors that hold identity (ids, labels) are int64; probabilities are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

UNKNOWN = -1
"""The class of a clip whose label is not known."""

UNSEEN = -1
"""The row of an event among the clips of a view that did not film it."""


def located(ids: Int[Tensor, "N"], asked: Int[Tensor, "A"]) -> tuple[Bool[Tensor, "A"], Int[Tensor, "F"]]:
    """Which of the asked events there are among strictly increasing `ids`, and the row of each that there is."""
    at = torch.searchsorted(ids, asked)
    there = torch.searchsorted(ids, asked, right=True) > at
    return there, at[there]


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """What one party believes about N events: the one thing that views, teacher and consensus exchange.

    ids     event ids, strictly increasing.
    probs   one distribution over the K classes for each event, at temperature 1.
    weight  trust in each row, >= 0; a row of weight 0 abstains.
    """

    ids: Int[Tensor, "N"]
    probs: Float[Tensor, "N K"]
    weight: Float[Tensor, "N"]

    def __post_init__(self) -> None:
        if self.probs.ndim != 2 or self.ids.shape != self.probs.shape[:1] or self.weight.shape != self.probs.shape[:1]:
            raise ValueError(
                f"SoftLabels needs ids [N] and weight [N] for probs [N K], got ids {tuple(self.ids.shape)}, "
                f"weight {tuple(self.weight.shape)}, probs {tuple(self.probs.shape)}."
            )
        if (self.ids[1:] <= self.ids[:-1]).any():
            raise ValueError("SoftLabels needs strictly increasing event ids; sort them and drop repeated events.")
        sums = self.probs.sum(1)
        if not (torch.isfinite(self.probs).all() and (self.probs >= 0).all() and ((sums - 1).abs() < 1e-3).all()):
            raise ValueError("SoftLabels needs rows of probabilities that sum to 1; normalise them first.")
        if not (torch.isfinite(self.weight).all() and (self.weight >= 0).all()):
            raise ValueError("SoftLabels needs finite weights >= 0 (0 abstains).")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.probs.shape[1]

    def rows(self, index: Tensor) -> SoftLabels:
        """The rows that a boolean mask [N], or increasing positions, choose."""
        return SoftLabels(self.ids[index], self.probs[index], self.weight[index])

    @staticmethod
    def of(ids: Int[Tensor, "N"], probs: Float[Tensor, "N K"], weight: Float[Tensor, "N"] | None = None) -> SoftLabels:
        """Rows in any order, sorted by event id; without `weight` every row is trusted alike."""
        order = torch.argsort(ids)
        weight = torch.ones(len(ids)) if weight is None else weight[order]
        return SoftLabels(ids[order], probs[order], weight)

    @staticmethod
    def empty(num_classes: int) -> SoftLabels:
        """Nothing believed."""
        return SoftLabels(torch.empty(0, dtype=torch.int64), torch.empty(0, num_classes), torch.empty(0))


Consensus = Callable[[Sequence[SoftLabels]], SoftLabels]
"""What several parties believe of the same events -> one belief (`fedkd.consensus`)."""


@dataclass(frozen=True, slots=True)
class EventLabels:
    """True classes of events, told once by a view that knows them. ids strictly increasing; classes 0..K-1."""

    ids: Int[Tensor, "N"]
    classes: Int[Tensor, "N"]

    def __post_init__(self) -> None:
        if self.ids.ndim != 1 or self.ids.shape != self.classes.shape or (self.ids[1:] <= self.ids[:-1]).any():
            raise ValueError(
                f"EventLabels needs strictly increasing ids [N] and classes [N], got ids {tuple(self.ids.shape)}, "
                f"classes {tuple(self.classes.shape)}."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def of(ids: Int[Tensor, "N"], classes: Int[Tensor, "N"]) -> EventLabels:
        """Rows in any order; an event told twice is kept once (a contradiction is the first teller's)."""
        order = torch.argsort(ids, stable=True)
        ids, classes = ids[order], classes[order]
        first = torch.ones(len(ids), dtype=torch.bool)
        first[1:] = ids[1:] != ids[:-1]
        return EventLabels(ids[first], classes[first])

    def rows(self, index: Tensor) -> EventLabels:
        """The rows that a boolean mask [N], or increasing positions, choose."""
        return EventLabels(self.ids[index], self.classes[index])

    @staticmethod
    def none() -> EventLabels:
        """Nothing told."""
        nothing = torch.empty(0, dtype=torch.int64)
        return EventLabels(nothing, nothing)

    def classes_of(self, ids: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """The class of each asked event, UNKNOWN where nobody told."""
        found = torch.full_like(ids, UNKNOWN)
        there, at = located(self.ids, ids)
        found[there] = self.classes[at]
        return found


@dataclass(frozen=True, slots=True)
class Clips:
    """N events as one view saw them.

    ids      event ids, strictly increasing, the same in every view of an event; hashes of events' names, so they tell
             something to whoever knows the names.
    labels   true class of each clip, UNKNOWN where the view does not know it. Of test clips it is always known.
    of       where several views' clips lie together, each under an id of its own: the event that each is of.
    streams  modality -> [N ...], as the data set prepared it: "rgb" uint8 [N T H W 3], "depth" uint8 [N T H W 1],
             "skeleton" [N T J 3], "pose2d" [N T J 2], "imu" [N T S 3] of S sensors (or [N T C]).
    """

    ids: Int[Tensor, "N"]
    labels: Int[Tensor, "N"]
    streams: Mapping[str, Tensor]
    of: Int[Tensor, "N"] | None = None

    def __post_init__(self) -> None:
        if (self.ids[1:] <= self.ids[:-1]).any():
            raise ValueError("Clips needs strictly increasing event ids: one clip for each event a view saw.")
        for modality, stream in self.streams.items():
            if len(stream) != len(self.ids):
                raise ValueError(
                    f"Clips needs one {modality} row for each of {len(self.ids)} events, got {len(stream)}."
                )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def events(self) -> Int[Tensor, "N"]:
        """The event that each clip is of."""
        return self.ids if self.of is None else self.of

    def has(self, modality: str) -> bool:
        """Whether all streams that "a" or "a+b" names are there."""
        return set(modality.split("+")) <= set(self.streams)

    def stream(self, modality: str) -> Tensor:
        """A stream [N ...]; "skeleton+imu" joins the vectors [N T J 3] of both, frame by frame: [N T J1+J2 3]."""
        if "+" not in modality:
            return self.streams[modality]
        return torch.cat([self.streams[name] for name in modality.split("+")], dim=2)

    def rows(self, index: Tensor) -> Clips:
        """The clips that a boolean mask [N], or increasing positions, choose."""
        streams = {modality: stream[index] for modality, stream in self.streams.items()}
        return Clips(self.ids[index], self.labels[index], streams, None if self.of is None else self.of[index])

    def knowing(self, labels: Int[Tensor, "N"]) -> Clips:
        """The same clips with other labels."""
        return replace(self, labels=labels)


@dataclass(frozen=True, slots=True)
class View:
    """One camera's recordings, split for a run: no clip is in two parts. Whether a person may be, the protocol says.

    train   all its training clips; labels UNKNOWN where this view has none.
    shared  which training clips it may speak about with other views.
    """

    name: str
    classes: tuple[str, ...]
    train: Clips
    shared: Bool[Tensor, "N"]
    valid: Clips
    test: Clips

    def __post_init__(self) -> None:
        labels = torch.cat([part.labels for part in (self.train, self.valid, self.test)])
        strange = labels[(labels != UNKNOWN) & ((labels < 0) | (labels >= self.num_classes))]
        if len(strange):
            raise ValueError(
                f"View {self.name} needs labels of its {self.num_classes} classes, 0..{self.num_classes - 1}, or "
                f"UNKNOWN, got {int(strange[0])}."
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)


@dataclass(frozen=True)
class Tally:
    """Sums and a count, kept apart so that tallies of batches, views and rounds add up; averages are made last."""

    count: int = 0
    sums: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        keys = {**self.sums, **other.sums}
        return Tally(self.count + other.count, {k: self.sums.get(k, 0.0) + other.sums.get(k, 0.0) for k in keys})

    def means(self) -> Iterator[tuple[str, float]]:
        """(name, sum / count) pairs; nothing when nothing was counted."""
        if self.count:
            yield from ((name, total / self.count) for name, total in self.sums.items())
