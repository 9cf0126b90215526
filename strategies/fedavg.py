"""Federated averaging of the students' weights, for comparison.

McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-Efficient Learning of Deep Networks from Decentralized
Data. AISTATS 2017. https://arxiv.org/abs/1602.05629 (algorithm 1; every view takes part in every round.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flwr.app import ArrayRecord

from fedkd.average import average, form, form_of_most, refuse_other
from fedkd.wire import Kind, Letter, pack_weights
from strategies.answers import Answer
from strategies.views import ViewStrategy


class FedAvg(ViewStrategy):
    """Weights out, weights in. Students start alike (``common_start``), so the first round needs no weights."""

    def tell(self, view: str, server_round: int, arrays: ArrayRecord) -> Letter:
        """The average of the last round."""
        return {Kind.WEIGHTS: arrays} if len(arrays) else {}

    def wish(self, view: str, server_round: int) -> dict[str, bool]:
        """The weights after the round."""
        return {"wants_weights": True}

    def refuse(self, answer: Answer, beside: Collection[Answer]) -> None:
        """Weights of another net than the one that is averaged, or, before there is one, than most views have."""
        averaged = form(self._arrays) or form_of_most(other.weights or {} for other in beside)
        refuse_other(form(answer.weights or {}), averaged)

    def hear(self, server_round: int, answers: Mapping[str, Answer], arrays: ArrayRecord) -> ArrayRecord:
        """The mean of the weights of the views that learned something, each weighing by its training clips."""
        num_clips = self.setting.beginning.enrolment.num_clips
        taught = {view: answer for view, answer in answers.items() if answer.tally.count and answer.weights}
        counts = [num_clips[view] * self.weight_of(answer) for view, answer in taught.items()]
        if not any(counts):
            return arrays
        return pack_weights(average([answer.weights or {} for answer in taught.values()], counts))

    def remind(self, arrays: ArrayRecord) -> Letter:
        """The exam is the averaged student's."""
        return {Kind.WEIGHTS: arrays} if len(arrays) else {}
