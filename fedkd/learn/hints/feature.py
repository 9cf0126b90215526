"""Feature hint: the student's embedding, projected, is drawn to the teacher's by their mean squared difference.

Romero, Ballas, Kahou, Chassang, Gatta, Bengio. FitNets: Hints for Thin Deep Nets. ICLR 2015.
https://arxiv.org/abs/1412.6550, equation 3, of embeddings in place of maps.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from fedkd.learn.hints.shown import Shown


class FeatureHint(nn.Module):
    """A linear layer projects the student's embedding to the teacher's channels."""

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(student_channels, teacher_channels)

    def forward(
        self, maps: Float[Tensor, "B C T"], shown: Shown, labels: Int[Tensor, "B"], events: Int[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Per-sample loss."""
        return (self.project(maps.mean(2)) - shown.maps.mean(2)).square().mean(1)
