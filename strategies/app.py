"""The ServerApp: one run, from the muster of the views to the closed record. Runs unchanged in every place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from omegaconf import DictConfig, OmegaConf

from fedkd.assemble import refuse_unfit, teacher_course
from fedkd.config import build, from_string, load
from fedkd.data.pool import POOLED
from fedkd.learn.course import Course
from fedkd.record import Record, new_folder
from fedkd.wire import Letter
from strategies import teaching
from strategies.enrol import Enrolment, enrol, event_letters
from strategies.ledger import Ledger
from strategies.observer import Observer
from strategies.post import Post
from strategies.roster import muster
from strategies.views import Setting, ViewStrategy

_AT_HOME = Path.home() / "fedkd"
"""Below it lie the results of runs that were started by a plain `flwr run`."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run what the run config's `overrides` say; the record goes to its `folder`.

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
    data = build(cfg.data)
    refuse_unfit(cfg, data.view_names())
    record = Record(Path(folder), OmegaConf.to_yaml(cfg), {**_heading(cfg, data), "place": place})
    try:
        observer = run(grid, cfg, data, record)
    except BaseException as error:  # an interrupted run has failed too
        record.update(status="failed", reason=str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise
    observer.close()


def run(grid: Grid, cfg: DictConfig, data: Any, record: Record) -> Observer:
    """Muster, enrol, bring the teacher, then Flower's own rounds."""
    roster = muster(grid, data.view_names(), together=cfg.strategy.pool, patience=float(cfg.patience))
    post = Post(roster, Ledger())
    pupils = (POOLED,) if cfg.strategy.pool else roster.views
    tell = cfg.strategy.event_labels and not cfg.strategy.pool
    min_views = 1 if cfg.strategy.pool else cfg.min_views
    enrolment = enrol(post, grid, pupils, tell=tell, needed=min_views, timeout=float(cfg.timeout))
    first_letters = event_letters(enrolment.events) if tell else {view: {} for view in enrolment.num_clips}
    if (course := teacher_course(cfg)) is not None:
        first_letters = _with_teacher(first_letters, course, cfg, data, post, grid, enrolment)
    setting = Setting(
        post=post,
        pupils=tuple(enrolment.num_clips),
        num_clips=enrolment.num_clips,
        first_letters=first_letters,
        rule=build(cfg.consensus),
        rounds=cfg.rounds,
        min_views=min_views,
        exam_every=cfg.evaluate_every,
        save_to=str(record.folder / "checkpoint") if cfg.keep_students else "",
    )
    # in two steps: an object given to Hydra's instantiate would arrive as a copy in OmegaConf's own types
    strategy: ViewStrategy = build(cfg.strategy.exchange, _partial_=True)(setting=setting)
    observer = Observer(record, strategy, roster.unserved(data.view_names()) | enrolment.failures)
    strategy.start(grid, ArrayRecord(), cfg.rounds, timeout=float(cfg.timeout), evaluate_fn=observer)
    return observer


def _with_teacher(
    letters: dict[str, Letter],
    course: Course,
    cfg: DictConfig,
    data: Any,
    post: Post,
    grid: Grid,
    enrolment: Enrolment,
) -> dict[str, Letter]:
    """The first letters, with the teacher in them unless every view teaches its own."""
    match cfg.teaching.origin:
        case "local" | "online":
            return letters
        case "federated":
            rounds, timeout = cfg.teaching.rounds, float(cfg.timeout)
            teacher: Letter = {
                "teacher": teaching.federate(post, grid, letters, enrolment.num_clips, rounds=rounds, timeout=timeout)
            }
        case "lab":
            teacher = teaching.push(teaching.in_the_lab(course, data.lab(), len(data.classes), cfg.seed))
        case _:
            teacher = teaching.push(teaching.from_file(cfg.teaching.file))
    return {view: {**letter, **teacher} for view, letter in letters.items()}


def _heading(cfg: DictConfig, data: Any) -> dict[str, Any]:
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
