"""What the server needs to go on where a run was killed: how it began, and how it stood after the last whole round.

    checkpoint/beginning.safetensors       once, before round 1: who enrolled, the event labels told, the teacher
    checkpoint/server.safetensors          after every round: who takes part by now, what the exchange told and has yet
                                           to tell, the bytes so far
    checkpoint/server.before.safetensors   the one before it, should a power cut tear the last

A round whose end is not here is made again; the cameras go back to where they stood before it (`clients.memory`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord
from torch import Tensor

from fedkd.errors import UserError, remark
from fedkd.sealed import seal, unseal
from fedkd.types import EventLabels
from fedkd.wire import Letter, Record, pack_weights, unpack_arrays
from strategies.enrol import Enrolment
from strategies.ledger import Books


@dataclass(frozen=True)
class Beginning:
    """What is settled before round 1: who takes part and knows what, and the letter that brings the teacher, if any.

    books  the ledger's, so far.
    """

    enrolment: Enrolment
    teacher: Letter
    books: Books = field(default_factory=dict)

    def letters(self) -> dict[str, Letter]:
        """What each pupil is told before its first round."""
        return {view: {**letter, **self.teacher} for view, letter in self.enrolment.letters().items()}


@dataclass(frozen=True)
class Standing:
    """The server after a round.

    arrays     what the round left for the next one (Flower's `arrays`).
    enrolment  who takes part by now, those that came late too.
    greeted    views that have answered a first letter.
    told       what the exchange tells each view, once,
    owed       and the views that have not answered it yet.
    learned    the rounds that each view has made.
    books      the ledger's, so far.
    """

    round: int
    arrays: ArrayRecord
    enrolment: Enrolment
    greeted: frozenset[str]
    told: Mapping[str, Record] = field(default_factory=dict)
    owed: frozenset[str] = frozenset()
    learned: Mapping[str, Sequence[int]] = field(default_factory=dict)
    books: Books = field(default_factory=dict)


def keep_beginning(folder: Path, beginning: Beginning) -> None:
    """Write how the run began."""
    tensors = _events(beginning.enrolment) | _flat("teacher:", beginning.teacher)
    facts = {**_facts(beginning.enrolment), "ledger": beginning.books}
    seal(folder / "beginning.safetensors", tensors, {"facts": json.dumps(facts)})


def beginning(folder: Path) -> Beginning | None:
    """How the run began; None where it had not begun."""
    if not (folder / "beginning.safetensors").exists():
        return None
    try:
        tensors, words = unseal(folder / "beginning.safetensors")
    except UserError as error:
        raise UserError(f"{error} Nothing else holds how the run began: start it anew.") from error
    facts = json.loads(words["facts"])
    teacher = {kind: pack_weights(weights) for kind, weights in _grouped("teacher:", tensors).items()}
    return Beginning(_enrolment(tensors, facts), dict(teacher), facts["ledger"])


def keep(folder: Path, standing: Standing) -> None:
    """Write how the server stands; what was written before stays beside it."""
    tensors = {f"arrays:{name}": value for name, value in unpack_arrays(standing.arrays).items()}
    tensors |= _events(standing.enrolment) | _flat("told:", standing.told)
    facts = {**_facts(standing.enrolment), "ledger": standing.books, "round": standing.round}
    facts |= {"greeted": sorted(standing.greeted), "owed": sorted(standing.owed), "made": standing.learned}
    with suppress(FileNotFoundError):
        os.replace(folder / "server.safetensors", folder / "server.before.safetensors")
    seal(folder / "server.safetensors", tensors, {"facts": json.dumps(facts)})


def last(folder: Path, rounds: int) -> Standing | None:
    """How the server last stood with some of its `rounds` to go; None before round 1's end."""
    torn, before = list[Path](), folder / "server.before.safetensors"
    for path in (folder / "server.safetensors", before):
        if path.exists():
            try:
                tensors, words = unseal(path)
            except UserError as error:
                remark(f"{error} The run goes back to the round before.")
                torn.append(path)
                continue
            facts: dict[str, Any] = json.loads(words["facts"])
            if facts["round"] >= rounds:
                path.unlink()  # killed while it wrote the last answers: these come with the last round
                continue
            for damaged in torn:
                damaged.unlink()  # or the next `keep` would put it over the whole one
            told = {view: pack_weights(table) for view, table in _grouped("told:", tensors).items()}
            arrays, enrolment = pack_weights(arrays_in(tensors)), _enrolment(tensors, facts)
            greeted, owed = frozenset(facts["greeted"]), frozenset(facts["owed"])
            learned = facts.get("made", {})  # an older fedkd did not write it
            return Standing(facts["round"], arrays, enrolment, greeted, told, owed, learned, facts["ledger"])
    if before in torn:
        raise UserError(f"the server's checkpoints in {folder} are torn, none is whole; start the run anew.")
    return None


def arrays_in(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Flower's `arrays` among the tensors of a server's checkpoint: averaged weights, or the views' tables."""
    return {name.removeprefix("arrays:"): value for name, value in tensors.items() if name.startswith("arrays:")}


def tidy(folder: Path) -> None:
    """Drop what only a killed run needs; the last `server.safetensors` stays."""
    for name in ("beginning.safetensors", "server.before.safetensors"):
        (folder / name).unlink(missing_ok=True)


def _events(enrolment: Enrolment) -> dict[str, Tensor]:
    tables = {view: {"ids": events.ids, "classes": events.classes} for view, events in enrolment.events.items()}
    return {f"events:{view}/{name}": value for view, table in tables.items() for name, value in table.items()}


def _facts(enrolment: Enrolment) -> dict[str, Any]:
    said = {"num_clips": enrolment.num_clips, "failures": enrolment.failures}
    return {**said, "lost": list(enrolment.lost), "tell": enrolment.tell}


def _enrolment(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Enrolment:
    told = _grouped("events:", tensors)
    events = {view: EventLabels(table["ids"], table["classes"]) for view, table in told.items()}
    return Enrolment(facts["num_clips"], events, facts["failures"], facts["lost"], facts["tell"])


def _flat(prefix: str, records: Mapping[str, Any]) -> dict[str, Tensor]:
    tensors = {key: unpack_arrays(record) for key, record in records.items()}
    return {f"{prefix}{key}/{name}": value for key, table in tensors.items() for name, value in table.items()}


def _grouped(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            key, _, rest = name.removeprefix(prefix).rpartition("/")
            groups.setdefault(key, {})[rest] = value
    return groups
