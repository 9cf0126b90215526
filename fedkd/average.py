"""The weighted mean of nets' weights, and which nets have one.

McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-Efficient Learning of Deep Networks from Decentralized
Data. AISTATS 2017. https://arxiv.org/abs/1602.05629 (algorithm 1, the server's last line.)

    >>> average([{"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}], [2, 1])
    {'w': tensor([2.])}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from fedkd.errors import UserError


@runtime_checkable
class Numbers(Protocol):
    """A tensor, or an array as it travels."""

    @property
    def dtype(self) -> Any:
        """The numbers' type."""

    @property
    def shape(self) -> Sequence[int]:
        """How many there are along each axis."""


Form = Mapping[str, tuple[object, ...]]
"""Type and shape of each of a net's arrays: nets of one form can be averaged."""


def form(state: Mapping[str, Numbers]) -> Form:
    """The form of a net's weights, as tensors or as they travel."""
    return {name: (str(value.dtype).removeprefix("torch."), *value.shape) for name, value in state.items()}


def form_of_most(states: Iterable[Mapping[str, Numbers]]) -> Form:
    """The form that more than half of the nets have, if there is one: they see the same, so another is a wrong one."""
    forms = [form(state) for state in states]
    return next((one for one in forms if 2 * forms.count(one) > len(forms)), {})


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
