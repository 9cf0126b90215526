"""Relational distillation: not where the teacher puts clips, but how far and at what angles they lie from one another.

Park, Kim, Lu, Cho. Relational Knowledge Distillation. CVPR 2019. https://arxiv.org/abs/1904.05068, equations 6-10:
    distance   huber( |s_i - s_j| / m_s,  |t_i - t_j| / m_t ),   m the mean distance of a batch
    angle      huber( cos s_ijk,  cos t_ijk ),   at the corner j

The spaces of teacher and student may differ in size: only lengths and angles are compared.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss


def distance_loss(student: Float[Tensor, "B E"], teacher: Float[Tensor, "B F"]) -> Float[Tensor, "B"]:
    """Per-sample mean over the other samples; a batch of one has no distances and costs nothing."""
    if len(student) == 1:
        return 0.0 * student.sum(1)
    return smooth_l1_loss(_distances(student), _distances(teacher), reduction="none").sum(1) / (len(student) - 1)


def angle_loss(student: Float[Tensor, "B E"], teacher: Float[Tensor, "B F"]) -> Float[Tensor, "B"]:
    """Per-sample mean over all B x B pairs of sides that meet at the sample; those without an angle (a side to itself,
    or of no length) cost nothing, and are counted as in the authors' code.
    """
    return smooth_l1_loss(_cosines(student), _cosines(teacher), reduction="none").mean((1, 2))


def _distances(points: Float[Tensor, "B E"]) -> Float[Tensor, "B B"]:
    """Between all pairs, in units of their mean."""
    squares = (points[:, None] - points).square().sum(2)
    apart = squares > 0
    lengths = torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)  # a root has no slope at 0
    return lengths / lengths.sum().div(apart.sum().clamp(min=1)).clamp(min=torch.finfo(points.dtype).tiny)


def _cosines(points: Float[Tensor, "B E"]) -> Float[Tensor, "B B B"]:
    """[j i k]: cosine of the angle at j between the sides to i and to k."""
    sides = normalize(points[:, None] - points, dim=2)  # j i E
    return sides @ sides.transpose(1, 2)
