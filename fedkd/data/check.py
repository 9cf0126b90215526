"""What of a data set is there, missing, repeated or broken, on one screen.

    report = NwUcla(data_dir="../shared/data").check()
    rich.print(render(report))
    sys.exit(report.exit_code)

A data set fills a `DataReport`; everything that can be counted from its clips is counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

MOST_ROWS = 30
"""Of a table, before the rest is summed up."""


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
    pictures   recordings that cannot be used and lie beside clips which are counted without them.
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
    pictures: Sequence[Broken] = ()
    lists: Sequence[Broken] = ()
    notes: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """0: all that is there can be used, whatever is missing. 1: something is broken."""
        return 1 if self.broken or self.pictures or self.lists else 0

    def missing(self) -> list[str]:
        """What should be there and is not, one line each."""
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
        return lines

    def events_of_all_views(self) -> int:
        """Events that every view filmed."""
        return sum(num == len(self.views) for num in Counter(c.event for c in self.clips).values())


def render(report: DataReport) -> RenderableType:
    """The report as one screen of 80 columns; prints nothing."""
    num_events = len({clip.event for clip in report.clips})
    head = f"[bold]{escape(report.dataset)}[/]  {escape(report.source)}"
    total = (
        f"{len(report.clips)} clips of {num_events} events; {report.events_of_all_views()} events "
        f"filmed by all {len(report.views)} views"
    )
    tables = [
        _counts("class", report.views, [(clip.label, clip.view) for clip in report.clips]),
        _counts("subject", report.views, sorted((clip.subject, clip.view) for clip in report.clips)),
    ]
    copies = [f"{copy} repeats {original}" for copy, original in (report.copies or {}).items()]
    broken = [f"{broken.name}: {broken.reason}" for broken in (*report.lists, *report.broken, *report.pictures)]
    return Group(
        Text.from_markup(head),
        Text(total),
        Columns(tables, padding=(0, 3)),
        *_listed("missing", "yellow", report.missing(), show=len(report.views) + 1),
        *_listed("repeated", "yellow", copies, show=2),
        *_listed("broken", "red", broken, show=10),
        *_listed("notes", "cyan", list(report.notes), show=6),
        Text("Something is broken." if report.exit_code else "All that is there can be read.", style="bold"),
    )


def _counts(title: str, views: tuple[str, ...], pairs: list[tuple[str, str]]) -> Table:
    """Clips for each row and view, with a last line of sums."""
    counts = Counter(pairs)
    table = Table(title, box=None, pad_edge=False, show_footer=True)
    table.columns[0].footer = "all"
    for view in views:
        table.add_column(view, justify="right", footer=str(sum(v == view for _, v in pairs)))
    rows = list(dict.fromkeys(row for row, _ in pairs))
    for row in rows[:MOST_ROWS]:
        table.add_row(escape(row), *(str(counts[row, view] or "-") for view in views))
    if rest := rows[MOST_ROWS:]:
        table.add_row(f"... {len(rest)} more", *(str(sum(counts[row, view] for row in rest)) for view in views))
    return table


def _listed(title: str, style: str, lines: list[str], show: int) -> list[RenderableType]:
    """A counted list, cut after `show` lines; "none" where it is empty."""
    if not lines:
        return [Text.assemble((f"{title}: ", style), "none")]
    shown = [Text(f"  {line}") for line in lines[:show]]
    if len(lines) > show:
        shown.append(Text(f"  ... and {len(lines) - show} more"))
    return [Text.assemble((f"{title}: ", style), str(len(lines))), *shown]
