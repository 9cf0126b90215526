"""One exchange: messages went to the hosts of some views, and this is what has come back so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from fedkd.wire import Letter
from strategies.ledger import EXAM


@dataclass(frozen=True)
class Exchange:
    """What the views of an exchange have said.

    letters   what they answered, in name order of the views.
    failures  why the others have not.
    lost      views whose host has not answered at all: it is late, or gone, and may come back. (A camera that answers
              with a failure is there.)
    held      those of them that were not written to, since their host is still at an earlier one.
    """

    letters: Mapping[str, Letter] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()

    @staticmethod
    def among(views: Collection[str]) -> Exchange:
        """One that begins: nobody was written to yet."""
        return Exchange(failures=dict.fromkeys(views, "no node serves it"), lost=frozenset(views))

    def written(self, views: Collection[str], held: Mapping[str, int]) -> Exchange:
        """Views were written to; of those `held`, the hosts are still at these rounds, or an exam."""
        why = {view: "still at an exam" if at == EXAM else f"still at round {at}" for view, at in held.items()}
        failures = {**self.failures, **why, **dict.fromkeys(views, "no answer in time")}
        return replace(self, failures=failures, held=self.held.union(held).difference(views))

    def heard(self, letters: Mapping[str, Letter], failures: Mapping[str, str], there: Collection[str]) -> Exchange:
        """Answers and failures came; the hosts of the views `there` have answered, with one or the other."""
        known = dict(sorted({**self.letters, **letters}.items()))
        why = {view: reason for view, reason in {**self.failures, **failures}.items() if view not in known}
        return replace(self, letters=known, failures=why, lost=self.lost.difference(there))
