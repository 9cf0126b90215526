"""One run, from its overrides to its result: in its place, with its report, on the screen.

    result = load(run_one(["experiment=demo", "seed=1"]))
    report(result, ())
    print_results([result])

The command line and sweeps make every run by this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedkd.build import build
from fedkd.config import as_string, load
from fedkd.record import new_folder
from fedkd.results import Result
from simulations.screen import screen
from simulations.show import compare, show

WHAT_IS_LEFT = "what the failed run wrote is in"


def run_one(
    overrides: Sequence[str], *, results_dir: str | None = None, name: str | None = None, folder: Path | None = None
) -> Path:
    """One run in the place that the overrides name; its result folder, or `folder`, where one that was killed lies."""
    cfg = load(overrides)
    folder = folder or new_folder(results_dir or cfg.results_dir, name or str(cfg.name), overrides)
    at_home = cfg.place.name != "fleet"  # a fleet's hosts have their recordings in folders of their own
    paths = {"teaching.file": cfg.teaching.file} | ({"data_dir": cfg.data_dir} if at_home else {})
    if at_home and "prepared_dir" in cfg.data:
        paths["data.prepared_dir"] = cfg.data.prepared_dir
    # a cluster's machines have their memories in folders of their own
    of_place = ("kit",) if cfg.place.get("address") else ("kit", "state_dir")
    paths |= {f"place.{key}": cfg.place[key] for key in of_place if key in cfg.place}
    absolute = [f"{key}='{Path(path).expanduser().absolute()}'" for key, path in paths.items() if path is not None]
    cfg = load([*overrides, *absolute])
    views = build(cfg.data).view_names()
    settings = {key: value for key, value in cfg.place.items() if key not in ("name", "run")}
    try:
        build(cfg.place.run)(as_string(_once([*overrides, *absolute])), folder, len(views), **settings)
    except BaseException:
        if os.access(folder, os.F_OK):  # a fleet's may be another user's
            begun = os.access(folder / "summary.json", os.F_OK)
            goes_on = f"; fedkd run resume={folder} goes on" if cfg.resumable and begun else ""
            print(f"{WHAT_IS_LEFT} {folder}{goes_on}", file=sys.stderr)
        raise
    return folder


def _once(words: Sequence[str]) -> list[str]:
    """Each word where it was said last, which is where it counts: a run that goes on has said some before."""
    return list(reversed(dict.fromkeys(reversed(words))))


def report(result: Result, others: Iterable[Result]) -> None:
    """Make a result's plots and report; the comparable ones of `others` are its baselines."""
    from fedkd.report import finish  # here: matplotlib is slow to import, and hosts are forked from this process

    finish(result, others)


def print_results(results: Sequence[Result]) -> None:
    """One result on a screen, or several in a table."""
    screen().print(show(results[0]) if len(results) == 1 else compare(results))
