"""One contender does the job in a fresh process; when its rounds ended, and how much memory it held.

Every contender leaves a `rounds.csv` that grows at the end of each round and a `summary.json` at the end of the run, so
all are timed by the same eyes, from outside: the clock starts with the command. A look costs some 20 microseconds and
there are fifty a second; the contender's processes are weighed every two seconds.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from fedkd.weights import digest
from simulations.bench.job import Job
from strategies.checkpoint import arrays_in

LOOK_SECONDS, WEIGH_SECONDS = 0.02, 2.0
HERE = Path(__file__).parent

CONTENDERS = {
    "bare-2": "bare PyTorch, 2 processes",
    "bare-1": "bare PyTorch, 1 process",
    "local": "fedkd, place local",
    "ray": "fedkd, place ray",
    "flower": "fedkd's apps in Flower's engine",
    "pfl": "pfl-research 0.6.0, 2 processes",
}


@dataclass(frozen=True)
class Run:
    """What was seen of one run; times in seconds from the start of the command, memory in bytes.

    round_ends  when each round was done.
    finished    when the run was: its last exam marked, its record closed.
    command     when the command had ended; fedkd's makes the plots and the report after the run.
    memory      (when, bytes) of all its processes together; a page that several share counts once (PSS).
    weights     sha256 of the last averaged weights; "" if it does not keep them.
    """

    job: str
    contender: str
    repeat: int
    round_ends: tuple[float, ...]
    finished: float
    command: float
    memory: tuple[tuple[float, int], ...]
    accuracy: float
    weights: str

    @property
    def first_round(self) -> float:
        """Seconds from the command to the end of round 1."""
        return self.round_ends[0]

    @property
    def a_round(self) -> float:
        """Seconds a round: the median over all rounds but the first, which also warms up."""
        return statistics.median(after - before for before, after in pairwise(self.round_ends))

    def peak(self, rounds: int | None = None) -> int:
        """Most bytes held at once, until the end of that many rounds."""
        until = self.command if rounds is None else self.round_ends[rounds - 1]
        return max((held for when, held in self.memory if when <= until), default=0)


def command(contender: str, job: Job, file: Path, folder: Path, pfl: Path | None) -> list[str]:
    """The words to start a contender with; `file` is the job as arrays, `folder` is for what it leaves."""
    match contender:
        case "bare-2" | "bare-1":
            return [sys.executable, str(HERE / "bare.py"), str(file), str(folder), "--processes", contender[-1]]
        case "pfl":
            launcher = [str(pfl), "-m", "torch.distributed.run", "--nproc-per-node", "2"]
            return [*launcher, str(HERE / "pfl_job.py"), str(file), str(folder)]
        case place:
            place_words = [f"place={place}", "place.workers=2", f"results_dir='{folder}'", "name=bench"]
            return [sys.executable, "-m", "simulations.cli", "run", *job.overrides(), *place_words]


def measure(contender: str, job: Job, file: Path, *, repeat: int = 0, pfl: Path | None = None) -> Run:
    """Have the contender do the job, and watch it."""
    mark = f"FEDKD_BENCH={uuid.uuid4().hex}"
    own = {"OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory(prefix="fedkd-bench-", dir="/tmp") as scratch:
        folder = Path(scratch)
        with open(folder / "log.txt", "wb") as log:
            watch = _Watch(folder, job.rounds, mark)
            process = subprocess.Popen(
                command(contender, job, file, folder, pfl),
                env={**os.environ, **own, **dict([mark.split("=")])},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                while process.poll() is None:
                    watch.look()
                    time.sleep(LOOK_SECONDS)
                ended = watch.seconds()
                watch.look()
            finally:
                _end(family(mark))
                process.wait()
        if process.returncode or watch.finished is None or len(watch.round_ends) < job.rounds:
            said = (folder / "log.txt").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{contender} did not finish the job (exit code {process.returncode}): {said}")
        return Run(
            job.name, contender, repeat, tuple(watch.round_ends), watch.finished, ended, tuple(watch.memory),
            float(watch.summary["accuracy_mean"]), _weights(folder),
        )  # fmt: skip


class _Watch:
    """What was seen so far."""

    def __init__(self, folder: Path, rounds: int, mark: str) -> None:
        self.folder, self.rounds, self.mark = folder, rounds, mark
        self.round_ends: list[float] = []
        self.memory: list[tuple[float, int]] = []
        self.finished: float | None = None
        self.summary: dict[str, Any] = {}
        self._file: Path | None = None
        self._size = 0
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def look(self) -> None:
        """Note the rounds that ended since the last look, and every two seconds the memory."""
        now = self.seconds()
        self._file = self._file or next(self.folder.rglob("rounds.csv"), None)
        if self._file is not None and (size := self._file.stat().st_size) != self._size:
            self._size = size
            self.round_ends += [now] * (_rounds_done(self._file, size) - len(self.round_ends))
        if self._file is not None and self.finished is None and len(self.round_ends) >= self.rounds:
            self.summary = _read(self._file.with_name("summary.json"))
            if self.summary.get("status", "finished") == "finished" and "accuracy_mean" in self.summary:
                self.finished = now
        if not self.memory or now - self.memory[-1][0] >= WEIGH_SECONDS:
            self.memory.append((now, weight(family(self.mark))))


def _rounds_done(path: Path, size: int) -> int:
    """The round of the last whole line; round 0 is enrolment, and the first line may name columns."""
    with open(path, "rb") as file:
        file.seek(max(0, size - 4096))
        lines = file.read().split(b"\n")
    number = lines[-2].split(b",")[0] if len(lines) > 1 else b""
    return int(number) if number.isdigit() else 0


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):  # not there yet, or half written
        return {}
    return found


def _weights(folder: Path) -> str:
    """The last averaged weights' digest, however they are kept."""
    for path in folder.rglob("server.safetensors"):
        return digest(arrays_in(load_file(path)))
    for path in folder.rglob("weights.npz"):
        return digest({name: torch.from_numpy(value) for name, value in np.load(path).items()})
    return ""


def family(mark: str) -> list[int]:
    """Ids of the processes with this setting in their environment, and of those that descend from them.

    Both, because Flower's SuperLink and Ray's daemons leave the family tree, and Ray's workers overwrite what Linux
    shows of their environment.
    """
    parents: dict[int, int] = {}
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or another user's
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    return sorted(found)


def weight(processes: Iterable[int]) -> int:
    """Bytes of memory that the processes hold together, shared pages counted once (Linux: proportional set size)."""
    total = 0
    for pid in processes:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def _end(processes: Sequence[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
