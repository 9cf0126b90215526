"""What of a data set is there, missing, repeated or broken.

    report = NwUcla(data_dir="../shared/data").check()
    report.missing(), report.exit_code

A data set fills a `DataReport`; everything that can be counted from its clips is counted here, and shown by
`fedkd data check`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that is there and cannot be used."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClipFact:
    """What is counted of one readable clip."""

    view: str
    event: str
    label: str
    subject: str


@dataclass(frozen=True, slots=True)
class DataReport:
    """A data set as it was found.

    views      every view there should be.
    clips      the readable ones; classes are shown in the order in which they first appear here.
    expected   the number of clips there should be, None where nobody published it.
    copies     {clip: the clip it repeats}.
    broken     clips that cannot be used.
    beside     {modality: recordings that lie beside the clips, which are counted without them; how many should}.
    pictures   those of them that cannot be used.
    lists      what is wrong with files that tell which clip is for what.
    notes      other faults a reader should know of, one line each.
    """

    dataset: str
    source: str
    views: tuple[str, ...]
    clips: Sequence[ClipFact]
    expected: int | None = None
    copies: Mapping[str, str] | None = None
    broken: Sequence[Broken] = ()
    beside: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    pictures: Sequence[Broken] = ()
    lists: Sequence[Broken] = ()
    notes: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """0: all that is there can be used, whatever is missing. 1: something is broken."""
        return 1 if self.broken or self.pictures or self.lists else 0

    def missing(self) -> list[str]:
        """What should be there and is not, one line each; a modality of which nothing is there was not asked for."""
        filmed = {view: {clip.event for clip in self.clips if clip.view == view} for view in self.views}
        events = set().union(*filmed.values())
        lines = []
        if self.expected is not None and len(self.clips) + len(self.broken) < self.expected:
            lines.append(f"{self.expected - len(self.clips) - len(self.broken)} of {self.expected} published clips")
        for view in self.views:
            if not filmed[view]:
                lines.append(f"view {view}, all of it")
            elif lacking := len(events - filmed[view]):
                lines.append(f"in {view}: {lacking} of {len(events)} events that another view filmed")
        for modality, (there, should) in self.beside.items():
            if 0 < there < should:
                lines.append(f"{should - there} of {should} {modality} recordings")
        return lines

    def events_of_all_views(self) -> int:
        """Events that every view filmed."""
        return sum(num == len(self.views) for num in Counter(c.event for c in self.clips).values())
