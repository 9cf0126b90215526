"""The job in pfl-research 0.6.0, run by an interpreter of its own, which need not know fedkd.

    python -m venv PFL && PFL/bin/pip install torch==2.13.0 pfl==0.6.0
    PFL/bin/python -m torch.distributed.run --nproc-per-node 2 pfl_job.py job.npz FOLDER

Granqvist et al. pfl-research: simulation framework for accelerating research in Private Federated Learning. NeurIPS
2024 (datasets and benchmarks). https://arxiv.org/abs/2404.06430. Its `FederatedAveraging`, as its own examples use it.
Where it differs from the job its way is kept: a view gets a new optimiser each round, at a constant learning rate, and
its clips in one order. So the steps are as many and as large, but the last weights are others.
"""

# mypy: ignore-errors
# (pfl is not installed where this is checked)

from __future__ import annotations

import json
import sys
from functools import partial
from itertools import cycle
from pathlib import Path

import torch
import torch.nn.functional as F
from bare import Job, accuracy
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.internal.ops.selector import get_framework_module as ops
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel


class Log(TrainingProcessCallback):
    """A line in rounds.csv at the end of each round."""

    def __init__(self, folder: Path) -> None:
        self.file = open(folder / "rounds.csv", "w", buffering=1)  # noqa: SIM115 (as long as the process)

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        """Say that the round is done."""
        self.file.write(f"{central_iteration + 1}\n")
        return False, Metrics()


def views_of(job: Job) -> FederatedDataset:
    """A user for each view, all of them in turn."""
    users = [Dataset([clips, labels]) for clips, labels in zip(job.clips, job.labels, strict=True)]
    turn = cycle(range(job.views))
    return FederatedDataset(users.__getitem__, lambda: next(turn))


def main() -> None:
    """Do the job; the first process leaves rounds.csv and summary.json in the folder."""
    torch.set_num_threads(1)
    job, folder = Job(Path(sys.argv[1])), Path(sys.argv[2])
    net = job.net()
    net.loss = lambda clips, labels, **_: F.cross_entropy(net(clips), labels)
    net.metrics = lambda *_, **__: {}  # the exam is ours, after the last round
    adam = partial(torch.optim.AdamW, weight_decay=job.weight_decay, fused=True)
    model = PyTorchModel(net, adam, torch.optim.SGD(net.parameters(), lr=1.0))
    first = ops().distributed.global_rank == 0
    data = views_of(job)
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=job.rounds, evaluation_frequency=job.rounds,
            train_cohort_size=job.views, val_cohort_size=None,
        ),
        SimulatedBackend(training_data=data, val_data=data),
        model,
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=job.learning_rate, local_batch_size=job.batch),
        NNEvalHyperParams(local_batch_size=job.batch),
        [Log(folder)] if first else [],
    )  # fmt: skip
    if first:
        (folder / "summary.json").write_text(json.dumps({"accuracy_mean": accuracy(job, net.state_dict())}))


if __name__ == "__main__":
    main()
