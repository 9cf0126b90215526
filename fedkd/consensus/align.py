"""Tables of several views side by side, so that a consensus rule is a formula.

    >>> left = SoftLabels.of(torch.tensor([7, 8]), torch.tensor([[0.9, 0.1], [0.5, 0.5]]))
    >>> right = SoftLabels.of(torch.tensor([7]), torch.tensor([[0.7, 0.3]]))
    >>> ballot = align([left, right])
    >>> ballot.ids.tolist(), ballot.settle(ballot.mean()).weight.tolist()   # both spoke of 7, one of 8
    ([7, 8], [2.0, 1.0])

Every rule must give the same bits in whatever order the views came. Floating-point sums do depend on it, so tables are
first put in an order of their own, that of their bytes; sums run in float64 and are rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedkd.types import SoftLabels


@dataclass(frozen=True, slots=True)
class Ballot:
    """What V views say of N events, in float64. A view that did not see an event says "uniform" with weight 0."""

    ids: Int[Tensor, "N"]
    probs: Float[Tensor, "V N K"]
    weight: Float[Tensor, "V N"]

    def mean(self) -> Float[Tensor, "N K"]:
        """The views' weighted mean probability."""
        weight = self.weight.unsqueeze(2)  # V N 1
        return (weight * self.probs).sum(0) / weight.sum(0)

    def settle(self, scores: Float[Tensor, "N K"]) -> SoftLabels:
        """The outcome: scores >= 0 made probabilities, trusted as much as all who spoke together."""
        probs = scores / scores.sum(1, keepdim=True)
        return SoftLabels(self.ids, probs.float(), self.weight.sum(0).float())


def align(tables: Sequence[SoftLabels]) -> Ballot:
    """The tables over the union of their events; an event that nobody weighs is left out."""
    if len({table.num_classes for table in tables}) != 1:
        raise ValueError(
            f"A consensus needs tables over the same classes, got {[t.num_classes for t in tables]} classes; "
            "give at least one table, and the same class list to every view."
        )
    tables = sorted(tables, key=_bytes)
    ids = torch.cat([table.ids[table.weight > 0] for table in tables]).unique()
    num_classes = tables[0].num_classes
    probs = torch.full((len(tables), len(ids), num_classes), 1 / num_classes, dtype=torch.float64)
    weight = torch.zeros(len(tables), len(ids), dtype=torch.float64)
    for view, table in enumerate(tables):
        spoken = table.rows(table.weight > 0)
        at = torch.searchsorted(ids, spoken.ids)
        probs[view, at] = spoken.probs.double()
        weight[view, at] = spoken.weight.double()
    return Ballot(ids, probs, weight)


def _bytes(table: SoftLabels) -> tuple[bytes, ...]:
    """A key under which only equal tables tie."""
    return tuple(part.contiguous().numpy().tobytes() for part in (table.ids, table.probs, table.weight))
