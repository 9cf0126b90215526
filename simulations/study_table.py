"""A study's table: what came out of its runs, in Markdown, with paired intervals.

    report([Done("distil", overrides, read(folder)), ...], command="fedkd study ...", against="alone")

A row of the table is a condition: a strategy, and what else tells its runs from those of the other rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fedkd.build import build
from fedkd.config import load
from fedkd.errors import UserError
from fedkd.metrics.paired_bootstrap import difference, paired_bootstrap
from fedkd.record import FUSED
from fedkd.results import Result

METHOD = "method"
TALLIED = [METHOD, "seed", "view", "subject"]


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run of a study: the row it belongs to, its overrides, and what it left."""

    condition: str
    overrides: Sequence[str]
    result: Result


def report(done: Sequence[Done], command: str, against: str | None) -> str:
    """The table, headed by the command that made it and by what it stands on."""
    tally = tallies(done)
    about = done[0].result.summary
    protocols = dict.fromkeys(run.result.summary["protocol"] for run in done)
    lost = sum(bool(run.result.failures) for run in done)
    scope = [
        f"{about['dataset']}, {', '.join(protocols)}, {about['split']} split",
        f"{tally['seed'].nunique()} seeds, {tally['subject'].nunique()} subjects, {len(done)} runs",
        *([f"{lost} of them lost a view"] if lost else []),
        f"commit {', '.join(sorted({_commit(run) for run in done}))}",
    ]
    figures = "Accuracy in %, mean ± sd over seeds"
    if against is not None:
        figures += "; differences with 95 % intervals, paired, subjects and seeds resampled"
    return "\n".join([f"`{command}`", "", f"{', '.join(scope)}. {figures}.", "", *_table(tally, done, against), ""])


def runs_table(done: Sequence[Done]) -> pd.DataFrame:
    """One row a run: what of its summary is worth keeping."""
    keys = ("dataset", "protocol", "seed", "split", "accuracy_mean", "accuracy_fused", "bytes_up", "bytes_down")
    last = ("wall_seconds", "digest")
    summaries = [(run.condition, run.result.summary) for run in done]
    rows = [
        {METHOD: condition} | {key: summary[key] for key in keys}
        | {f"accuracy_{view}": x for view, x in summary["accuracy"].items()}
        | {f"teacher_{view}": x for view, x in summary.get("accuracy_teacher", {}).items()}
        | {key: summary[key] for key in last}
        for condition, summary in summaries
    ]  # fmt: skip
    return pd.DataFrame(rows)


def tallies(done: Sequence[Done]) -> pd.DataFrame:
    """Of each row, seed, view and subject, the last exams' clips and how many were answered right: a table's ground."""
    return pd.concat([_answers(run) for run in done]).groupby(TALLIED, as_index=False, sort=False).sum()


def _answers(run: Done) -> pd.DataFrame:
    """Every answer of a run's last exam: its subject (known to whoever has the whole data set), and if it was right."""
    answers = pd.read_csv(run.result.folder / "answers.csv")
    answers["subject"] = answers["event"].map(build(load(run.overrides).data).subjects())
    answers["right"] = (answers["guess"] == answers["truth"]).astype(int)
    answers[METHOD], answers["seed"], answers["clips"] = run.condition, run.result.summary["seed"], 1
    return answers[[*TALLIED, "right", "clips"]]


def controls(rows: Iterable[str], against: str) -> dict[str, str]:
    """The row that each row is compared with: `against` itself, or else what `against` adds to words they share.

    >>> controls(["distil labels=0.1", "distil labels=1.0", "alone labels=0.1", "alone labels=1.0"], "alone")
    {'distil labels=0.1': 'alone labels=0.1', 'distil labels=1.0': 'alone labels=1.0'}
    """
    words = {row: set(row.split()) for row in rows}
    if against in words:
        return {row: against for row in words if row != against}
    wanted = set(against.split())
    candidates = [row for row in words if wanted <= words[row]]
    found = {row: [c for c in candidates if words[c] - wanted <= words[row]] for row in words}
    closest = {row: max(its, key=lambda control: len(words[control])) for row, its in found.items() if its}
    return {row: control for row, control in closest.items() if row != control}


def _table(tally: pd.DataFrame, done: Sequence[Done], against: str | None) -> Iterator[str]:
    views = [view for view in sorted(tally["view"].unique()) if view != FUSED]
    versus = [] if against is None else [f"mean minus {against}", f"fused minus {against}"]
    taught = any(run.result.summary.get("accuracy_teacher", {}) for run in done)
    header = ["method", *views, "mean", "fused", *(["teachers' mean"] if taught else []), "bytes a run", *versus]
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    methods = dict.fromkeys(run.condition for run in done)
    control_of = {} if against is None else controls(methods, against)
    for method in methods:
        mine = tally[tally[METHOD] == method].groupby(["seed", "view"])[["right", "clips"]].sum()
        by_seed = 100 * (mine["right"] / mine["clips"]).unstack().reindex(columns=[*views, FUSED])
        cells = [_spread(by_seed[view]) for view in views]
        cells += [_spread(by_seed[views].mean(axis=1)), _spread(by_seed[FUSED])]
        results = [run.result for run in done if run.condition == method]
        cells += [_teachers(results)] if taught else []
        cells.append(_bytes(results))
        if control := control_of.get(method):
            both = [view for view in views if {method, control} <= set(tally[METHOD][tally["view"] == view])]
            cells += [_difference(tally, over, method, control) if over else "" for over in (both, [FUSED])]
        else:
            cells += ["" for _ in versus]
        yield f"| {method} | " + " | ".join(cells) + " |"


def _spread(values: pd.Series[float]) -> str:
    values = values.dropna()
    if values.empty:
        return "-"
    return f"{values.mean():.1f} ± {values.std():.1f}" if len(values) > 1 else f"{values.mean():.1f}"


def _teachers(results: Sequence[Result]) -> str:
    """How right the views' teachers are: the mean over the views of a run, then over the runs of a seed."""
    means = [
        (r.summary["seed"], 100 * float(pd.Series(right).mean()))
        for r in results
        if (right := r.summary.get("accuracy_teacher", {}))
    ]
    return _spread(pd.DataFrame(means, columns=["seed", "right"]).groupby("seed")["right"].mean()) if means else "-"


def _bytes(results: Sequence[Result]) -> str:
    sizes = [r.summary["bytes_up"] + r.summary["bytes_down"] for r in results]
    return f"{sum(sizes) / len(sizes):,.0f}"


def _difference(tally: pd.DataFrame, views: Sequence[str], method: str, against: str) -> str:
    both = tally[tally["view"].isin(views) & tally[METHOD].isin([method, against])]
    axes = [both["seed"].unique(), both["subject"].unique(), views]

    def cube(of: str, column: str) -> np.ndarray:
        """N seeds, S subjects, V views."""
        cells = both[both[METHOD] == of].set_index(["seed", "subject", "view"])[column]
        every = pd.MultiIndex.from_product(axes)
        return cells.reindex(every, fill_value=0).to_numpy(float).reshape([len(axis) for axis in axes])

    right, before, count = cube(method, "right"), cube(against, "right"), cube(method, "clips")
    if not np.array_equal(count, cube(against, "clips")):
        raise UserError(f"expected {method} and {against} to be examined on the same clips; finish the study first.")
    if len(axes[1]) < 2:  # nobody to resample
        return f"{100 * difference(right, before, count):+.1f} (one subject)"
    found = paired_bootstrap(right, before, count)
    return f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _commit(run: Done) -> str:
    return str(json.loads((run.result.folder / "env.json").read_text())["commit"])
