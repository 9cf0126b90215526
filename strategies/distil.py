"""Federated distillation among views: soft labels for the events nobody labelled, consensus back.

The order of worth (measured, see results/): event labels first, told once when the views enrol; then soft labels for
the events that nobody labelled. Liu, Liu, Tian. Cross-Modality Distillation for Multi-View Action Recognition. IJCCC
20(5), 2025 (RECONSTRUCTED); the exchange follows FedMD (Li and Wang 2019, https://arxiv.org/abs/1910.03581) with the
views' own synchronised recordings in place of a public data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from flwr.app import ArrayRecord

from fedkd.types import SoftLabels
from fedkd.wire import Letter, pack_soft
from strategies.answers import Answer
from strategies.views import Setting, ViewStrategy


class Distil(ViewStrategy):
    """Soft labels in, consensus out.

    leave_one_out  a view hears the others' consensus, without its own voice.
    first, every   the views speak after round `first` and again after every `every` rounds (None: once); a view
                   goes by the last consensus it heard.
    """

    def __init__(self, setting: Setting, *, leave_one_out: bool, first: int, every: int | None) -> None:
        super().__init__(setting)
        self.leave_one_out, self.first, self.every = leave_one_out, first, every
        self._letters: dict[str, Letter] = {}  # what is told until its view has answered
        self._replied: dict[str, Letter] = {}  # what each was told last
        self._tables: dict[str, SoftLabels] = {}  # what each said when the views last spoke

    def speaks(self, server_round: int) -> bool:
        """Whether the views speak after this round; after the last one nobody would listen."""
        since = server_round - self.first
        again = since == 0 or (self.every is not None and since > 0 and since % self.every == 0)
        return again and server_round < self.setting.rounds

    def tell(self, view: str, server_round: int, arrays: ArrayRecord) -> Letter:
        """The consensus, until the view has answered."""
        return self._letters.get(view, {})

    def to_tell(self) -> dict[str, ArrayRecord]:
        """The consensus of those that have not answered since."""
        return {view: letter["soft"] for view, letter in self._letters.items()}  # type: ignore[misc]

    def told_before(self, to_tell: Mapping[str, ArrayRecord]) -> None:
        """Go on with the consensus that another had yet to tell."""
        self._letters = {view: {"soft": table} for view, table in to_tell.items()}

    def wish(self, server_round: int) -> dict[str, bool]:
        """Soft labels, in the rounds after which the views speak."""
        return {"wants_soft": self.speaks(server_round)}

    def hear(self, server_round: int, answers: Mapping[str, Answer], arrays: ArrayRecord) -> ArrayRecord:
        """Pool what the views said; their tables are the checkpoint. A view that fell silent is no longer heard.

        What a view says late is pooled with what the others said before, at less weight, and told to all again.
        """
        heard = {view for view, answer in answers.items() if not answer.held}
        self._letters = {view: letter for view, letter in self._letters.items() if view not in heard}
        forgot = [view for view, answer in answers.items() if answer.fresh and view in self._replied]
        self._letters |= {view: self._replied[view] for view in forgot}
        spoken = {view: answer for view, answer in answers.items() if answer.soft is not None and answer.table}
        if not spoken:
            return arrays
        if any(not answer.late for answer in spoken.values()):
            self._tables, arrays = {}, ArrayRecord()
        for view, answer in spoken.items():
            assert answer.soft is not None
            self._tables[view] = replace(answer.soft, weight=answer.soft.weight * self.weight_of(answer))
        self._letters = self._replied = self._replies(dict(sorted(self._tables.items())))
        tables = {f"{view}/{name}": a for view, answer in spoken.items() for name, a in (answer.table or {}).items()}
        return ArrayRecord({**arrays, **tables})

    def _replies(self, tables: Mapping[str, SoftLabels]) -> dict[str, Letter]:
        """For each view the consensus on the events that it asked about."""
        everybody = None if self.leave_one_out else self._pool(tables.values())
        replies: dict[str, Letter] = {}
        for view, asked in tables.items():
            others = (table for name, table in tables.items() if name != view)
            pooled = self._pool(others) if self.leave_one_out else everybody
            if pooled is not None:
                replies[view] = {"soft": pack_soft(pooled.rows(torch.isin(pooled.ids, asked.ids)))}
        return replies

    def _pool(self, tables: Iterable[SoftLabels]) -> SoftLabels | None:
        """The rule over the tables of those who do not abstain; None when all do."""
        heard = [table for table in tables if bool((table.weight > 0).any())]
        return self.setting.rule(heard) if heard else None
