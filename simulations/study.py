"""A study: every combination of a sweep, several at once, and one table of what came out.

    fedkd study results/evidence/nw_ucla_10 experiment=nw_ucla_10 strategy=alone,labels,distil data.fold=0,1,2,3,4 \
        seed=0,1,2,3,4 --against labels

An ablation is a base and what is changed of it, a row each:

    fedkd study FOLDER experiment=cmd_mv seed=0,1,2,3,4 --variant hint=none --variant objective.consensus=0 \
        --against distil

Where a sweep crosses methods with something else, such as shares of labels, each row has a control of its own share:

    fedkd study FOLDER experiment=cmd_mv data.labels=0.1,0.5 strategy=distil,labels seed=0,1,2,3,4 --against labels

Runs go to ``<folder>/runs``; a combination that is finished there is not run again, so a study that was cut short goes
on where it stopped. `table.md`, `runs.csv` (a row a run) and `tallies.csv` (right answers by row, seed, view and
subject: what the intervals stand on) are what is worth keeping.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from fedkd.config import from_string, load
from fedkd.errors import UserError
from fedkd.record import new_folder
from fedkd.results import Result
from fedkd.results import load as read
from simulations.study_table import Done, controls, report, runs_table, tallies
from simulations.sweep import at_once, what_differs

_NO_CONDITION = ("strategy", "seed", "data.fold", "data.test_subjects", "data.history", "data.valid_subject")


def varied(overrides: Sequence[str], variant: str) -> list[str]:
    """The overrides with a variant's in place of their own, e.g. ``varied(["rounds=3", "seed=0,1"], "rounds=5")``."""
    changes = from_string(variant)
    settled = {change.lstrip("+~").partition("=")[0] for change in changes}
    return [said for said in overrides if said.lstrip("+~").partition("=")[0] not in settled] + changes


def study(folder: Path, combinations: Sequence[list[str]], *, command: str, against: str | None, jobs: int) -> Path:
    """Run what is not there yet, `jobs` at a time; write and give table.md."""
    conditions = _conditions(combinations)
    if against is not None and not controls(conditions, against):
        rows = "; ".join(dict.fromkeys(conditions))
        raise UserError(f"--against takes a row that others compare with, of {rows}, got {against!r}.")
    runs = folder / "runs"
    waiting = [overrides for overrides in combinations if _finished(runs, overrides) is None]
    ran = at_once(waiting, jobs, results_dir=str(runs), name=_name)
    failed, remarks = [], []
    for overrides, (kept, said) in zip(waiting, track(ran, f"{len(combinations)} runs", len(waiting)), strict=True):
        if kept is None:
            failed.append(f"{what_differs(overrides, combinations)}: {said}")
        else:
            remarks += said.splitlines()
    for remark in dict.fromkeys(remarks):
        print(remark, file=sys.stderr)
    if failed:
        raise UserError(f"{len(failed)} of {len(combinations)} runs failed, the others are kept: {'; '.join(failed)}")
    results = [_finished(runs, overrides) for overrides in combinations]
    done = [Done(c, o, r) for c, o, r in zip(conditions, combinations, results, strict=True) if r]
    runs_table(done).to_csv(folder / "runs.csv", index=False)
    tallies(done).to_csv(folder / "tallies.csv", index=False)
    table = folder / "table.md"
    table.write_text(report(done, command, against), encoding="utf-8")
    return table


def _name(overrides: Sequence[str]) -> str:
    """The runs of one combination lie in the folder of its hash."""
    return new_folder("", "", overrides).name.rpartition("-")[2]


def _finished(runs: Path, overrides: Sequence[str]) -> Result | None:
    for folder in sorted((runs / _name(overrides)).glob("*")):
        with contextlib.suppress(UserError):  # cut short before its summary was written
            result = read(folder)
            if result.summary["status"] == "finished":
                return result
    return None


def _conditions(combinations: Sequence[Sequence[str]]) -> list[str]:
    """Each combination's row: its strategy, and what else tells it from others, but for chance and rotation."""
    common = set(combinations[0]).intersection(*combinations)
    rows = []
    for overrides in combinations:
        rest = [said for said in overrides if said not in common and said.partition("=")[0] not in _NO_CONDITION]
        rows.append(" ".join([load(overrides).strategy.name, *rest]))
    return rows


def as_command(folder: Path, overrides: Sequence[str], variants: Sequence[str], against: str | None) -> str:
    """The command line of a study."""
    rows = [word for variant in variants for word in ("--variant", variant)]
    versus = [] if against is None else ["--against", against]
    return shlex.join(["fedkd", "study", str(folder), *overrides, *rows, *versus])
