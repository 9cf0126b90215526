"""Entropy reduction aggregation (ERA): a mean, sharpened because the mean of uncertain views is too uncertain.

Itahara, Nishio, Koda, Morikura, Yamamoto. Distillation-Based Semi-Supervised Federated Learning for
Communication-Efficient Collaborative Training with Non-IID Private Data (DS-FL). IEEE Trans. Mobile Computing 2021.
https://arxiv.org/abs/2008.06180.
    softmax(p / T),  p the weighted mean probability
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedkd.consensus.align import align
from fedkd.types import SoftLabels


def era(tables: Sequence[SoftLabels], *, temperature: float = 0.1) -> SoftLabels:
    """One table over the union of events. T = 0.1 is the authors'; as p <= 1, no odds exceed exp(1 / T)."""
    ballot = align(tables)
    return ballot.settle(torch.softmax(ballot.mean() / temperature, dim=1))
