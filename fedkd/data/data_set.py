"""What a data set is to the parties: what every file that `data=` names has, and what some have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from fedkd.data.check import Broken, DataReport
from fedkd.data.store import Progress
from fedkd.types import Clips, View


@runtime_checkable
class DataSet(Protocol):
    """Recordings of events by several views, split in one way. Made without reading more than it must."""

    @property
    def name(self) -> str:
        """As `data=` and folders have it."""

    @property
    def protocol(self) -> str:
        """By which the recordings are split."""

    @property
    def classes(self) -> Sequence[str]:
        """Their names: K."""

    def view_names(self) -> Sequence[str]:
        """The clients, in name order."""

    def view(self, name: str, seed: int) -> View:
        """One view's recordings, with the labels it has; `seed`, the run's, draws those where it has a share.

        Raises UserError for a view that there is not, and for recordings that are missing or broken.
        """

    def lab(self) -> Clips | None:
        """The server's own labelled recordings of other people, for a teacher; None where there are none."""

    def subjects(self) -> Mapping[int, int]:
        """event id -> subject, for whoever studies results; nobody in a federation knows it."""


@runtime_checkable
class Checked(Protocol):
    """A data set of files: `fedkd data check`."""

    def check(self) -> DataReport:
        """What is in its folder, whatever the protocol."""


@runtime_checkable
class Prepared(Protocol):
    """A data set with files that are slow to read: `fedkd data prepare`."""

    def prepare(self, progress: Progress) -> list[Broken]:
        """Make the clips that are not there yet; the recordings that hold none."""


@runtime_checkable
class Pictured(Protocol):
    """A data set that can be looked at: `fedkd data show`."""

    def contact_sheet(self, path: Path) -> None:
        """Write a picture of it."""
