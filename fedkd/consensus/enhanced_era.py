"""Enhanced ERA: a mean, sharpened by a power; unlike ERA it has a value, beta = 1, that leaves the mean alone.

Azuma, Nishio, Kitagawa, Nakano, Tanimura. Soft-Label Caching and Sharpening for Communication-Efficient Federated
Distillation (SCARLET). 2025. https://arxiv.org/abs/2504.19602.
    p_c^beta / sum_j p_j^beta,  p the weighted mean probability
"""

from __future__ import annotations

from collections.abc import Sequence

from fedkd.consensus.align import align
from fedkd.types import SoftLabels


def enhanced_era(tables: Sequence[SoftLabels], *, beta: float = 2.0) -> SoftLabels:
    """One table over the union of events; beta > 1 sharpens, 2 being the default of the authors' code."""
    ballot = align(tables)
    mean = ballot.mean()
    return ballot.settle((mean / mean.amax(1, keepdim=True)).pow(beta))
