"""The ServerApp: one run, from the muster of the views to the closed record. Runs unchanged in every place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from omegaconf import DictConfig, OmegaConf

from fedkd.assemble import teacher_course
from fedkd.build import build
from fedkd.config import from_string, load
from fedkd.data.data_set import DataSet
from fedkd.data.pool import POOLED
from fedkd.errors import UserError, reason_of
from fedkd.learn.course import Course
from fedkd.record import Record, new_folder
from fedkd.rules import refuse_unfit
from fedkd.wire import Kind, Letter
from strategies import checkpoint, teaching
from strategies.checkpoint import Beginning
from strategies.enrol import enrolled, refuse_untaught
from strategies.failures import Failures
from strategies.ledger import Ledger
from strategies.observer import Observer
from strategies.pace import ENROL
from strategies.post import Post
from strategies.quorum import wait
from strategies.roster import muster
from strategies.steady import steady
from strategies.views import Setting, ViewStrategy

_AT_HOME = Path.home() / "fedkd"
"""Below it lie the results of runs that were started by a plain `flwr run`."""

ENDING_SECONDS = 30.0
"""Seconds that a run which goes on leaves the ServerApp before it, whose starter was killed, to notice that and end."""

MAY_DIFFER = ("place", "data_dir", "prepared_dir", "results_dir", "timeout", "patience", "min_views")
"""Settings that a run that goes on may have of its own: where and how long, but not what is learned."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run what the run config's `overrides` say; the record goes to its `folder`.

    A folder that exists holds a run that was killed: it goes on, with the same bits as if it had not been.

    Without a folder nobody of ours started the run: it was a plain `flwr run`. The record goes to a new folder under
    results_dir, and a relative one is looked for at home: the directory of this process is that of whoever once started
    the SuperLink, not of whoever ran this.
    """
    torch.set_num_threads(1)
    overrides = from_string(str(context.run_config.get("overrides", "")))
    cfg = load(overrides)
    place, folder = cfg.place.name, str(context.run_config.get("folder", ""))
    if not folder:
        results = _AT_HOME / Path(cfg.results_dir).expanduser()
        place, folder = "flower", str(new_folder(str(results), cfg.name, overrides))
        print(f"fedkd: the record of this run goes to {folder}", flush=True)
    data: DataSet = build(cfg.data)
    refuse_unfit(cfg, data.view_names())
    record = _record(Path(folder), cfg, {**_heading(cfg, data), "place": place, "overrides": overrides})
    try:
        observer = run(steady(grid), cfg, data, record)
        observer.close()
    except BaseException as error:  # an interrupted run has failed too
        record.update(status="failed", reason=reason_of(error))
        raise
    finally:
        record.close()


def run(grid: Grid, cfg: DictConfig, data: DataSet, record: Record) -> Observer:
    """Muster, enrol, bring the teacher, then Flower's own rounds; of a killed run, those that it had yet to do."""
    kept, ledger, patience = record.folder / "checkpoint", Ledger(), float(cfg.patience)
    begun, standing = checkpoint.beginning(kept), checkpoint.last(kept, cfg.rounds)
    if begun and standing:
        begun = replace(begun, enrolment=standing.enrolment, books=standing.books)
    if begun:
        ledger.open(begun.books)
    expected = begun.enrolment.num_clips.keys() - {POOLED} if begun else ()
    roster = muster(
        grid,
        data.view_names(),
        together=cfg.strategy.pool,
        patience=patience,
        announce=record.wait_for,
        needed=_min_views(cfg),
        expected=expected,
    )
    post = Post(roster, ledger, record.run)
    if begun is None:
        begun = _begin(grid, cfg, data, post, record)
    setting = Setting(
        post=post,
        views=tuple(data.view_names()),
        beginning=begun,
        rule=build(cfg.consensus),
        rounds=cfg.rounds,
        num_classes=len(data.classes),
        timeout=float(cfg.timeout),
        min_views=_min_views(cfg),
        patience=patience,
        staleness=float(cfg.strategy.staleness),
        announce=record.wait_for,
        exam_every=cfg.evaluate_every,
        save_to=str(kept) if cfg.keep_students else "",
    )
    # in two steps: an object given to Hydra's instantiate would arrive as a copy in OmegaConf's own types
    strategy: ViewStrategy = build(cfg.strategy.exchange, _partial_=True)(setting=setting)
    if standing is not None:
        strategy.go_on(standing)
    observer = Observer(record, strategy, {**roster.unserved(data.view_names()), **begun.enrolment.failures})
    arrays = standing.arrays if standing else ArrayRecord()
    strategy.start(grid, arrays, cfg.rounds - strategy.done, timeout=float(cfg.timeout), evaluate_fn=observer)
    return observer


def _record(folder: Path, cfg: DictConfig, heading: dict[str, Any]) -> Record:
    """A new record, or that of a killed run with the same settings, to go on with."""
    yaml = OmegaConf.to_yaml(cfg)
    if not (folder / "config.yaml").exists():
        return Record(folder, yaml, heading)
    if different := _different(OmegaConf.load(folder / "config.yaml"), OmegaConf.create(yaml)):
        raise UserError(
            f"expected the settings of the run in {folder}, but {', '.join(different)} differ; go on with "
            f"fedkd run resume={folder}, or choose another folder."
        )
    if not cfg.resumable:
        raise UserError(f"the run in {folder} cannot go on, since it ran with resumable=false; start it anew.")
    record = Record.again(folder, ENDING_SECONDS)
    record.update(place=heading["place"], overrides=heading["overrides"])
    return record


def _different(then: Any, now: Any, prefix: str = "") -> list[str]:
    """The settings that differ and may not."""
    if not isinstance(then, DictConfig) or not isinstance(now, DictConfig):
        return [] if then == now else [prefix.removesuffix(".")]
    keys = [key for key in dict.fromkeys((*then, *now)) if key not in MAY_DIFFER]
    return [name for key in keys for name in _different(then.get(key), now.get(key), f"{prefix}{key}.")]


def _begin(grid: Grid, cfg: DictConfig, data: DataSet, post: Post, record: Record) -> Beginning:
    """What is settled before round 1."""
    pupils = (POOLED,) if cfg.strategy.pool else post.roster.views
    tell = cfg.strategy.event_labels and not cfg.strategy.pool
    needed, timeout, patience = _min_views(cfg), float(cfg.timeout), float(cfg.patience)
    hold = partial(wait, post, grid, data.view_names(), needed=needed, patience=patience, announce=record.wait_for)
    post.ask(grid, ENROL, {view: {} for view in pupils}, {"tell": tell}, timeout=timeout)
    exchange = hold()
    enrolment = enrolled(exchange, len(pupils), tell=tell, needed=needed, num_classes=len(data.classes))
    teacher, missed = dict[str, Any](), Failures()
    course = teacher_course(cfg)
    if course is not None:
        refuse_untaught(exchange, enrolment, course.seen)
        federate = partial(teaching.federate, post, grid, enrolment.letters(), enrolment.num_clips)
        together = partial(federate, rounds=cfg.teaching.rounds, timeout=timeout, needed=needed, hold=hold)
        teacher, missed = _teacher(course, cfg, data, together)
    enrolment = replace(enrolment, failures={**enrolment.failures, **missed})
    begun = Beginning(enrolment, teacher, post.ledger.books())
    checkpoint.keep_beginning(record.folder / "checkpoint", begun)
    return begun


def _min_views(cfg: DictConfig) -> int:
    return 1 if cfg.strategy.pool else int(cfg.min_views)


def _teacher(
    course: Course, cfg: DictConfig, data: DataSet, together: Callable[[], tuple[ArrayRecord, Failures]]
) -> tuple[Letter, Failures]:
    """(the letter that brings the teacher, empty where every view teaches its own; why views missed a round of it).

    together  how the views teach it, and who missed a round.
    """
    match cfg.teaching.origin:
        case "local" | "online":
            return {}, {}
        case "federated":
            weights, missed = together()
            return {Kind.TEACHER: weights}, missed
        case "lab":
            return teaching.push(teaching.in_the_lab(course, data.lab(), len(data.classes), cfg.seed)), {}
        case _:
            return teaching.push(teaching.from_file(cfg.teaching.file)), {}


def _heading(cfg: DictConfig, data: DataSet) -> dict[str, Any]:
    """The entries of summary.json that are known before the first round."""
    return {
        "method": cfg.strategy.name,
        "dataset": data.name,
        "protocol": data.protocol,
        "seed": cfg.seed,
        "rounds": cfg.rounds,
        "views": list(data.view_names()),
        "classes": list(data.classes),
        "split": cfg.split,
        "accuracy": {},
        "accuracy_mean": None,
        "accuracy_fused": None,
        "accuracy_teacher": {},
        "bytes_up": 0,
        "bytes_down": 0,
        "place": cfg.place.name,
        "suspects": [],
        "digest": None,
    }
