"""Bytes that crossed the wire, by round and view: counted where they are packed and where they arrive.

They are those of records' values and names, as Flower counts them; its envelope is not among them, nor the header of
the file that arrays travel in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flwr.app import ConfigRecord

from fedkd.wire import Letter

EXAM = -1
"""The round under which the bytes of exams are kept: they measure a run and are no part of its method."""


Books = Mapping[str, Sequence[Sequence[Any]]]
"""{"up" | "down": [[round, view, bytes], ...]}, as JSON holds it."""


class Ledger:
    """Both directions of every exchange. Round 0 is what happens before the first: enrolment, a federated teacher.

    An answer that comes late counts in the round in which it comes.
    """

    def __init__(self) -> None:
        self._up: Counter[tuple[int, str]] = Counter()
        self._down: Counter[tuple[int, str]] = Counter()

    def sent(self, round: int, letters: Mapping[str, Letter], about: ConfigRecord) -> None:
        """A message went to the host of these views; what concerns all of it counts for the first of them."""
        self._down.update({(round, view): _size(letter) for view, letter in letters.items() if letter})
        self._down[round, next(iter(letters))] += about.count_bytes()

    def received(self, round: int, views: Sequence[str], letters: Mapping[str, Letter]) -> None:
        """An answer of the host of `views` came in; letters of no view of its count for the first of them."""
        sizes = [(view if view in views else views[0], _size(letter)) for view, letter in letters.items()]
        for view, size in sizes:
            self._up[round, view] += size

    def books(self) -> Books:
        """All that was counted so far."""
        sides = {"up": self._up, "down": self._down}
        return {name: [[round, view, n] for (round, view), n in side.items()] for name, side in sides.items()}

    def open(self, books: Books) -> None:
        """Count on from such books, whatever was counted here before."""
        sides = [{(round, view): n for round, view, n in books[name]} for name in ("up", "down")]
        self._up, self._down = Counter(sides[0]), Counter(sides[1])

    def of(self, round: int, view: str) -> tuple[int, int]:
        """(up, down) bytes of a view in a round."""
        return self._up[round, view], self._down[round, view]

    def views(self, round: int) -> list[str]:
        """The views of which anything was counted in a round, in name order."""
        return sorted({view for at, view in (*self._up, *self._down) if at == round})

    def totals(self) -> tuple[int, int]:
        """(up, down) bytes of the whole run, exams left out."""
        up, down = (sum(n for (round, _), n in side.items() if round != EXAM) for side in (self._up, self._down))
        return up, down

    def exams(self) -> int:
        """Bytes of all exams, both directions."""
        return sum(n for side in (self._up, self._down) for (round, _), n in side.items() if round == EXAM)


def _size(letter: Letter) -> int:
    return sum(record.count_bytes() for record in letter.values())
