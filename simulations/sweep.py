"""Runs of a sweep, one after the other or several at once: what `fedkd study` and `fedkd run -m` share.

Several at once have a process each. One that is killed (the system does so where memory runs out) is one run that
failed: the others go on, and the next one gets a new process.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import SimpleQueue

from fedkd.config import load
from fedkd.errors import UserError, reason_of
from simulations.local import cores
from simulations.processes import end_with_parent
from simulations.remarks import show_plainly
from simulations.run import WHAT_IS_LEFT, run_one

Outcome = tuple[Path | None, str]
"""A run's result folder and what was remarked on the way, or None and why there is none."""

KILLED = "its process was killed, as the system does where memory runs out; fewer --jobs need less"


def outcomes(combinations: Sequence[list[str]], jobs: int | None) -> Iterator[Outcome]:
    """What becomes of each run: one after the other in this process, unless several are wanted at once."""
    if len(combinations) > 1:
        spread = any(load(overrides).place.get("address") for overrides in combinations)
        jobs = jobs or (jobs_for(combinations) if spread else 1)
        if jobs > 1:
            print(f"{len(combinations)} runs, {jobs} at once, each on one worker", file=sys.stderr)
            yield from at_once(combinations, jobs)
            return
    for overrides in combinations:
        try:
            yield run_one(overrides), ""
        except Exception as error:
            if len(combinations) == 1:
                raise
            yield None, reason_of(error)


def at_once(
    combinations: Sequence[list[str]],
    jobs: int,
    *,
    results_dir: str | None = None,
    name: Callable[[Sequence[str]], str] | None = None,
) -> Iterator[Outcome]:
    """Run every combination, `jobs` at a time; what became of them, in their order. Each has one worker."""
    jobs = max(1, min(jobs, len(combinations)))
    idle: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
    for _ in range(jobs):
        idle.put(_new_process())
    with ThreadPoolExecutor(jobs) as threads:
        waiting = [threads.submit(_run_apart, idle, words, results_dir, name and name(words)) for words in combinations]
        try:
            for future in waiting:
                yield future.result()
        finally:
            threads.shutdown(cancel_futures=True)
            for _ in range(jobs):
                idle.get().shutdown()


def _new_process() -> ProcessPoolExecutor:
    """A process that starts with its first run; a fresh one: nothing of this one's threads is copied."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)


def _run_apart(
    idle: SimpleQueue[ProcessPoolExecutor], overrides: list[str], results_dir: str | None, name: str | None
) -> Outcome:
    """One run in a process that has none; if that ends, the next run has another."""
    process = idle.get()
    try:
        return process.submit(_run_quietly, overrides, results_dir, name).result()
    except BrokenProcessPool:
        process.shutdown()
        process = _new_process()
        return None, KILLED
    finally:
        idle.put(process)


def _run_quietly(overrides: list[str], results_dir: str | None, name: str | None) -> Outcome:
    """One run in this process, without a word but for what it gives back."""
    alone = ["place.workers=1"] if "workers" in load(overrides).place else []
    remarks = _Remarks()
    show_plainly()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(remarks):
        try:
            return run_one([*overrides, *alone], results_dir=results_dir, name=name), remarks.said()
        except Exception as error:
            return None, " ".join([reason_of(error), *remarks.hints()])


class _Remarks(io.StringIO):
    """Takes down what a run says on stderr."""

    def said(self) -> str:
        """Its own lines, without those of the rounds."""
        return "\n".join(line for line in self.getvalue().splitlines() if line.startswith("fedkd:"))

    def hints(self) -> list[str]:
        """Where to go on with a run that failed."""
        return [f"({line})" for line in self.getvalue().splitlines() if line.startswith(WHAT_IS_LEFT)]


def what_differs(overrides: Sequence[str], combinations: Sequence[Sequence[str]]) -> str:
    """A run of a sweep, by what tells it from the others."""
    common = set(combinations[0]).intersection(*combinations)
    return " ".join(word for word in overrides if word not in common)


def jobs_for(combinations: Sequence[Sequence[str]]) -> int:
    """How many runs the place has room for: a core each, of this machine or of the cluster; a fleet takes one."""
    if any(load(overrides).place.name == "fleet" for overrides in combinations):
        return 1
    addresses = {load(overrides).place.get("address") for overrides in combinations}
    if addresses == {None}:
        return cores()
    if len(addresses) > 1:
        raise UserError("expected one place.address for all runs of a sweep; give each cluster a sweep of its own.")
    from simulations.ray_hosts import room  # Ray takes a second to import

    return room(str(addresses.pop()), [load(overrides) for overrides in combinations])
