"""Contrastive loss: what two views, or two modalities, make of one event is drawn together, of different events apart.

Van den Oord, Li, Vinyals. Representation Learning with Contrastive Predictive Coding. 2018.
https://arxiv.org/abs/1807.03748, equation 4 (InfoNCE), with cosine similarity and temperature:
    - 1/|P_i| sum_{j in P_i} log( exp(<a_i, b_j> / k) / sum_n exp(<a_i, b_n> / k) )
P_i are the rows of i's event; with labels, all of its class (Khosla et al., NeurIPS 2020,
https://arxiv.org/abs/2004.11362, equation 2).

    >>> info_nce(torch.eye(2), torch.eye(2), temperature=1.0)      # ln(1 + 1 / e)
    tensor([0.3133, 0.3133])
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from fedkd.types import UNKNOWN


def info_nce(
    anchors: Float[Tensor, "B E"],
    partners: Float[Tensor, "B E"],
    events: Int[Tensor, "B"] | None = None,
    labels: Int[Tensor, "B"] | None = None,
    *,
    temperature: float = 0.07,
) -> Float[Tensor, "B"]:
    """Per-anchor loss in nats. Row i of both sides is one event; rows may repeat one (`events` says which they are). An
    UNKNOWN label makes no other event its like.
    """
    similarity = normalize(anchors, dim=1) @ normalize(partners, dim=1).T / temperature  # B B
    like = torch.eye(len(anchors), dtype=torch.bool)
    if events is not None:
        like = like | (events[:, None] == events)
    if labels is not None:
        like = like | (labels[:, None] == labels) & (labels != UNKNOWN)
    log_share = similarity.log_softmax(dim=1)
    return -(log_share * like).sum(1) / like.sum(1)
