"""Why views have not answered, and the sentences that are made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fedkd.wire import Record
from strategies.ledger import EXAM

Failures = dict[str, str]
"""view -> why it has not answered."""


LONGEST = 300
"""Letters of a reason: the record keeps all of them, and hosts say what they like."""


def brief(words: str) -> str:
    """A reason on one line, and no longer than one."""
    line = " ".join(words.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 4] + " ..."


def said_reason(record: Record) -> str:
    """The reason that a view gives in a record."""
    return brief(str(record.get("reason", "no reason")))


def add(failures: Failures, view: str, reason: str) -> None:
    """One more reason of a view, beside what it may have said already."""
    failures[view] = f"{failures[view]}; {reason}" if view in failures else reason


def late_reason(round: int, reason: str) -> str:
    """A reason that came late, with the exchange that it is about."""
    about = {EXAM: "an exam", 0: "what was asked before round 1"}.get(round, f"round {round}")
    return f"late, to {about}: {reason}"


def too_few(answered: int, asked: int, needed: int, when: str, failures: Mapping[str, str]) -> str:
    """The sentence that ends a run for want of answers."""
    why = reasons(failures) or "no node serves the others"
    return f"{answered} of {asked} views answered {when}, {needed} needed: {why}."


def reasons(failures: Mapping[str, str]) -> str:
    """Each reason once; where views give one that differs in their names only, in the words of the first of them."""
    alike: dict[str, list[str]] = {}
    for view, reason in sorted(failures.items()):
        alike.setdefault(re.sub(rf"\b{re.escape(view)}\b", "", reason), []).append(view)
    said = []
    for without_name, (first, *others) in alike.items():
        named = without_name != failures[first] and others
        said.append(failures[first].rstrip(".") + (f" (so do {', '.join(others)})" if named else ""))
    return "; ".join(sorted(said))
