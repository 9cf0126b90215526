"""The command line: ``fedkd run | show | study | data | models | fleet``.

Exit codes: 0 done; 1 a data check found something broken; 2 what was asked cannot be done, or a run failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from fedkd.build import build
from fedkd.config import expand, load, options
from fedkd.data.data_set import Checked, Pictured, Prepared
from fedkd.data.store import Store
from fedkd.errors import Remark, UserError
from fedkd.files import held, holding
from fedkd.record import AT_WORK
from fedkd.results import Result, only_run, summary_of
from fedkd.results import load as read
from simulations.data_report import render
from simulations.fleet.cli import add_fleet
from simulations.remarks import show_plainly
from simulations.run import print_results, report, run_one
from simulations.screen import screen
from simulations.serve import drop_memories
from simulations.settings import settings
from simulations.sweep import jobs_for, outcomes, what_differs
from strategies import checkpoint
from strategies.app import ENDING_SECONDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; give the exit code."""
    asked = _asked(arguments)
    show_plainly()
    try:
        return int(asked.act(asked) or 0)
    except UserError as error:
        print(f"fedkd: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fedkd: interrupted; what was written before is kept.", file=sys.stderr)
        return 130


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the arguments ask for; settings may stand before, between and after options."""
    parser = _parser()
    asked, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(asked, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        asked.overrides = [*asked.overrides, *rest]
    return asked


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
        "--jobs",
        type=_jobs,
        help="runs of -m at once (default: 1; on a cluster at place.address one a core of it, but at most twice as "
        "many as this machine has)",
    )
    run.add_argument(
        "overrides", nargs="*", metavar="key=value", help="what differs from the defaults; resume=RESULT: a killed run"
    )
    run.set_defaults(act=_run, usage=run.format_help())
    data = verbs.add_parser("data", help="recordings: fedkd data check | prepare | show NAME")
    data.add_argument(
        "what",
        choices=("check", "prepare", "show"),
        help="check: what is there, missing, broken; prepare: read slow files once, and keep what they say; "
        "show (synthetic): draw some clips, to NAME.png",
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
        "--against",
        metavar="ROW",
        help="the row to compare with, e.g. alone; in a crossed sweep, the words its control adds",
    )
    studied.add_argument(
        "--jobs",
        type=_jobs,
        help="runs at once (default: one a core; on a cluster at place.address one a core of it, but at most twice as "
        "many as this machine has)",
    )
    studied.set_defaults(act=_study)
    nets = verbs.add_parser("models", help="every student and teacher: parameters, and multiply-adds a clip")
    nets.set_defaults(act=_models)
    shown = verbs.add_parser("show", help="print results again: fedkd show RESULT [RESULT ...]")
    shown.add_argument(
        "results", nargs="+", metavar="RESULT", help="a result folder, or one with a single result in it"
    )
    shown.add_argument("--format", choices=("text", "json"), default="text", help="json: what summary.json holds")
    shown.add_argument(
        "--report",
        action="store_true",
        help="remake plots and report of the first RESULT, with the others as baselines",
    )
    shown.set_defaults(act=_show)
    add_fleet(verbs.add_parser("fleet", help="real hosts: fedkd fleet init | check | status | gate"))
    return parser


def _jobs(text: str) -> int:
    """A number of runs at once."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected how many runs at once, 1 or more, got {text!r}")
    return int(text)


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
    done: list[Result] = []
    failed: list[str] = []
    for overrides, (folder, reason) in zip(combinations, outcomes(combinations, asked.jobs), strict=True):
        if folder is None:
            failed.append(what_differs(overrides, combinations))
            print(f"{failed[-1]} failed: {reason}", file=sys.stderr)
            continue
        if reason:
            print(reason, file=sys.stderr)
        done.append(read(folder))
        try:
            report(done[-1], done)
        except UserError as error:
            if len(combinations) == 1:
                raise
            print(f"fedkd: {error}", file=sys.stderr)  # a disk without room for pictures may have some for the next run
        print_results(done[-1:])
    if len(done) > 1:
        print_results(done)
    if failed:
        raise UserError(f"{len(failed)} of {len(combinations)} runs failed, the others are done: {'; '.join(failed)}.")
    return 0


def _resume(words: Sequence[str], *, multirun: bool) -> int:
    """Go on with a run that was killed, from its last whole round; what else is said may only change where it runs."""
    [result, *more] = [word.partition("=")[2] for word in words if word.startswith("resume=")]
    if more or multirun:
        raise UserError("resume= goes on with one run; give each its own command.")
    folder = only_run(result).absolute()  # a ServerApp or an actor may work in another directory
    if held(folder):
        print(f"fedkd: a run is at work in {folder}; waits half a minute for it to end.", file=sys.stderr)
        holding(folder, AT_WORK.format(folder=folder), ENDING_SECONDS).close()
    summary = summary_of(folder)  # the rest of the record may be lost: the run goes by its checkpoint
    if summary["status"] == "finished":
        print(f"fedkd: the run in {folder} is finished already.", file=sys.stderr)
        _tidy(folder)
    else:
        if "overrides" not in summary:
            raise UserError(f"the run in {folder} was made by an older fedkd, which could not go on; start it anew.")
        others = [word for word in words if not word.startswith("resume=")]
        elsewhere = any(word.startswith("place=") and word != f"place={summary['place']}" for word in others)
        recorded = [w for w in summary["overrides"] if not (elsewhere and w.startswith(("place=", "place.")))]
        run_one([*recorded, *others], folder=folder)
        report(read(folder), ())
    print_results([read(folder)])
    return 0


def _tidy(folder: Path) -> None:
    """Do what a finished run that was killed just after its end had yet to do."""
    if os.access(folder, os.W_OK):
        checkpoint.tidy(folder / "checkpoint")
        drop_memories(folder)
        if not (folder / "report.html").exists():
            report(read(folder), ())


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
    with warnings.catch_warnings(category=Remark, action="ignore"):  # on what nets may see: none takes part
        cfg = load([f"data={asked.name}", *asked.overrides])
    data = build(cfg.data)
    if asked.what == "show" and isinstance(data, Pictured):
        path = Path(f"{asked.name}.png").absolute()
        data.contact_sheet(path)
        print(path)
        return 0
    if asked.what == "prepare" and isinstance(data, Prepared):
        return _prepare(data)
    if asked.what == "check" and isinstance(data, Checked):
        found = data.check()
        Console(highlight=False).print(render(found))
        return found.exit_code
    raise UserError(f"{asked.name} has nothing to {asked.what}.")


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

    screen().print(table())
    return 0


def _show(asked: argparse.Namespace) -> int:
    results = [read(only_run(result)) for result in asked.results]
    if asked.report:
        report(results[0], results[1:])
    if asked.format == "text":
        print_results(results)
        return 0
    summaries = [result.summary for result in results]
    print(json.dumps(summaries if len(summaries) > 1 else summaries[0], indent=2))
    return 0


def entry() -> None:
    """The installed command."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
