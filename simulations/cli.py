"""The command line: ``fedkd run | show | study | data | models | fleet``.

Exit codes: 0 done; 1 a data check found something broken; 2 what was asked cannot be done, or a run failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from fedkd.build import build
from fedkd.config import as_string, expand, load, options
from fedkd.data.check import DataReport
from fedkd.data.data_set import Prepared
from fedkd.data.store import Store
from fedkd.errors import UserError
from fedkd.record import new_folder
from fedkd.results import load as read
from fedkd.results import only_run
from simulations.data_report import render
from simulations.fleet.cli import add_fleet
from simulations.remarks import show_plainly
from simulations.settings import settings
from simulations.show import compare, show
from simulations.sweep import Outcome, at_once, jobs_for

_DATA_VERBS = {"check": "check", "show": "contact_sheet", "prepare": "prepare"}
_PIPE_COLUMNS = 120  # where no terminal says how wide it is


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; give the exit code."""
    asked = _parser().parse_args(arguments)
    show_plainly()
    try:
        return int(asked.act(asked) or 0)
    except UserError as error:
        print(f"fedkd: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fedkd: interrupted; what was written before is kept.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fedkd", description="Federated multi-view learning by soft pseudo-labels.")
    verbs = parser.add_subparsers(required=True, metavar="run | show | study | data | models | fleet")
    run = verbs.add_parser(
        "run",
        help="run an experiment: fedkd run experiment=demo strategy=distil seed=1",
        add_help=False,
    )
    run.add_argument("-h", "--help", action="store_true", help="show every setting, for the groups that are chosen")
    run.add_argument("-m", "--multirun", action="store_true", help="run every combination of values such as seed=0,1,2")
    run.add_argument(
        "--jobs", type=int, help="runs of -m at once (default: 1; with place.address, what the cluster has cores for)"
    )
    run.add_argument(
        "overrides", nargs="*", metavar="key=value", help="what differs from the defaults; resume=RESULT: a killed run"
    )
    run.set_defaults(act=_run, usage=run.format_help())
    data = verbs.add_parser("data", help="fedkd data check | show | prepare NAME: what of a data set is there")
    data.add_argument(
        "what",
        choices=("check", "show", "prepare"),
        help="check: there, missing, broken; show: draw it; prepare: read slow files once",
    )
    data.add_argument("name", help="a data set: " + ", ".join(options("data")))
    data.add_argument("overrides", nargs="*", metavar="key=value", help="such as data_dir=FOLDER")
    data.set_defaults(act=_data)
    studied = verbs.add_parser("study", help="run a sweep, several runs at once, and write its table")
    studied.add_argument("folder", type=Path, help="where the runs and the table go")
    studied.add_argument("overrides", nargs="+", metavar="key=value", help="what differs; seed=0,1,2 runs each")
    studied.add_argument(
        "--variant",
        metavar="'KEY=VALUE ...'",
        action="append",
        default=[],
        help="one more row: the same with these changes, such as 'hint=none' (for ablations; may be given again)",
    )
    studied.add_argument(
        "--against", metavar="METHOD", help="the row that others are compared with, or the words that tell it from them"
    )
    studied.add_argument("--jobs", type=int, help="runs at once (default: cores, of a cluster if place.address is one)")
    studied.set_defaults(act=_study)
    nets = verbs.add_parser("models", help="every student and teacher: parameters, and multiply-adds a clip")
    nets.set_defaults(act=_models)
    shown = verbs.add_parser("show", help="print results again: fedkd show RESULT [RESULT ...]")
    shown.add_argument(
        "results", nargs="+", metavar="RESULT", help="a result folder, or one with a single result in it"
    )
    shown.add_argument("--format", choices=("text", "json"), default="text", help="json: what summary.json holds")
    shown.add_argument(
        "--report", action="store_true", help="make the first's plots and report anew, beside the others"
    )
    shown.set_defaults(act=_show)
    add_fleet(verbs.add_parser("fleet", help="real hosts: fedkd fleet init | check | status | gate"))
    return parser


def _run(asked: argparse.Namespace) -> int:
    if asked.help:
        print(asked.usage.rstrip(), end="\n\n")
        print(settings(asked.overrides))
        return 0
    if any(word.startswith("resume=") for word in asked.overrides):
        return _resume(asked.overrides, multirun=asked.multirun)
    combinations = list(expand(asked.overrides)) if asked.multirun else [list(asked.overrides)]
    for overrides in combinations:
        load(overrides)  # a sweep with a mistake in it should fail before its first run
        _note_idle_teacher(overrides)
    folders: list[Path] = []
    failed: list[str] = []
    for overrides, (folder, reason) in zip(combinations, _outcomes(combinations, asked.jobs), strict=True):
        if folder is None:
            failed.append(_what_differs(overrides, combinations))
            print(f"{failed[-1]} failed: {reason}", file=sys.stderr)
            continue
        if reason:
            print(reason, file=sys.stderr)
        folders.append(folder)
        report(folder, folders[:-1])
        print_results([folder])
    if len(folders) > 1:
        print_results(folders)
    if failed:
        raise UserError(f"{len(failed)} of {len(combinations)} runs failed, the others are done: {'; '.join(failed)}.")
    return 0


def _outcomes(combinations: Sequence[list[str]], jobs: int | None) -> Iterator[Outcome]:
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
        except UserError as error:
            if len(combinations) == 1:
                raise
            yield None, str(error)


def _resume(words: Sequence[str], *, multirun: bool) -> int:
    """Go on with a run that was killed, from its last whole round; what else is said may only change where it runs."""
    [result, *more] = [word.partition("=")[2] for word in words if word.startswith("resume=")]
    if more or multirun:
        raise UserError("resume= goes on with one run; give each its own command.")
    folder = only_run(result).absolute()  # a ServerApp or an actor may work in another directory
    summary = read(folder).summary
    if summary["status"] == "finished":
        print(f"fedkd: the run in {folder} is finished already.", file=sys.stderr)
    else:
        if "overrides" not in summary:
            raise UserError(f"the run in {folder} was made by an older fedkd, which could not go on; start it anew.")
        others = [word for word in words if not word.startswith("resume=")]
        elsewhere = any(word.startswith("place=") for word in others)
        recorded = [w for w in summary["overrides"] if not (elsewhere and w.startswith(("place=", "place.")))]
        run_one([*recorded, *others], folder=folder)
        report(folder, ())
    print_results([folder])
    return 0


def _what_differs(overrides: Sequence[str], combinations: Sequence[Sequence[str]]) -> str:
    """A run of a sweep, by what tells it from the others."""
    common = set(combinations[0]).intersection(*combinations)
    return " ".join(word for word in overrides if word not in common)


def _note_idle_teacher(overrides: Sequence[str]) -> None:
    """Say so where somebody typed a teacher that the strategy has no use for; a sweep may well pass by such a one."""
    cfg = load(overrides)
    typed = any(word.startswith("teacher=") for word in overrides)
    if typed and cfg.teacher.model is not None and not cfg.strategy.teacher:
        print(
            f"note: strategy={cfg.strategy.name} has no use for a teacher; strategy.teacher=true gives it one.",
            file=sys.stderr,
        )


def _data(asked: argparse.Namespace) -> int:
    data = build(load([f"data={asked.name}", *asked.overrides]).data)
    if not hasattr(data, _DATA_VERBS[asked.what]):
        raise UserError(f"{asked.name} has nothing to {asked.what}.")
    if asked.what == "show":
        path = Path(f"{asked.name}.png").absolute()
        data.contact_sheet(path)
        print(path)
        return 0
    if asked.what == "prepare":
        return _prepare(data)
    found: DataReport = data.check()
    Console(highlight=False).print(render(found))
    return found.exit_code


def _prepare(data: Prepared) -> int:
    """Show how far each store of clips is, then what is in it; name the broken recordings."""
    made: list[tuple[Store, int]] = []

    def shown(sources: Iterable[Any], count: int, store: Store) -> Iterable[Any]:
        made.append((store, count))
        return track(sources, f"preparing {store.folder.name}", count) if count else sources

    broken = data.prepare(shown)
    for fault in broken:
        print(f"fedkd: {fault.name}: {fault.reason}", file=sys.stderr)
    for store, count in made:
        there = len(store.names())
        unmade = len(store.begun()) - there
        print(f"{store.folder.name}: {there} clips are there, {count - unmade} made now, {unmade} broken")
    return int(bool(broken))


def _study(asked: argparse.Namespace) -> int:
    from simulations.study import as_command, study, varied

    rows = [asked.overrides, *(varied(asked.overrides, variant) for variant in asked.variant)]
    combinations = [overrides for row in rows for overrides in expand(row)]
    for overrides in combinations:
        load(overrides)
    command = as_command(asked.folder, asked.overrides, asked.variant, asked.against)
    table = study(
        asked.folder, combinations, command=command, against=asked.against, jobs=asked.jobs or jobs_for(combinations)
    )
    print(table.read_text())
    return 0


def _models(asked: argparse.Namespace) -> int:
    from simulations.models import table

    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS).print(table())
    return 0


def _show(asked: argparse.Namespace) -> int:
    folders = [only_run(result) for result in asked.results]
    if asked.report:
        report(folders[0], folders[1:])
    if asked.format == "text":
        print_results(folders)
        return 0
    summaries = [read(folder).summary for folder in folders]
    print(json.dumps(summaries if len(summaries) > 1 else summaries[0], indent=2))
    return 0


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
    absolute = [f"{key}='{Path(path).expanduser().absolute()}'" for key, path in paths.items() if path is not None]
    views = build(load([*overrides, *absolute]).data).view_names()
    settings = {key: value for key, value in cfg.place.items() if key not in ("name", "run")}
    try:
        build(cfg.place.run)(as_string([*overrides, *absolute]), folder, len(views), **settings)
    except BaseException:
        if folder.exists():
            goes_on = f"; fedkd run resume={folder} goes on" if cfg.resumable else ""
            print(f"what the failed run wrote is in {folder}{goes_on}", file=sys.stderr)
        raise
    return folder


def report(folder: Path, others: Sequence[Path]) -> None:
    """Make a result's plots and report; the comparable ones of `others` are its baselines."""
    from fedkd.report import finish  # here: matplotlib is slow to import, and hosts are forked from this process

    finish(folder, others)


def print_results(folders: Sequence[Path]) -> None:
    """One result on a screen, or several in a table."""
    results = [read(folder) for folder in folders]
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
    screen.print(show(results[0]) if len(results) == 1 else compare(results))


def entry() -> None:
    """The installed command."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
