"""A net under instruction: weights, their moving average, the optimiser's memory and the number of steps taken.

The moving average is the "mean teacher" of Tarvainen and Valpola (NeurIPS 2017, https://arxiv.org/abs/1703.01780): it
answers for the pupil, because averaged weights are steadier than the last ones.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedkd.weights import under


@dataclass(frozen=True, slots=True)
class Schooling:
    """How a net is taught.

    batch            clips a step.
    epochs           passes over all the view's training clips in a round, labelled or not: every method takes the
                     same number of steps, however few labels it has.
    learning_rate    peak of AdamW's; warmed up over the first tenth of all steps (`Pupil.course_steps`), then a cosine
                     to zero.
    weight_decay     AdamW's, on weight matrices and kernels; biases and norms are left alone.
    mixup            clips are mixed in shares from Beta(mixup, mixup) (`fedkd.learn.mixup`); 0: they are not.
    ema              decay a step of the averaged weights that answer for the net; 0: the weights themselves answer.
    """

    batch: int = 32
    epochs: int = 3
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    mixup: float = 0.0
    ema: float = 0.0

    def steps(self, num_clips: int) -> int:
        """Optimiser steps in a round for a view with `num_clips` training clips."""
        return self.epochs * math.ceil(num_clips / self.batch)

    def rate(self, step: int, total: int) -> float:
        """Learning rate at `step` of `total`."""
        warm = max(1, total // 10)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


class Pupil:
    """A net, what answers for it, and its optimiser.

    hints      layers that take teachers' features, one for each teacher that shows them.
    attention  over the views of nets that learn together.

    Both learn with the net and answer for nothing.
    """

    def __init__(
        self,
        net: nn.Module,
        schooling: Schooling,
        hints: Sequence[nn.Module] = (),
        attention: nn.Module | None = None,
    ) -> None:
        self.net, self.hints, self.attention = net, nn.ModuleList(hints), attention
        self.schooling = schooling
        self.average = copy.deepcopy(net).requires_grad_(False) if schooling.ema else None
        learners = [net, *([] if attention is None else [attention]), *hints]
        learning = [parameter for learner in learners for parameter in learner.parameters()]
        decayed = [parameter for parameter in learning if parameter.ndim > 1]
        free = [parameter for parameter in learning if parameter.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": schooling.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=schooling.learning_rate, fused=True)
        self.step = 0
        self.taught = False
        """Whether its weights learned something, here or elsewhere."""

    @property
    def voice(self) -> nn.Module:
        """The net that answers: the averaged one where there is one."""
        return self.net if self.average is None else self.average

    def course_steps(self, steps: int, round: int, rounds: int) -> int:
        """All steps of its course, as round `round` of `rounds` begins: those done, and `steps` in each round left.

        rounds * steps for one that learns from round 1 on. One that first learns later has a shorter course of its own,
        warm-up and all; one that misses rounds goes on further down its course, so that its rate too has fallen to zero
        after the last round.
        """
        return self.step + (rounds - round + 1) * steps

    def descend(self, loss: Tensor, total_steps: int) -> None:
        """One optimiser step down `loss`."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.schooling.rate(self.step, total_steps)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        self.taught = True
        if self.average is not None:
            _follow(self.average, self.net, min(self.schooling.ema, self.step / (self.step + 10)))

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights from elsewhere, for the net and its average; the optimiser keeps its memory."""
        self.net.load_state_dict(weights)
        if self.average is not None:
            self.average.load_state_dict(weights)
        self.taught = True

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on elsewhere with the same bits, as flat tensors."""
        flat = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        flat |= {f"hints.{name}": value for name, value in self.hints.state_dict().items()}
        if self.attention is not None:
            flat |= {f"attention.{name}": value for name, value in self.attention.state_dict().items()}
        if self.average is not None:
            flat |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, memory in self.optimiser.state_dict()["state"].items():
            flat |= {f"optimiser.{index}.{name}": value for name, value in memory.items()}
        return flat | {"step": torch.tensor(self.step), "taught": torch.tensor(self.taught)}

    def restore(self, flat: Mapping[str, Tensor]) -> None:
        """Go on from a `state()`."""
        self.net.load_state_dict(under("net.", flat))
        self.hints.load_state_dict(under("hints.", flat))
        if self.attention is not None:
            self.attention.load_state_dict(under("attention.", flat))
        if self.average is not None:
            self.average.load_state_dict(under("average.", flat))
        memory: dict[int, dict[str, Tensor]] = {}
        for key, value in under("optimiser.", flat).items():
            index, name = key.split(".")
            memory.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict({"state": memory, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.step, self.taught = int(flat["step"]), bool(flat["taught"])


@torch.no_grad()
def _follow(average: nn.Module, net: nn.Module, decay: float) -> None:
    means, values = list(average.state_dict().values()), list(net.state_dict().values())
    floating = [index for index, mean in enumerate(means) if mean.is_floating_point()]
    torch._foreach_lerp_([means[i] for i in floating], [values[i] for i in floating], 1 - decay)
    for index in set(range(len(means))) - set(floating):
        means[index].copy_(values[index])  # a counter, such as BatchNorm's number of batches
