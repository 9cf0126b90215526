"""Logarithmic opinion pool: views multiply their beliefs, each with a say that grows with its own certainty.

Genest, Zidek. Combining Probability Distributions: A Critique and an Annotated Bibliography. Statistical Science 1(1),
1986. https://doi.org/10.1214/ss/1177013825 (the pool). Normalised entropy as certainty is this project's choice.
    softmax_c( beta sum_v a_v log p_vc ),   a_v = w_v (1 - H(p_v) / log K), made to sum to 1 over the views

A class that one certain view rules out is ruled out for all; a mean would only thin it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from fedkd.consensus.align import align
from fedkd.types import SoftLabels

VETO = 1e-6
"""Least probability a view may give: one view's rounding to zero is no proof."""

SHRUG = 1e-3
"""Least certainty, that of a uniform belief: with nobody certain the views still agree on something."""


def log_pool(tables: Sequence[SoftLabels], *, beta: float = 1.0) -> SoftLabels:
    """One table over the union of events; beta > 1 sharpens it."""
    ballot = align(tables)
    say = ballot.weight * certainty(ballot.probs)
    say = say / say.sum(0)
    log_beliefs = (say.unsqueeze(2) * ballot.probs.clamp(min=VETO).log()).sum(0)  # N K
    return ballot.settle(torch.softmax(beta * log_beliefs, dim=1))


def certainty(probs: Float[Tensor, "V N K"]) -> Float[Tensor, "V N"]:
    """1 - H / log K: 1 where one class has it all, (almost) 0 where all classes are alike."""
    entropy = -torch.xlogy(probs, probs).sum(2)  # V N
    return (1 - entropy / math.log(probs.shape[2])).clamp(min=SHRUG)
