"""What a check says: one line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    ok  None: it cannot be told from here.
    """

    what: str
    ok: bool | None
    says: str

    def __str__(self) -> str:
        verdict = {True: "ok", False: "WRONG", None: "?"}[self.ok]
        return f"{verdict:<6}{self.what:<12} {self.says}"
