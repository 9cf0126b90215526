"""The views' weighted mean probability: the baseline, and the only rule here that is linear.

Li, Wang. FedMD: Heterogenous Federated Learning via Model Distillation. 2019. https://arxiv.org/abs/1910.03581,
algorithm 1, "Aggregate" (there of logits, here of probabilities).
    sum_v w_v p_v / sum_v w_v
"""

from __future__ import annotations

from collections.abc import Sequence

from fedkd.consensus.align import align
from fedkd.types import SoftLabels


def mean_consensus(tables: Sequence[SoftLabels]) -> SoftLabels:
    """One table over the union of events; its weight is the sum of those who spoke."""
    ballot = align(tables)
    return ballot.settle(ballot.mean())
