"""The one job that all contenders do: federated averaging of small students over the views of `data=tiny`.

    SMALL.overrides()          # for `fedkd run`
    SMALL.write("job.npz")     # for programs that know nothing of fedkd: bare.py, pfl_job.py

The students see skeletons of three joints, 9 numbers a frame, because those mean the same in every view: so there is
something for an average of students to learn. Nothing is left to a contender: the file holds the clips, the first
weights, and the seed of every view's order of clips in every round. There is no dropout, so no other chance is used,
and the same arithmetic gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedkd.assemble import student_course
from fedkd.build import build
from fedkd.config import load
from fedkd.seeding import seed_of


@dataclass(frozen=True)
class Job:
    """What is done.

    clips     training clips of each view, a multiple of `batch`: each round is one pass over them.
    channels  of the student, a `fedkd.models.tcn.Tcn`; with `dilations`, its size.
    """

    name: str
    views: int
    clips: int
    frames: int
    channels: int
    dilations: tuple[int, ...]
    rounds: int
    batch: int = 16

    def __post_init__(self) -> None:
        assert self.clips % self.batch == 0, "a contender may draw a new order only between rounds"

    @property
    def steps(self) -> int:
        """Optimiser steps of one view in one round."""
        return self.clips // self.batch

    def overrides(self) -> list[str]:
        """The job in fedkd's words: one exam, after the last round, and nothing is kept but the record."""
        return [
            "data=tiny", f"data.views={self.views}", f"data.clips={self.clips}", f"data.frames={self.frames}",
            "data.num_classes=6", "data.joints=3", "data.noise=1.0",
            "student=imu_tcn", "student.modality=skeleton", f"+student.model.channels={self.channels}",
            f"+student.model.dilations=[{','.join(map(str, self.dilations))}]", "+student.model.dropout=0.0",
            f"+student.schooling.batch={self.batch}", "+student.schooling.epochs=1",
            "strategy=fedavg", "objective.label_smoothing=0.0",
            f"rounds={self.rounds}", f"evaluate_every={self.rounds}", "keep_students=false", "resumable=false",
        ]  # fmt: skip

    def write(self, path: Path) -> None:
        """The job as plain arrays.

        {train,test}_clips [V N T C], {train,test}_labels [V N], seeds [R V] of `torch.randperm`, the first weights
        under "start.<name>", and the schooling: batch, learning_rate, weight_decay, dilations.
        """
        cfg = load(self.overrides())
        data, course = build(cfg.data), student_course(cfg)
        views = [data.view(name, cfg.seed) for name in data.view_names()]
        shape = tuple(views[0].train.streams[course.modality].shape[1:])
        pupil = course.new_pupil(shape, len(data.classes), (cfg.seed, "student"))
        arrays = {f"start.{name}": value.numpy() for name, value in pupil.net.state_dict().items()}
        for split in ("train", "test"):
            clips = [getattr(view, split) for view in views]
            arrays[f"{split}_clips"] = np.stack([seen.streams[course.modality].flatten(2).numpy() for seen in clips])
            arrays[f"{split}_labels"] = np.stack([seen.labels.numpy() for seen in clips])
        arrays["seeds"] = np.array(
            [
                [seed_of(cfg.seed, "student", view.name, "batches", round) for view in views]
                for round in range(1, self.rounds + 1)
            ]
        )
        school = course.schooling
        np.savez(
            path, **arrays, batch=school.batch, learning_rate=school.learning_rate,
            weight_decay=school.weight_decay, dilations=np.array(self.dilations),
        )  # fmt: skip


SMALL = Job("small", views=64, clips=64, frames=128, channels=56, dilations=(1, 2, 4, 8, 1), rounds=10)
"""50 k parameters: what a round costs when students work."""

TINY = Job("tiny", views=64, clips=16, frames=16, channels=8, dilations=(1,), rounds=100)
"""510 parameters, one step a round: what a round costs when there is hardly any work."""


def dry(job: Job) -> Job:
    """The same with 8 views and 2 rounds: to see that everything runs, not how fast."""
    return replace(job, views=8, rounds=2)
