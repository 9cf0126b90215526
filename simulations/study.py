"""A study: every combination of a sweep, several at once, and one table of what came out.

    fedkd study results/evidence/nw_ucla_10 experiment=nw_ucla_10 strategy=alone,labels,distil data.fold=0,1,2,3,4 \
        seed=0,1,2,3,4 --against labels

Runs go to ``<folder>/runs``; a combination that is finished there is not run again, so a study that was cut short goes
on where it stopped. `table.md` and `runs.csv` are what is worth keeping.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from rich.progress import track

from fedkd.config import build, load
from fedkd.errors import UserError
from fedkd.metrics.paired_bootstrap import paired_bootstrap
from fedkd.record import FUSED, new_folder
from fedkd.results import Result
from fedkd.results import load as read

METHOD = "method"
_NO_CONDITION = ("strategy", "seed", "data.fold", "data.test_subjects", "data.history")


def study(folder: Path, combinations: Sequence[list[str]], *, command: str, against: str | None, jobs: int) -> Path:
    """Run what is not there yet, `jobs` at a time; write and give table.md."""
    conditions = _conditions(combinations)
    if against is not None and against not in conditions:
        rows = "; ".join(dict.fromkeys(conditions))
        raise UserError(f"--against takes one of this study's rows, {rows}, got {against!r}.")
    runs = folder / "runs"
    waiting = [overrides for overrides in combinations if _finished(runs, overrides) is None]
    context = multiprocessing.get_context("spawn")  # fresh processes: nothing of this one's threads is copied
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        ran = pool.map(_run_quietly, waiting, [str(runs)] * len(waiting))
        reasons = [reason for reason in track(ran, f"{len(combinations)} runs", len(waiting)) if reason]
    if reasons:
        raise UserError(f"{len(reasons)} of {len(combinations)} runs failed, the others are kept: {reasons[0]}")
    results = [_finished(runs, overrides) for overrides in combinations]
    named = [(condition, r, o) for condition, r, o in zip(conditions, results, combinations, strict=True) if r]
    answers = pd.concat([_answers(result, overrides, condition) for condition, result, overrides in named])
    done: dict[str, list[Result]] = {condition: [] for condition in conditions}
    for condition, result, _ in named:
        done[condition].append(result)
    _runs_table(done).to_csv(folder / "runs.csv", index=False)
    table = folder / "table.md"
    table.write_text(_report(answers, done, command, against), encoding="utf-8")
    return table


def _run_quietly(overrides: list[str], results_dir: str) -> str | None:
    """One run in this process; why it failed, if it did."""
    from simulations.cli import run_one

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            run_one([*overrides, "place.workers=1"], results_dir=results_dir, name=_name(overrides))
        except UserError as error:
            return str(error)
    return None


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


def _answers(result: Result, overrides: Sequence[str], condition: str) -> pd.DataFrame:
    """Every answer of a run's last exam, with its subject and whether it was right."""
    answers = pd.read_csv(result.folder / "answers.csv")
    answers["subject"] = answers["event"].map(_subjects(load(overrides)))
    answers["right"] = (answers["guess"] == answers["truth"]).astype(float)
    return answers.assign(method=condition, seed=result.summary["seed"])


def _conditions(combinations: Sequence[Sequence[str]]) -> list[str]:
    """Each combination's row: its strategy, and what else tells it from others, but for chance and rotation."""
    common = set(combinations[0]).intersection(*combinations)
    rows = []
    for overrides in combinations:
        rest = [said for said in overrides if said not in common and said.partition("=")[0] not in _NO_CONDITION]
        rows.append(" ".join([load(overrides).strategy.name, *rest]))
    return rows


def _subjects(cfg: Any) -> dict[int, int]:
    """event id -> subject, known to whoever has the whole data set and to nobody in a federation."""
    subjects: dict[int, int] = build(cfg.data).subjects()
    return subjects


def _runs_table(done: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    keys = ("dataset", "protocol", "seed", "split", "accuracy_mean", "accuracy_fused", "bytes_up", "bytes_down")
    last = ("wall_seconds", "digest")
    rows = [
        {METHOD: condition} | {k: r.summary[k] for k in keys}
        | {f"accuracy_{v}": a for v, a in r.summary["accuracy"].items()} | {k: r.summary[k] for k in last}
        for condition, results in done.items() for r in results
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _report(answers: pd.DataFrame, done: Mapping[str, Sequence[Result]], command: str, against: str | None) -> str:
    """The table in Markdown, headed by the command that made it."""
    results = [result for of_one in done.values() for result in of_one]
    about = results[0].summary
    commits = ", ".join(sorted({_commit(result) for result in results}))
    lost = sum(bool(result.failures) for result in results)
    scope = [
        f"{about['dataset']}, {about['protocol']}, {about['split']} split",
        f"{answers['seed'].nunique()} seeds, {answers['subject'].nunique()} subjects, {len(results)} runs",
        *([f"{lost} of them lost a view"] if lost else []),
        f"commit {commits}",
    ]
    figures = "Accuracy in %, mean ± sd over seeds"
    if against is not None:
        figures += "; differences with 95 % intervals, paired, subjects resampled, seeds averaged first"
    return "\n".join([f"`{command}`", "", f"{', '.join(scope)}. {figures}.", "", *_table(answers, done, against), ""])


def _table(answers: pd.DataFrame, done: Mapping[str, Sequence[Result]], against: str | None) -> Iterator[str]:
    views = [view for view in sorted(answers["view"].unique()) if view != FUSED]
    versus = [] if against is None else [f"mean minus {against}"]
    yield "| " + " | ".join(["method", *views, "mean", "fused", "bytes a run", *versus]) + " |"
    yield "|" + "---|" * (5 - 1 + len(views) + len(versus))
    for method in done:
        mine = answers[answers[METHOD] == method]
        by_seed = mine.groupby(["seed", "view"])["right"].mean().unstack() * 100
        cells = [_spread(by_seed[view]) for view in views]
        cells += [_spread(by_seed[views].mean(axis=1)), _spread(by_seed[FUSED]), _bytes(done[method])]
        if against is not None:
            cells.append("" if method == against else _difference(answers, views, method, against))
        yield f"| {method} | " + " | ".join(cells) + " |"


def _spread(values: pd.Series[float]) -> str:
    return f"{values.mean():.1f} ± {values.std():.1f}" if len(values) > 1 else f"{values.mean():.1f}"


def _bytes(results: Sequence[Result]) -> str:
    sizes = [r.summary["bytes_up"] + r.summary["bytes_down"] for r in results]
    return f"{sum(sizes) / len(sizes):,.0f}"


def _difference(answers: pd.DataFrame, views: Sequence[str], method: str, against: str) -> str:
    single = answers[answers["view"].isin(views)]

    def tables(of: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        mine = single[single[METHOD] == of]
        grouped = mine.groupby(["subject", "view"])["right"]
        return (x.unstack(fill_value=0)[list(views)] for x in (grouped.sum(), grouped.count().astype(float)))  # type: ignore[return-value]

    right, count = tables(method)
    before, count_before = tables(against)
    if not count.equals(count_before):
        raise UserError(f"expected {method} and {against} to be examined on the same clips; finish the study first.")
    found = paired_bootstrap(right.to_numpy(), before.to_numpy(), count.to_numpy())
    return f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _commit(result: Result) -> str:
    return str(json.loads((result.folder / "env.json").read_text())["commit"])


def as_command(folder: Path, overrides: Sequence[str], against: str | None) -> str:
    """The command line of a study."""
    versus = [] if against is None else ["--against", against]
    return shlex.join(["fedkd", "study", str(folder), *overrides, *versus])
