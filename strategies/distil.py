"""Federated distillation among views: soft labels for the events nobody labelled, consensus back.

The order of worth (measured, see results/): event labels first, told once when the views enrol; then soft labels for
the events that nobody labelled. Liu, Liu, Tian. Cross-Modality Distillation for Multi-View Action Recognition. IJCCC
20(5), 2025 (RECONSTRUCTED); the exchange follows FedMD (Li and Wang 2019, https://arxiv.org/abs/1910.03581) with the
views' own synchronised recordings in place of a public data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from flwr.app import Array, ArrayRecord

from fedkd.errors import remark
from fedkd.types import SoftLabels
from fedkd.wire import Kind, Letter, pack_soft, pack_weights, unpack_arrays, unpack_soft
from strategies.answers import Answer
from strategies.checkpoint import Standing
from strategies.pace import TRAIN
from strategies.views import Setting, ViewStrategy


class Distil(ViewStrategy):
    """Soft labels in, consensus out.

    first, every  the views speak after round `first` and again after every `every` rounds (None: once); a view goes
                  by the last consensus it heard. One that could not answer then speaks when it can.
    """

    def __init__(self, setting: Setting, *, first: int, every: int | None) -> None:
        super().__init__(setting)
        self.first, self.every = first, every
        self._letters: dict[str, Letter] = {}  # the consensus for each view that spoke
        self._owed: set[str] = set()  # views that are told theirs until they have answered
        self._tables: dict[str, SoftLabels] = {}  # what each said when the views last spoke, or since

    def speaks(self, server_round: int) -> bool:
        """Whether the views speak after this round; after the last one nobody would listen."""
        since = server_round - self.first
        again = since == 0 or (self.every is not None and since > 0 and since % self.every == 0)
        return again and server_round < self.setting.rounds

    def tell(self, view: str, server_round: int, arrays: ArrayRecord) -> Letter:
        """The consensus, until the view has answered."""
        return self._letters[view] if view in self._owed else {}

    def forgot(self, view: str) -> None:
        """It is told the consensus again, if there is one for it."""
        super().forgot(view)
        self._owed |= {view} & self._letters.keys()

    def standing(self, server_round: int, arrays: ArrayRecord) -> Standing:
        """The consensus too, also of those that were told: their cameras may yet lose it."""
        told = {view: letter[Kind.SOFT] for view, letter in self._letters.items()}
        return replace(super().standing(server_round, arrays), told=told, owed=frozenset(self._owed))

    def go_on(self, standing: Standing) -> None:
        """With the consensus that another told, or had yet to tell."""
        super().go_on(standing)
        self._letters = {view: {Kind.SOFT: table} for view, table in standing.told.items()}
        self._owed = set(standing.owed)
        self._tables = _tables(standing.arrays)

    def wish(self, view: str, server_round: int) -> dict[str, bool]:
        """Soft labels, in the rounds after which the views speak; and later, where what a view said then was lost."""
        return {"wants_soft": self.speaks(server_round) or self._missed(view, server_round)}

    def _missed(self, view: str, server_round: int) -> bool:
        """Whether a view has not spoken since the views did, nor is it about to, while somebody would listen."""
        if not self.first < server_round < self.setting.rounds or view in self._tables:
            return False
        return not self.setting.post.answers_due(view, TRAIN, server_round, "wants_soft")

    def hear(self, server_round: int, answers: Mapping[str, Answer], arrays: ArrayRecord) -> ArrayRecord:
        """Pool what the views said; their tables are the checkpoint. A view that fell silent is no longer heard.

        What a view says late, at less weight, or in a later round is pooled with what the others said before, and all
        are told again.
        """
        self._owed -= {view for view, answer in answers.items() if not answer.unaware}
        spoken = {view: answer for view, answer in answers.items() if answer.soft is not None and answer.table}
        if not spoken:
            return arrays
        if self.speaks(server_round) and any(not answer.late for answer in spoken.values()):
            self._tables, arrays = {}, ArrayRecord()
        for view, answer in spoken.items():
            assert answer.soft is not None
            self._tables[view] = _weighed(answer.soft, self.weight_of(answer))
        if not any(map(len, self._tables.values())):
            remark("no view lacks the label of a shared event, so none asks, and no soft label travels.")
        self._letters = self._replies(dict(sorted(self._tables.items())))
        self._owed = set(self._letters)
        self._since |= dict.fromkeys(self._letters, server_round + 1)
        tables = {f"{view}/{name}": a for view, answer in spoken.items() for name, a in self._columns(answer).items()}
        return ArrayRecord({**{name: a for name, a in arrays.items() if _view(name) not in spoken}, **tables})

    def _columns(self, answer: Answer) -> dict[str, Array]:
        """What a view said, as it travelled, and how much it counts where it came late."""
        share = {"share": torch.tensor(self.weight_of(answer))} if answer.late else {}
        return {**(answer.table or {}), **pack_weights(share)}

    def _replies(self, tables: Mapping[str, SoftLabels]) -> dict[str, Letter]:
        """For each view the consensus on the events that it asked about."""
        heard = [table for table in tables.values() if bool((table.weight > 0).any())]
        if not heard:  # all abstain
            return {}
        pooled = self.setting.rule(heard)
        return {
            view: {Kind.SOFT: pack_soft(pooled.rows(torch.isin(pooled.ids, asked.ids)))}
            for view, asked in tables.items()
        }


def _view(name: str) -> str:
    """Whose a column of the checkpoint is."""
    return name.rpartition("/")[0]


def _weighed(said: SoftLabels, share: float) -> SoftLabels:
    return replace(said, weight=said.weight * share)


def _tables(arrays: ArrayRecord) -> dict[str, SoftLabels]:
    """What the views said, from the checkpoint."""
    said = unpack_arrays(arrays)
    tables = dict[str, SoftLabels]()
    for view in sorted(set(map(_view, arrays))):
        table = ArrayRecord({column: arrays[f"{view}/{column}"] for column in ("ids", "probs", "weight")})
        tables[view] = _weighed(unpack_soft(table), float(said.get(f"{view}/share", 1.0)))
    return tables
