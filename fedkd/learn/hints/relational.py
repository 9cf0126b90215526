"""Relational hint: of a batch of clips, the student's embeddings lie from one another as the teacher's do.

Park, Kim, Lu, Cho. Relational Knowledge Distillation. CVPR 2019. https://arxiv.org/abs/1904.05068, RKD-DA: distances
and angles together (`fedkd.losses.relational`). Only lengths and angles are compared, so nothing is projected.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from fedkd.learn.hints.shown import Shown
from fedkd.losses.relational import angle_loss, distance_loss


class RelationalHint(nn.Module):
    """Distances and angles between a batch's embeddings.

    distance, angle  weights of the two, in the authors' proportion.
    """

    def __init__(
        self, student_channels: int, teacher_channels: int, *, distance: float = 1.0, angle: float = 2.0
    ) -> None:
        super().__init__()
        self.distance, self.angle = distance, angle

    def forward(
        self, maps: Float[Tensor, "B C T"], shown: Shown, labels: Int[Tensor, "B"], events: Int[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Per-sample loss."""
        student, teacher = maps.mean(2), shown.maps.mean(2)
        return self.distance * distance_loss(student, teacher) + self.angle * angle_loss(student, teacher)
