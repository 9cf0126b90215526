"""Attention over viewpoints: of each event, the views that say what most of the views say have the greater say.

The attention of Xu et al. (Neurocomputing 456, 2021; see `fedkd.models.viewpoint_attention`), brought to soft labels
because features do not leave a view. RECONSTRUCTED, and nothing in it is learned: the query is the views' weighted mean
belief q, a view's key and value is its own belief p_v.
    sum_v a_v p_v,   a_v = w_v exp(p_v . q / T), made to sum to 1 over the views
p_v . q is the probability that a guess drawn from the view equals one drawn from all views: an unsure view agrees with
nobody for certain, and a sure one that stands alone hardly more.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from fedkd.consensus.align import align
from fedkd.types import SoftLabels

LARGEST = 600.0
"""Above it a power of e comes near the end of float64: those of an event are then all made smaller alike."""


def viewpoint_attention(tables: Sequence[SoftLabels], *, temperature: float = 0.1) -> SoftLabels:
    """One table over the union of events. p_v . q <= 1, so no view outweighs another more than exp(1 / T) times."""
    ballot = align(tables)
    agreement = (ballot.probs * ballot.mean()).sum(2)  # V N
    say = ballot.weight * _finite_exp(agreement / temperature)
    return ballot.settle((say.unsqueeze(2) * ballot.probs).sum(0))


def _finite_exp(powers: Float[Tensor, "V N"]) -> Float[Tensor, "V N"]:
    """e to these powers, but for a factor of each event's own that keeps them finite; mostly 1."""
    return (powers - (powers.amax(0) - LARGEST).clamp(min=0)).exp()
