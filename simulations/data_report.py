"""A data set's report as one screen: `fedkd data check NAME`.

rich.print(render(NwUcla(data_dir="../shared/data").check()))
"""

from __future__ import annotations

from collections import Counter

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fedkd.data.check import DataReport

MOST_ROWS = 30
"""Of a table, before the rest is summed up."""


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
        *_beside(report),
        *_listed("missing", "yellow", report.missing(), show=1 + len(report.views) + len(report.beside)),
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


def _beside(report: DataReport) -> list[RenderableType]:
    """A line on what lies beside the clips: pictures."""
    found = [f"{modality} {there or 'none'} of {should}" for modality, (there, should) in report.beside.items()]
    return [Text("beside them: " + ", ".join(found))] if found else []


def _listed(title: str, style: str, lines: list[str], show: int) -> list[RenderableType]:
    """A counted list, cut after `show` lines; "none" where it is empty."""
    if not lines:
        return [Text.assemble((f"{title}: ", style), "none")]
    shown = [Text(f"  {line}") for line in lines[:show]]
    if len(lines) > show:
        shown.append(Text(f"  ... and {len(lines) - show} more"))
    return [Text.assemble((f"{title}: ", style), str(len(lines))), *shown]
