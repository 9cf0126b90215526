"""What was measured, as tables: medians with their spread, and ratios of runs of the same repeat.

A ratio is taken between runs that followed one another in one sitting, and its median and spread are over the repeats:
so a machine that slows down for a while moves both sides of it.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.table import Table

from simulations.bench.measure import CONTENDERS, Run

HEADINGS = (
    "contender", "to the first round, s", "a round, s", "/ best bare", "run finished, s", "Flower's / this",
    "command ended, s", "peak memory, MB", "accuracy", "last weights",
)  # fmt: skip


def rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """One row a contender of the runs of one job."""
    return [_row([run for run in runs if run.contender == name], runs) for name in CONTENDERS if _named(runs, name)]


def _row(mine: Sequence[Run], runs: Sequence[Run]) -> tuple[str, ...]:
    bare = [run for run in runs if run.contender.startswith("bare")]
    to_bare = [run.a_round / min(b.a_round for b in rivals) for run, rivals in _beside(mine, bare)]
    to_flower = [rivals[0].finished / run.finished for run, rivals in _beside(mine, _named(runs, "flower"))]
    bits = {run.weights for run in mine} == {run.weights for run in bare}
    return (
        CONTENDERS[mine[0].contender],
        spread([run.first_round for run in mine], "{:.2f}"),
        spread([run.a_round for run in mine], "{:.3f}"),
        spread(to_bare, "{:.2f}"),
        spread([run.finished for run in mine], "{:.1f}"),
        spread(to_flower, "{:.2f}"),
        spread([run.command for run in mine], "{:.1f}"),
        spread([run.peak() / 1e6 for run in mine], "{:.0f}"),
        f"{statistics.median(run.accuracy for run in mine):.3f}",
        ("the same" if bits else "other") if bare and all(run.weights for run in mine) else "",
    )


def _named(runs: Iterable[Run], name: str) -> list[Run]:
    return [run for run in runs if run.contender == name]


def _beside(mine: Iterable[Run], others: Sequence[Run]) -> list[tuple[Run, list[Run]]]:
    """Each run with the others of its repeat; left out where there is none."""
    pairs = [(run, [other for other in others if other.repeat == run.repeat]) for run in mine]
    return [(run, rivals) for run, rivals in pairs if rivals]


def spread(values: Sequence[float], form: str) -> str:
    """Median, and from least to most: ``0.61 (0.58-0.66)``."""
    if not values:
        return ""
    middle, least, most = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({least}-{most})"


def memory_rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """For each run: the peak of its first five rounds, and of all."""
    return [
        (
            CONTENDERS[run.contender],
            f"{run.peak(min(5, len(run.round_ends))) / 1e6:.0f}",
            f"{run.peak(len(run.round_ends)) / 1e6:.0f}",
        )
        for run in runs
    ]


def on_screen(title: str, headings: Sequence[str], body: Iterable[Sequence[str]]) -> Table:
    """For a terminal."""
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in body:
        table.add_row(*row)
    return table


def as_markdown(headings: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """For a page."""
    lines = [headings, ["---"] * len(headings), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_csv(path: Path, runs: Iterable[Run]) -> None:
    """Every single run, one a line."""
    columns: dict[str, Callable[[Run], object]] = {
        "job": lambda run: run.job,
        "contender": lambda run: run.contender,
        "repeat": lambda run: run.repeat,
        "rounds": lambda run: len(run.round_ends),
        "first_round_seconds": lambda run: f"{run.first_round:.3f}",
        "round_seconds": lambda run: f"{run.a_round:.4f}",
        "finished_seconds": lambda run: f"{run.finished:.3f}",
        "command_seconds": lambda run: f"{run.command:.3f}",
        "peak_bytes": lambda run: run.peak(),
        "accuracy": lambda run: f"{run.accuracy:.6f}",
        "weights": lambda run: run.weights,
    }
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([of(run) for of in columns.values()] for run in runs)
