"""No exchange between rounds: every view learns from its own clips (and from event labels, if those are told).

With ``event_labels`` this is plain label sharing, the baseline that soft labels must beat; with pooled recordings it
is central training, the upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import ArrayRecord

from fedkd.wire import Letter
from strategies.answers import Answer
from strategies.views import ViewStrategy


class Alone(ViewStrategy):
    """Nothing is told, nothing is asked."""

    def tell(self, view: str, server_round: int, arrays: ArrayRecord) -> Letter:
        """Nothing."""
        return {}

    def wish(self, view: str, server_round: int) -> dict[str, bool]:
        """Nothing."""
        return {}

    def hear(self, server_round: int, answers: Mapping[str, Answer], arrays: ArrayRecord) -> ArrayRecord:
        """Nothing."""
        return arrays
