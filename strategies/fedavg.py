"""Federated averaging of the students' weights, for comparison.

McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-Efficient Learning of Deep Networks from Decentralized
Data. AISTATS 2017. https://arxiv.org/abs/1602.05629 (algorithm 1; every view takes part in every round.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor

from fedkd.errors import UserError
from fedkd.wire import Kind, Letter, pack_weights
from strategies.answers import Answer
from strategies.views import ViewStrategy


class FedAvg(ViewStrategy):
    """Weights out, weights in. Students start alike (``common_start``), so the first round needs no weights."""

    def tell(self, view: str, server_round: int, arrays: ArrayRecord) -> Letter:
        """The average of the last round."""
        return {Kind.WEIGHTS: arrays} if len(arrays) else {}

    def wish(self, server_round: int) -> dict[str, bool]:
        """The weights after the round."""
        return {"wants_weights": True}

    def refuse(self, answer: Answer) -> None:
        """Weights of another net than the one that is averaged, once there is one."""
        refuse_other(form(answer.weights or {}), form(self._arrays))

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


Form = Mapping[str, tuple[object, ...]]
"""Type and shape of each of a net's arrays: nets of one form can be averaged."""


def form(state: Mapping[str, Tensor | Array]) -> Form:
    """The form of a net's weights, as tensors or as they travel."""
    return {name: (str(value.dtype).removeprefix("torch."), *value.shape) for name, value in state.items()}


def refuse_other(got: Form, expected: Form) -> None:
    """Raise a ValueError for weights of another form than those that are averaged, once there are any."""
    wrong = sorted(name for name in {**expected, **got} if expected.get(name) != got.get(name))
    if expected and wrong:
        raise ValueError(f"expected the weights of the net that is averaged, got others in {', '.join(wrong)}")


def average(states: Sequence[Mapping[str, Tensor]], counts: Sequence[int | float]) -> dict[str, Tensor]:
    """The weighted mean of networks' weights, summed in float64 in the order given; counters are the first one's.

    Raises UserError for networks that differ.
    """
    if any(form(state) != form(states[0]) for state in states):
        raise UserError(
            "weights are averaged of nets that are alike, but the views' nets differ as their clips do; choose other "
            "data.views, or a strategy that does not average weights."
        )
    share = [count / sum(counts) for count in counts]
    mean = {}
    for name, first in states[0].items():
        if first.is_floating_point():
            total = torch.zeros_like(first, dtype=torch.float64)
            for s, state in zip(share, states, strict=True):
                total.add_(state[name], alpha=s)
            mean[name] = total.to(first.dtype)
        else:
            mean[name] = first
    return mean
