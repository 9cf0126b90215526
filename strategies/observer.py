"""What the server writes down after each round, and at the end of a run."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from flwr.app import ArrayRecord

from fedkd.metrics.marks import Marks
from fedkd.record import FUSED, Record
from strategies import checkpoint
from strategies.failures import Failures
from strategies.views import RoundNotes, ViewStrategy


class Observer:
    """Flower's `evaluate_fn`: called before the first round and after every one.

    Where the strategy goes on for another that was killed, the record goes back to the end of that one's last round.
    """

    def __init__(self, record: Record, strategy: ViewStrategy, not_enrolled: Failures) -> None:
        self.record, self.strategy = record, strategy
        self.failures: list[dict[str, Any]] = [{"round": 0, "view": v, "reason": r} for v, r in not_enrolled.items()]
        if done := strategy.done:
            self.failures = [failure for failure in record.failures if failure["round"] <= done]
        record.back_to(done or -1)

    def __call__(self, server_round: int, arrays: ArrayRecord) -> None:
        """Write the rows of a round, the figures so far, and, last of all, the server's checkpoint."""
        notes = self.strategy.notes
        if self.strategy.done and not server_round:
            return  # nothing happened since another wrote it down
        server_round += self.strategy.done
        self.record.rows(self._setup_rows() if server_round == 0 else self._rows(notes))
        self.failures += [{"round": server_round, "view": v, "reason": r} for v, r in notes.reasons.items()]
        up, down = self.strategy.setting.post.ledger.totals()
        self.record.update(
            rounds_done=server_round,
            bytes_up=up,
            bytes_down=down,
            bytes_exams=self.strategy.setting.post.ledger.exams(),
            failures=self.failures,
            **_figures(notes),
        )
        if server_round:
            checkpoint.keep(self.record.folder / "checkpoint", self.strategy.standing(server_round, arrays))

    def close(self) -> None:
        """Write what only the end knows: the students' digest, every answer, the confusion of every view."""
        notes = self.strategy.notes
        marks = notes.marks | ({FUSED: notes.fused} if notes.fused else {})
        self.record.write("confusion.json", json.dumps({v: m.confusion().tolist() for v, m in marks.items()}) + "\n")
        self.record.write("answers.csv", _answers(marks))
        self.record.update(status="finished", digest=_combined(notes.digests))
        checkpoint.tidy(self.record.folder / "checkpoint")

    def _setup_rows(self) -> Iterator[dict[str, Any]]:
        setting = self.strategy.setting
        for view in dict.fromkeys((*setting.pupils, *setting.post.ledger.views(0))):
            up, down = setting.post.ledger.of(0, view)
            status = "enrolled" if view in setting.pupils else setting.beginning.enrolment.failures[view]
            yield {"round": 0, "view": view, "status": status, "bytes_up": up, "bytes_down": down}

    def _rows(self, notes: RoundNotes) -> Iterator[dict[str, Any]]:
        ledger, there = self.strategy.setting.post.ledger, (*self.strategy.setting.pupils, *self.strategy.examined)
        for view in dict.fromkeys((*there, *ledger.views(notes.round))):
            up, down = ledger.of(notes.round, view)
            row: dict[str, Any] = {"round": notes.round, "view": view, "bytes_up": up, "bytes_down": down}
            row["status"] = notes.failures.get(view, "ok" if view in there else "not enrolled")
            row |= dict(notes.tallies[view].means()) if view in notes.tallies else {}
            row |= notes.clocks.get(view, {})
            row["accuracy"] = notes.marks[view].accuracy if view in notes.marks else None
            row["late"] = " ".join(map(str, notes.late.get(view, ())))
            yield row
        if notes.fused:
            yield {"round": notes.round, "view": FUSED, "status": "ok", "accuracy": notes.fused.accuracy}


def _figures(notes: RoundNotes) -> dict[str, Any]:
    """The accuracy entries of summary.json after an exam."""
    if not notes.marks:
        return {}
    accuracy = {view: mark.accuracy for view, mark in notes.marks.items()}
    known = [value for value in accuracy.values() if value is not None]
    return {
        "accuracy": accuracy,
        "accuracy_mean": sum(known) / len(known) if known else None,
        "accuracy_fused": notes.fused.accuracy if notes.fused else None,
        "accuracy_teacher": {view: mark.accuracy for view, mark in notes.teachers.items()},
    }


def _answers(marks: Mapping[str, Marks]) -> str:
    """Every answer of the last exam: view, event, true class, guessed class, confidence."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("view", "event", "truth", "guess", "confidence"))
    for view, mark in marks.items():
        confidence = mark.answers.probs.max(1).values
        columns = (mark.truth.ids, mark.truth.classes, mark.guess)
        for event, truth, guess, sure in zip(*(c.tolist() for c in columns), confidence.tolist(), strict=True):
            writer.writerow((view, event, truth, guess, f"{sure:.4f}"))
    return text.getvalue()


def _combined(digests: Mapping[str, str]) -> str:
    """sha256 over the views' weights' digests, in name order."""
    return hashlib.sha256("".join(f"{view}:{digests[view]}\n" for view in sorted(digests)).encode()).hexdigest()
