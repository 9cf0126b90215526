"""The border to the disk: the folder a run leaves behind, written as the run goes.

    results/<name>/<date-time>-<hash of overrides>/
        config.yaml  env.json  rounds.csv  summary.json  confusion.json  answers.csv  plots/  report.html  checkpoint/

Other programs read it: the format is stable. Every file is whole at any moment, after a power cut too: tables grow by
whole lines, the others are replaced at once. (Plots and report are made from the others, and can be made again: ``fedkd
show --report``.) A run that ends early leaves what it measured, with ``"status": "failed"`` and the reason; it can go
on from there (``fedkd run resume=``).

summary.json is one object; of a run that still goes on, what is known so far:
    method, dataset, protocol, seed, rounds, views, classes, split, place    what was run: views and classes by name,
                     `rounds` as many as were asked for
    overrides        the words that asked for it
    run              its name among all runs there are, 16 hexadecimal digits
    status           "running", "finished" or "failed"; `reason` of a failed run: its error's first line
    waiting          which hosts the run waits for, and for how long; "" when it goes on, absent where it never waited
    rounds_done      whole rounds in the record, 0 after enrolment
    accuracy, accuracy_teacher    {view: fraction of 1 | null}, of the last exam: the view's student; the first teacher
                     of its host (empty where none was taught or could see the clips)
    accuracy_mean, accuracy_fused    over the views that were examined; of their answers pooled; null before an exam
    bytes_up, bytes_down    of all views, exams left out: the sums over rounds.csv
    bytes_exams      of all exams, up and down
    failures         [{"round", "view", "reason"}]: what did not answer, or not sensibly; round 0 is enrolment
    suspects         always []; kept since other programs expect it
    digest           sha256 over the final students' weights' digests in the views' name order; null before the end.
                     Equal digests mean equal runs
    wall_seconds     from the first line of the record to the last; of a run that went on, its parts together

What only the end knows, of the last exam:
    confusion.json   {view, and "fused": K x K events by true class (row) and guess (column)}
    answers.csv      view (or "fused"), event (its id), truth, guess (classes 0..K-1), confidence (the guess's
                     probability); a line for each view and event
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedkd.environment import environment
from fedkd.errors import UserError, remark
from fedkd.files import holding, to_disk, write_whole, writing_to
from fedkd.terms import TERMS

FUSED = "fused"
"""Name of the row that holds the views' pooled answers."""

ROUND_COLUMNS = (
    "round", "view", "status", "accuracy", *TERMS, "lack", "bytes_up", "bytes_down", "seconds", "late",
)  # fmt: skip
"""One row for each round and view; the row of view "fused" holds the views' pooled answers.

accuracy      fraction of 1 on the exam's clips, empty in rounds without an exam.
supervised .. the terms of the objective, means over the round's steps, in nats.
lack          share of the view's training clips whose class it does not know.
bytes_*       of the exchange in this round, and of late answers that came in it (exams left out); round 0 is enrolment
              and a federated teacher; a teacher that is pushed arrives with round 1. All rows add up to summary.json.
seconds       the view's own training time.
late          the earlier rounds ("3", "3 4") whose answer of the view came late and counted in this one: in place of an
              answer to this one, or for its soft labels. Empty where none did, so always with staleness=0.
"""

_HEADER = ",".join(ROUND_COLUMNS) + "\n"

AT_WORK = "a run is at work in {folder}; wait for it, or end it."
"""Of whoever would write there too."""


class Record:
    """A run's folder, open for writing: by this process alone, until it is closed or the process ends."""

    def __init__(self, folder: Path, config_yaml: str, summary: Mapping[str, Any]) -> None:
        if folder.exists():
            raise UserError(f"expected a new result folder, but {folder} exists; choose another name= or results_dir=.")
        try:
            (folder / "plots").mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"cannot make the result folder {folder}: {error.strerror}; choose another results_dir=."
            ) from error
        self.folder, self._lock = folder, holding(folder, AT_WORK.format(folder=folder))
        self._began = time.monotonic()
        self._summary = {**summary, "run": secrets.token_hex(8)}
        self._replace("config.yaml", config_yaml)
        self._replace("env.json", json.dumps(environment(), indent=2) + "\n")
        self._replace("rounds.csv", _HEADER)
        self.update(status="running", wall_seconds=0.0)

    @classmethod
    def again(cls, folder: Path, patience: float = 0.0) -> Record:
        """The record of a run that did not finish, to go on with; `UserError` where there is none, or where the run
        is still at work after `patience` seconds.
        """
        record = cls.__new__(cls)
        record.folder, record._lock = folder, holding(folder, AT_WORK.format(folder=folder), patience)
        try:
            record._summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{folder} holds no run to go on with: {error}; start the run anew.") from error
        if record._summary["status"] == "finished":
            raise UserError(f"the run in {folder} is finished; there is nothing to go on with.")
        record._began = time.monotonic() - record._summary["wall_seconds"]
        for of_its_end in ("reason", "waiting"):
            record._summary.pop(of_its_end, None)
        record.update(status="running")
        return record

    @property
    def run(self) -> str:
        """The run's name among all runs there are, 16 hexadecimal digits: its cameras' memories go by it."""
        return str(self._summary["run"])

    @property
    def failures(self) -> list[dict[str, Any]]:
        """What did not answer so far: {round, view, reason}."""
        return list(self._summary.get("failures", []))

    def back_to(self, round: int) -> None:
        """Forget the rows of later rounds than this; a run that goes on makes them again.

        A table of an older fedkd gets the columns that it did not have, empty. Where the whole table is lost, it begins
        anew, and that is said: no round needs it, only who reads it.
        """
        path = self.folder / "rounds.csv"
        with writing_to(self.folder):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        if not lines or not lines[0].startswith("round,"):
            lines = [_HEADER]
            if round >= 0:
                remark(f"{path} is empty or torn: the rows of rounds 0 to {round} are lost; the run goes on without.")
        kept = [line for line in lines[1:] if line.endswith("\n") and int(line.partition(",")[0]) <= round]
        table = [lines[0], *kept]
        self._replace("rounds.csv", "".join(table) if lines[0] == _HEADER else _of_today(table))

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to rounds.csv, whole lines at a time."""
        text = _lines({name: _plain(value) for name, value in row.items()} for row in rows)
        with writing_to(self.folder), open(self.folder / "rounds.csv", "a", encoding="utf-8") as file:
            file.write(text)
            to_disk(file)

    def update(self, **entries: Any) -> None:
        """Set entries of summary.json."""
        self._summary |= entries
        self._summary["wall_seconds"] = round(time.monotonic() - self._began, 3)
        text = json.dumps(self._summary, indent=2) + "\n"
        write_whole(self.folder / "summary.json", text.encode(), durable=True)

    def wait_for(self, what: str) -> None:
        """Say what the run waits for, to whoever watches it; "" when it goes on."""
        if what != self._summary.get("waiting", ""):
            self.update(waiting=what)

    def write(self, name: str, content: str | bytes) -> None:
        """Write one more file of the folder."""
        self._replace(name, content)

    def _replace(self, name: str, content: str | bytes) -> None:
        write_whole(self.folder / name, content if isinstance(content, bytes) else content.encode(), durable=True)


def new_folder(results_dir: str, name: str, overrides: Iterable[str]) -> Path:
    """``<results_dir>/<name>/<date-time>-<hash of overrides>``: equal overrides share a hash."""
    sha = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
    return Path(results_dir).expanduser().absolute() / name / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{sha}"


def _of_today(table: Iterable[str]) -> str:
    """The lines of a table, under today's columns."""
    rows = csv.DictReader(table)
    return _HEADER + _lines({name: row[name] for name in ROUND_COLUMNS if name in row} for row in rows)


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as rounds.csv has them."""
    text = io.StringIO()
    csv.DictWriter(text, ROUND_COLUMNS, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue()


def _plain(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
