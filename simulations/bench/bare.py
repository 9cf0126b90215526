"""The limit: the job as a researcher would write it for this one job, in plain PyTorch.

    python bare.py job.npz FOLDER --processes 2

No federation, no messages, no record: a persistent process for each core trains its share of the views in turn and
adds up their weights; what crosses between processes in a round is one average out and one sum back. It imports nothing
of fedkd. As it takes the same steps over the same clips, its last weights are those of a run in any of fedkd's places,
bit for bit (tests/test_bench.py).
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Weights = dict[str, Tensor]


class Block(nn.Module):
    """x + relu(norm(conv(x)))."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The frames, changed a little."""
        return x + torch.relu(self.norm(self.conv(x)))


class Net(nn.Module):
    """The student: dilated convolutions over the frames of [B T C], averaged over time."""

    def __init__(self, features: int, channels: int, dilations: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv1d(features, channels, 3, padding=1), nn.GroupNorm(8, channels), nn.ReLU())
        self.blocks = nn.Sequential(*(Block(channels, dilation) for dilation in dilations))
        self.classify = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B K] of clips [B T C]."""
        return self.classify(self.blocks(self.enter(x.transpose(1, 2))).mean(2))


class Job:
    """What the file says, as tensors."""

    def __init__(self, path: Path) -> None:
        arrays = dict(np.load(path))
        self.start = {name[6:]: torch.from_numpy(value) for name, value in arrays.items() if name.startswith("start.")}
        self.clips, self.labels = torch.from_numpy(arrays["train_clips"]), torch.from_numpy(arrays["train_labels"])
        self.exam = torch.from_numpy(arrays["test_clips"]), torch.from_numpy(arrays["test_labels"])
        self.seeds = arrays["seeds"].tolist()
        self.dilations = arrays["dilations"].tolist()
        self.batch = int(arrays["batch"])
        self.learning_rate, self.weight_decay = float(arrays["learning_rate"]), float(arrays["weight_decay"])

    @property
    def rounds(self) -> int:
        """How many."""
        return len(self.seeds)

    @property
    def views(self) -> int:
        """How many."""
        return len(self.clips)

    def net(self) -> Net:
        """A student with the first weights."""
        channels, features, _ = self.start["enter.0.weight"].shape
        net = Net(features, channels, self.dilations, len(self.start["classify.bias"]))
        net.load_state_dict(self.start)
        return net

    def optimiser(self, net: nn.Module) -> torch.optim.Optimizer:
        """AdamW that spares biases and norms."""
        decayed = {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": self.weight_decay}
        free = {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0}
        return torch.optim.AdamW([decayed, free], lr=self.learning_rate, fused=True)

    def rate(self, step: int) -> float:
        """Learning rate at a step: warmed up over a tenth of all, then a cosine."""
        total = self.rounds * (self.clips.shape[1] // self.batch)
        warm = max(1, total // 10)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


class Share:
    """The views that one process trains, each with a net and an optimiser of its own."""

    def __init__(self, job: Job, views: Sequence[int]) -> None:
        self.job, self.views = job, views
        self.nets = {view: job.net() for view in views}
        self.optimisers = {view: job.optimiser(net) for view, net in self.nets.items()}

    def train(self, weights: Weights, round: int) -> Weights:
        """One round of every view from `weights`; the sum of the weights after it, in float64."""
        total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in weights.items()}
        for view, net in self.nets.items():
            net.load_state_dict(weights)
            self._train_one(net, self.optimisers[view], self.job.clips[view], self.job.labels[view], view, round)
            for name, value in net.state_dict().items():
                total[name] += value
        return total

    def _train_one(
        self, net: Net, optimiser: torch.optim.Optimizer, clips: Tensor, labels: Tensor, view: int, round: int
    ) -> None:
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(self.job.seeds[round][view]))
        batches = order.split(self.job.batch)
        for number, rows in enumerate(batches):
            for group in optimiser.param_groups:
                group["lr"] = self.job.rate(round * len(batches) + number)
            optimiser.zero_grad()
            F.cross_entropy(net(clips[rows]), labels[rows]).backward()
            optimiser.step()


def train(job: Job, processes: int, folder: Path) -> Weights:
    """All rounds: this process trains the first share of the views, each other process one more."""
    shares = [range(first, job.views, processes) for first in range(processes)]
    pipes = [_start_process(job, share) for share in shares[1:]]
    mine, weights = Share(job, shares[0]), job.start
    with open(folder / "rounds.csv", "w", buffering=1) as done:
        for round in range(job.rounds):
            for pipe in pipes:
                pipe.send({name: value.numpy() for name, value in weights.items()})
            total = mine.train(weights, round)
            for pipe in pipes:
                total = {name: total[name] + torch.from_numpy(value) for name, value in pipe.recv().items()}
            weights = {name: (value / job.views).float() for name, value in total.items()}
            done.write(f"{round + 1}\n")
    for pipe in pipes:
        pipe.send(None)
    return weights


def _start_process(job: Job, share: Sequence[int]) -> Connection:
    pipe, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("fork").Process(target=_work, args=(theirs, job, share), daemon=True).start()
    return pipe


def _work(pipe: Connection, job: Job, views: Sequence[int]) -> None:
    share = Share(job, views)
    for round in range(job.rounds):
        weights = {name: torch.from_numpy(value) for name, value in pipe.recv().items()}
        pipe.send({name: value.numpy() for name, value in share.train(weights, round).items()})
    pipe.recv()


@torch.no_grad()
def accuracy(job: Job, weights: Weights) -> float:
    """Mean over the views of the share of test clips guessed right."""
    net = job.net()
    net.load_state_dict(weights)
    right = [(net(clips).argmax(1) == labels).double().mean() for clips, labels in zip(*job.exam, strict=True)]
    return float(torch.stack(right).mean())


def main() -> None:
    """Do the job; leave rounds.csv (a line a round, as it ends), weights.npz and summary.json in the folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    job = Job(asked.job)
    weights = train(job, asked.processes, asked.folder)
    np.savez(asked.folder / "weights.npz", **{n: w.numpy() for n, w in weights.items()})  # type: ignore[arg-type]
    (asked.folder / "summary.json").write_text(json.dumps({"accuracy_mean": accuracy(job, weights)}))


if __name__ == "__main__":
    main()
