"""Contrastive cross-modal hint: of a batch of events, the student's embedding of each belongs to the teacher's.

S. Liu, W. Liu, J. Tian. Cross-Modality Distillation for Multi-View Action Recognition. IJCCC 20(5), 2025, names
contrastive learning among its keywords; RECONSTRUCTED as InfoNCE (`fedkd.losses.contrastive`).
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from fedkd.learn.hints.shown import Shown
from fedkd.losses.contrastive import info_nce


class ContrastHint(nn.Module):
    """The student's embedding, projected to the teacher's channels, belongs to the teacher's of the same event."""

    def __init__(self, student_channels: int, teacher_channels: int, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.project = nn.Linear(student_channels, teacher_channels)
        self.temperature = temperature

    def forward(
        self, maps: Float[Tensor, "B C T"], shown: Shown, labels: Int[Tensor, "B"], events: Int[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Per-sample loss in nats; events of one known class belong together."""
        return info_nce(self.project(maps.mean(2)), shown.maps.mean(2), events, labels, temperature=self.temperature)
