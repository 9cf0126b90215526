"""Federated distillation among views: soft labels for the events nobody labelled, consensus back.

The order of worth (measured, see results/): event labels first, told once when the views enrol; then soft labels for
the events that nobody labelled. Liu, Liu, Tian. Cross-Modality Distillation for Multi-View Action Recognition. IJCCC
20(5), 2025 (reconstructed); the exchange follows FedMD (Li and Wang 2019, https://arxiv.org/abs/1910.03581) with the
views' own synchronised recordings in place of a public data set.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from flwr.app import ArrayRecord

from fedkd.types import SoftLabels
from fedkd.wire import Letter, pack_soft, unpack_soft
from strategies.views import Setting, ViewStrategy


class Distil(ViewStrategy):
    """Soft labels in, consensus out.

    leave_one_out  a view hears the others' consensus, without its own voice.
    first, every   the views speak after round `first` and again after every `every` rounds (None: once); what was said
                   last stays in force.
    """

    def __init__(self, setting: Setting, *, leave_one_out: bool, first: int, every: int | None) -> None:
        super().__init__(setting)
        self.leave_one_out, self.first, self.every = leave_one_out, first, every

    def speaks(self, server_round: int) -> bool:
        """Whether the views speak after this round; after the last one nobody would listen."""
        since = server_round - self.first
        again = since == 0 or (self.every is not None and since > 0 and since % self.every == 0)
        return again and server_round < self.setting.rounds

    def tell(self, view: str, server_round: int, arrays: ArrayRecord) -> Letter:
        """The consensus, in the round after the views spoke, on the events that `view` asked about."""
        if not self.speaks(server_round - 1):
            return {}
        tables = unpack_tables(arrays)
        if view not in tables:
            return {}
        spoken = [table for name, table in tables.items() if not (self.leave_one_out and name == view)]
        heard = [table for table in spoken if bool((table.weight > 0).any())]
        if not heard:
            return {}
        pooled = self.setting.rule(heard)
        return {"soft": pack_soft(pooled.rows(torch.isin(pooled.ids, tables[view].ids)))}

    def wish(self, server_round: int) -> dict[str, bool]:
        """Soft labels, in the rounds after which the views speak."""
        return {"wants_soft": self.speaks(server_round)}

    def hear(self, server_round: int, answers: Mapping[str, Letter], arrays: ArrayRecord) -> ArrayRecord:
        """Every view's latest table; a view that fell silent is no longer heard."""
        if not self.speaks(server_round):
            return arrays
        tables = {view: letter["soft"] for view, letter in answers.items() if "soft" in letter}
        return ArrayRecord({f"{view}/{name}": array for view, table in tables.items() for name, array in table.items()})  # type: ignore[misc]


def unpack_tables(arrays: ArrayRecord) -> dict[str, SoftLabels]:
    """The views' tables in what travels from round to round, in name order."""
    found: dict[str, ArrayRecord] = {}
    for key in sorted(arrays):
        view, _, name = key.rpartition("/")
        found.setdefault(view, ArrayRecord())[name] = arrays[key]
    return {view: unpack_soft(table) for view, table in found.items()}
