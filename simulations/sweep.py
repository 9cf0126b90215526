"""Several runs at once, each in a process of its own: what `fedkd study` and `fedkd run -m` share."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from fedkd.config import load
from fedkd.errors import UserError
from simulations.local import cores
from simulations.processes import end_with_parent

Outcome = tuple[Path | None, str]
"""A run's result folder and what was remarked on the way, or None and why there is none."""


def at_once(
    combinations: Sequence[list[str]],
    jobs: int,
    *,
    results_dir: str | None = None,
    name: Callable[[Sequence[str]], str] | None = None,
) -> Iterator[Outcome]:
    """Run every combination, `jobs` at a time; what became of them, in their order. Each has one worker."""
    names = [None if name is None else name(overrides) for overrides in combinations]
    context = multiprocessing.get_context("spawn")  # fresh processes: nothing of this one's threads is copied
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:
        yield from pool.map(_run_quietly, combinations, [results_dir] * len(names), names)


def _run_quietly(overrides: list[str], results_dir: str | None, name: str | None) -> Outcome:
    """One run in this process, without a word but for what it gives back."""
    from simulations.cli import run_one

    alone = ["place.workers=1"] if "workers" in load(overrides).place else []
    remarks = _Remarks()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(remarks):
        try:
            return run_one([*overrides, *alone], results_dir=results_dir, name=name), remarks.said()
        except UserError as error:
            return None, str(error)


class _Remarks(io.StringIO):
    """Takes down what a run says on stderr."""

    def said(self) -> str:
        """Its own lines, without those of the rounds."""
        return "\n".join(line for line in self.getvalue().splitlines() if line.startswith("fedkd:"))


def jobs_for(combinations: Sequence[Sequence[str]]) -> int:
    """How many runs the place has room for: a core each, of this machine or of the cluster that they go to."""
    addresses = {load(overrides).place.get("address") for overrides in combinations}
    if addresses == {None}:
        return cores()
    if len(addresses) > 1:
        raise UserError("expected one place.address for all runs of a sweep; give each cluster a sweep of its own.")
    from simulations.ray_hosts import room  # Ray takes a second to import

    return room(str(addresses.pop()), [load(overrides) for overrides in combinations])
