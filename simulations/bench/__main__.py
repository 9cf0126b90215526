"""``make bench``: what a simulated round costs, beside a bare loop and beside Flower's engine, in one sitting.

    python -m simulations.bench                        # ten minutes on two quiet cores; results/bench/bench.md
    python -m simulations.bench --pfl PFL/bin/python   # with pfl-research too (pfl_job.py says how to install it)
    python -m simulations.bench --dry                  # 8 views, 2 rounds: only whether everything runs

The machine should do nothing else. The load that it had at the start is written beside the figures.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from fedkd.environment import environment
from simulations.bench.job import SMALL, TINY, Job, dry
from simulations.bench.measure import CONTENDERS, Run, measure
from simulations.bench.out import add_out
from simulations.bench.table import HEADINGS, as_markdown, memory_rows, on_screen, rows, write_csv

JOBS = {job.name: job for job in (SMALL, TINY)}
MEMORY_ROUNDS = 50
MEMORY_HEADINGS = ("contender", "peak of 5 rounds, MB", f"peak of {MEMORY_ROUNDS} rounds, MB")


def main() -> None:
    """Measure, print, and keep."""
    asked = parser().parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    load = os.getloadavg()[0]
    console.print(f"load at the start: {load:.2f}" + (", the machine is not quiet" if load > 0.7 else ""))
    names = [name for name in asked.only.split(",") if name != "pfl" or asked.pfl]
    runs = [] if asked.memory else compare(_jobs(asked), names, asked.repeats, asked.pfl, console)
    page = [_preface(load), *(_section(job, runs, console) for job in (_jobs(asked) if runs else []))]
    held = weigh(dry(SMALL) if asked.dry else replace(SMALL, rounds=MEMORY_ROUNDS), console)
    page.append(_memory_section(held))
    console.print(on_screen("memory", MEMORY_HEADINGS, memory_rows(held)))
    if not asked.dry:
        asked.out.mkdir(parents=True, exist_ok=True)
        name = "bench-memory" if asked.memory else "bench"
        (asked.out / f"{name}.md").write_text("\n".join(page), encoding="utf-8")
        write_csv(asked.out / f"{name}.csv", [*runs, *held])
        console.print(f"kept in {asked.out / name}.md and .csv")


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(prog="python -m simulations.bench", description="Speed and memory, side by side.")
    parser.add_argument("--repeats", type=int, default=3, help="how often each contender does each job (3)")
    parser.add_argument("--jobs", default=",".join(JOBS), help="some of: " + ", ".join(JOBS))
    parser.add_argument("--only", default=",".join(CONTENDERS), help="some of: " + ", ".join(CONTENDERS))
    parser.add_argument(
        "--pfl", type=Path, help="an interpreter with pfl-research 0.6.0; its row is left out without it"
    )
    parser.add_argument("--memory", action="store_true", help="nothing but the long run for memory")
    parser.add_argument("--dry", action="store_true", help="8 views and 2 rounds, once; keeps nothing")
    add_out(parser)
    return parser


def _jobs(asked: argparse.Namespace) -> list[Job]:
    jobs = [JOBS[name] for name in asked.jobs.split(",")]
    return [dry(job) for job in jobs] if asked.dry else jobs


def compare(jobs: Iterable[Job], names: Sequence[str], repeats: int, pfl: Path | None, console: Console) -> list[Run]:
    """Every contender at every job: all of them, then all again, each time another one first."""
    runs = []
    for job in jobs:
        with tempfile.TemporaryDirectory(prefix="fedkd-bench-", dir="/tmp") as scratch:
            file = Path(scratch) / "job.npz"
            job.write(file)
            for repeat in range(repeats):
                turn = repeat % len(names)
                for name in (*names[turn:], *names[:turn]):
                    run = measure(name, job, file, repeat=repeat, pfl=pfl)
                    runs.append(run)
                    figures = f"first round {run.first_round:.2f} s, a round {run.a_round:.3f} s"
                    console.print(f"{job.name} {name}: {figures}, finished {run.finished:.1f} s")
    return runs


def weigh(job: Job, console: Console) -> list[Run]:
    """A long run in the place `local`, for its memory."""
    console.print(f"memory: {job.rounds} rounds in the place local")
    return [measure("local", replace(job, name="memory"), Path())]


def _preface(load: float) -> str:
    about = environment()
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return f"""# What a simulated round costs

`{shlex.join(["python", "-m", "simulations.bench", *sys.argv[1:]])}` on {time.strftime("%Y-%m-%d")}, commit
{about["commit"]}; {about["cores"]} cores ({about["machine"]}, {about["system"]}), load at the start {load:.2f}; Python
{about["python"]}, {versions}.

Every contender is a fresh process, one thread each; all follow one another, and then again. Median (least-most) of the
repeats; a ratio is between runs of the same repeat. "Run finished" is when the last exam is marked and the record is
closed; fedkd's command then makes plots and a report. Memory is that of all processes together, a shared page counted
once. "The same" weights: equal to the bare loop's, bit for bit. The bare loop and pfl read their clips from a file,
fedkd makes them. pfl keeps its own way with optimisers and the order of clips (simulations/bench/pfl_job.py).
"""


def _section(job: Job, runs: Sequence[Run], console: Console) -> str:
    mine = rows([run for run in runs if run.job == job.name])
    title = (
        f"{job.name}: {job.views} views, {job.rounds} rounds, {job.steps} steps of {job.batch} clips "
        f"[{job.frames} frames, 9 channels] a view and round, Tcn of {job.channels} channels"
    )
    console.print(on_screen(title, HEADINGS, mine))
    return f"## {title[0].upper()}{title[1:]}\n\n{as_markdown(HEADINGS, mine)}"


def _memory_section(held: Sequence[Run]) -> str:
    table = as_markdown(MEMORY_HEADINGS, memory_rows(held))
    return f"## Memory of the small job, {len(held[0].round_ends)} rounds\n\n{table}"


if __name__ == "__main__":
    main()
