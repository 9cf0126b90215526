"""The border from the disk: a result folder, read again. `fedkd.record` writes it and documents the columns.

    result = load("results/distil/2026-01-31-120000-1a2b3c4d")
    result.history("v01")          # accuracy by round, fractions of 1
    by_view(result)                # one row a view, and one for the views fused

A run that still goes on, or that failed, is read like any other: what it measured so far is there.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from fedkd.errors import UserError
from fedkd.metrics.f1 import macro_f1
from fedkd.record import FUSED, ROUND_COLUMNS
from fedkd.terms import TERMS

MEAN = "mean"
"""The mean over the views."""

_ENTRIES = (
    "method", "dataset", "protocol", "seed", "rounds", "views", "accuracy", "accuracy_mean", "accuracy_fused",
    "bytes_up", "bytes_down", "wall_seconds", "place", "suspects", "digest", "status",
)  # fmt: skip
_TEXT = ("view", "status", "late")
_NEWER = (*TERMS, "late")  # columns that a record of an older fedkd may not have


@dataclass(frozen=True, slots=True)
class Result:
    """One run's folder as it was when it was read.

    summary    summary.json.
    settings   config.yaml as one flat table, e.g. {"data.labels": 0.1}; without where it was read and written.
    rounds     rounds.csv: a row for each round and view; "fused" among the views.
    confusion  events by true class (row) and guess (column), for each view and "fused"; empty before the run's end.
    """

    folder: Path
    summary: dict[str, Any]
    settings: Mapping[str, Any]
    rounds: pd.DataFrame
    confusion: dict[str, Int[np.ndarray, "K K"]]

    @property
    def views(self) -> list[str]:
        """The views that are examined, in name order."""
        return sorted(self.summary["views"])

    @property
    def rounds_done(self) -> int:
        """Whole rounds in the record."""
        return int(self.summary.get("rounds_done", 0))

    @property
    def failures(self) -> list[dict[str, Any]]:
        """What did not answer: {round, view, reason}."""
        return list(self.summary.get("failures", []))

    def history(self, view: str) -> pd.Series[float]:
        """Accuracy by round, fractions of 1, where there was an exam; `view` may be FUSED or MEAN."""
        exams = self.rounds.dropna(subset="accuracy")
        if view == MEAN:
            return exams[exams["view"] != FUSED].groupby("round")["accuracy"].mean()
        return exams[exams["view"] == view].set_index("round")["accuracy"]

    def bytes_so_far(self) -> pd.Series[float]:
        """Bytes up and down by round, summed from the start; exams left out."""
        return self.rounds.groupby("round")[["bytes_up", "bytes_down"]].sum().sum(axis=1).cumsum()


def load(folder: str | Path) -> Result:
    """Read a result folder; `UserError` in one sentence when it is none, or not whole."""
    folder = Path(folder).expanduser()
    summary = summary_of(folder)
    confusion = _confusion(folder, summary) if summary["status"] == "finished" else {}
    return Result(folder, summary, _settings(folder), _rounds(folder), confusion)


def only_run(folder: str | Path) -> Path:
    """The one result folder at or below `folder`; `folder` itself where there are none or several."""
    folder = Path(folder).expanduser()
    inside = _inside(folder)
    return inside[0].parent if len(inside) == 1 else folder


def by_view(result: Result) -> pd.DataFrame:
    """One row a view (those that train, those that are examined), then FUSED.

    accuracy of the last exam, of a finished run its f1 over classes; lack and the TERMS as they were last; bytes_up,
    bytes_down, seconds summed over the run.
    """
    rows = result.rounds.groupby("view", sort=False)
    table = rows[["lack", *TERMS]].last()
    table[["bytes_up", "bytes_down", "seconds"]] = rows[["bytes_up", "bytes_down", "seconds"]].sum(min_count=1)
    trained = [view for view in table.index if view != FUSED]
    table = table.reindex([*dict.fromkeys((*sorted(trained), *result.views)), FUSED])
    accuracy = {**result.summary["accuracy"], FUSED: result.summary["accuracy_fused"]}
    f1 = {view: macro_f1(confusion) for view, confusion in result.confusion.items()}
    table.insert(0, "accuracy", pd.Series(accuracy, dtype=float).reindex(table.index))
    table.insert(1, "f1", pd.Series(f1, dtype=float).reindex(table.index))
    return table


def short_names(results: Sequence[Result]) -> list[str]:
    """A short name for each result: its method, and whatever else tells these results apart."""
    keys = ("dataset", "protocol", "split", "seed", "place")
    differing = [key for key in keys if len({str(r.summary.get(key)) for r in results}) > 1]
    names = [" ".join([r.summary["method"], *(_entry(r, key) for key in differing)]) for r in results]
    namesakes = [[other for other, its in zip(results, names, strict=True) if its == name] for name in names]
    return [
        f"{name} {_apart(r, same)}" if len(same) > 1 else name
        for r, name, same in zip(results, names, namesakes, strict=True)
    ]


def _apart(result: Result, namesakes: Sequence[Result]) -> str:
    """The settings that tell a result from its namesakes; the time it began, if it repeats one of them."""
    own, settings = result.settings, [other.settings for other in namesakes]
    differing = [key for key in own if any(other.get(key) != own[key] for other in settings)]
    named = " ".join(f"{key.rpartition('.')[2]}={own[key]}" for key in differing)
    return named if settings.count(own) == 1 else result.folder.name


def comparable(result: Result, others: Iterable[Result]) -> list[Result]:
    """Those of `others` that were examined on the same data, split and seed; the result itself is left out."""
    exam, folder = _exam(result), result.folder.resolve()
    return [other for other in others if _exam(other) == exam and other.folder.resolve() != folder]


def _exam(result: Result) -> list[Any]:
    data = {key: value for key, value in result.settings.items() if key.startswith("data.")}
    return [*(result.summary.get(key) for key in ("dataset", "protocol", "split", "seed")), data]


def heading(result: Result) -> str:
    """What was run, in one line."""
    s = result.summary
    return f"{s['method']} on {s['dataset']} ({s['protocol']}), seed {s['seed']}"


def label_share(result: Result) -> float | None:
    """Share of its clips that each view labels itself, where the data set has such a setting."""
    share = result.settings.get("data.labels")
    return float(share) if isinstance(share, int | float) else None


def _entry(result: Result, key: str) -> str:
    value = result.summary.get(key)
    return f"seed {value}" if key == "seed" else str(value)


# Reading


def summary_of(folder: Path) -> dict[str, Any]:
    """summary.json of a result folder; `UserError` where it is none, or not whole."""
    if not (folder / "summary.json").is_file():
        raise UserError(f"expected a result folder with a summary.json, but {_found(folder)}.")
    summary = _json(folder / "summary.json")
    if lacking := [key for key in _ENTRIES if key not in summary]:
        raise UserError(
            f"expected the entries of a fedkd run in {folder / 'summary.json'}, but {', '.join(lacking)} "
            f"{'is' if len(lacking) == 1 else 'are'} missing; give another folder, or run again."
        )
    return summary


def _found(folder: Path) -> str:
    """What is there in place of a result folder, and what to do about it."""
    if not folder.is_dir():
        return f"there is no folder {folder}; give the one that `fedkd run` printed"
    if inside := _inside(folder):
        return f"{folder} holds {len(inside)} of them; give one, for example {inside[-1].parent}"
    return f"{folder} has none; give the folder that `fedkd run` printed"


def _inside(folder: Path) -> list[Path]:
    """The summaries below a folder, the latest last."""
    return sorted(folder.glob("**/summary.json"), key=lambda path: path.stat().st_mtime)


def _settings(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.yaml"
    try:
        return _flat(_read(path))
    except (YAMLError, OmegaConfBaseException) as error:
        raise _broken("a configuration", path, error) from error


@lru_cache(maxsize=256)
def _flat(yaml: str) -> Mapping[str, Any]:
    """Kept, since a live view and the reports of a sweep read the same folders again and again."""
    nodes: list[tuple[str, Any]] = [("", OmegaConf.to_container(OmegaConf.create(yaml)))]
    table: dict[str, Any] = {}
    while nodes:
        name, node = nodes.pop()
        if isinstance(node, dict):
            nodes += [(f"{name}.{key}" if name else str(key), node[key]) for key in reversed(node)]
        elif name not in ("name", "results_dir", "data_dir", "data.data_dir"):
            table[name] = node
    return MappingProxyType(table)


def _rounds(folder: Path) -> pd.DataFrame:
    text = _read(folder / "rounds.csv")
    text = text[: text.rfind("\n") + 1]  # a line without its end is being written just now
    header = text.partition("\n")[0].split(",")
    if lacking := [name for name in ROUND_COLUMNS if name not in (*header, *_NEWER)]:
        raise UserError(
            f"expected the columns {','.join(ROUND_COLUMNS)} in {folder / 'rounds.csv'}, but {','.join(lacking)} "
            f"{'is' if len(lacking) == 1 else 'are'} missing; give another folder, or run again."
        )
    numbers = [name for name in ROUND_COLUMNS if name not in (*_TEXT, "round")]
    types: dict[Any, Any] = {"round": "int64", **dict.fromkeys(_TEXT, "str"), **dict.fromkeys(numbers, "float64")}
    unknown = {name: [""] for name in numbers}  # nothing else: a view may well be called "nan"
    try:
        table = pd.read_csv(io.StringIO(text), dtype=types, keep_default_na=False, na_values=unknown)
        table = table.reindex(columns=[*header, *(name for name in _NEWER if name not in header)])
        return table.assign(late=table["late"].astype("object").fillna(""))
    except ValueError as error:  # pandas' own errors of parsing are ValueErrors too
        raise _broken("a table of numbers", folder / "rounds.csv", error) from error


def _confusion(folder: Path, summary: Mapping[str, Any]) -> dict[str, Int[np.ndarray, "K K"]]:
    path = folder / "confusion.json"
    tables = _json(path)
    size = len(summary.get("classes") or next(iter(tables.values()), []))
    try:
        confusion = {view: np.array(table, dtype=np.int64) for view, table in tables.items()}
        whole = all(table.shape == (size, size) for table in confusion.values())
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise _broken(f"a {size} x {size} table of counts for each view", path, "got another shape")
    return confusion


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise _broken("whole JSON", path, error) from error
    if not isinstance(content, dict):
        raise _broken("a JSON object", path, f"got {type(content).__name__}")
    return content


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(
            f"expected {path.name} in the result folder {path.parent}, but it is missing; run again."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _broken("readable text", path, error) from error


def _broken(expected: str, path: Path, found: Exception | str) -> UserError:
    what = (str(found).splitlines() or [type(found).__name__])[0].rstrip(".")
    return UserError(f"expected {expected} in {path}, but: {what}; restore the file, or run again.")
