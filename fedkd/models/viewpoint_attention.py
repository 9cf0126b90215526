"""Viewpoint-aware attention: how much each view says about an event is learned from what it saw.

Xu et al. Cross-modality online distillation for multi-view action recognition. Neurocomputing 456, 2021, pages 384-393.
RECONSTRUCTED from its abstract, in the form of Ilse, Tomczak, Welling (ICML 2018, https://arxiv.org/abs/1802.04712,
equation 8):
    w_v = softmax_v( u . tanh(W e_v + b) ),   h = sum_v w_v e_v
Their equation has no b.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class ViewpointAttention(nn.Module):
    """How much each view of an event counts, however many there are."""

    def __init__(self, size: int, hidden: int = 64) -> None:
        super().__init__()
        self.project = nn.Linear(size, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, embeddings: Float[Tensor, "V B E"], present: Bool[Tensor, "V B"]) -> Float[Tensor, "V B"]:
        """w: a view that did not see the event has weight 0; each event needs one view that did."""
        scores = self.score(torch.tanh(self.project(embeddings))).squeeze(2)  # V B
        return scores.masked_fill(~present, -torch.inf).softmax(0)


class MeanOfViews(nn.Module):
    """Every view that saw the event counts the same: what attention is to be compared with."""

    def forward(self, embeddings: Float[Tensor, "V B E"], present: Bool[Tensor, "V B"]) -> Float[Tensor, "V B"]:
        """w, as of `ViewpointAttention`."""
        return present.to(embeddings.dtype) / present.sum(0)
