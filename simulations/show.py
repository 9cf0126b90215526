"""A result, or several beside one another, on one screen: ``fedkd show RESULT [RESULT ...]``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fedkd.record import FUSED
from fedkd.results import Result, by_view, heading, short_names
from fedkd.terms import TERMS
from fedkd.words import human_bytes, human_seconds, number, percent

_STATUS_COLOUR = {"finished": "green", "running": "yellow"}  # anything else is red
_DIGEST_LETTERS = 12
_VIEWS_ABREAST = 6  # so many columns of views fit into a terminal of 80 letters


def show(result: Result) -> RenderableType:
    """One run: what it was, a table of its views, what failed, what it cost."""
    return Group(_heading(result), _views(result), *_failures(result), _costs(result))


def compare(results: Sequence[Result]) -> RenderableType:
    """Several runs: a row each (a column each, where many views would not fit); the best of its kind is bold."""
    views = list(dict.fromkeys(view for result in results for view in result.views))
    columns: list[tuple[str, list[float], Callable[[float | None], str], Callable[..., float]]] = [
        *((view, [_figure(r.summary["accuracy"].get(view)) for r in results], percent, max) for view in views),
        ("mean", [_figure(r.summary["accuracy_mean"]) for r in results], percent, max),
        ("fused", [_figure(r.summary["accuracy_fused"]) for r in results], percent, max),
        ("bytes", [_figure(r.summary["bytes_up"] + r.summary["bytes_down"]) for r in results], human_bytes, min),
        ("time", [_figure(r.summary["wall_seconds"]) for r in results], human_seconds, min),
    ]
    columns_of_cells = []
    for _, values, words, better in columns:
        best = better((value for value in values if not math.isnan(value)), default=math.nan)
        columns_of_cells.append([Text(words(value), style="bold" if value == best else "") for value in values])
    runs = [_run_name(name, result) for name, result in zip(short_names(results), results, strict=True)]
    figures = [Text(name) for name, *_ in columns]
    if len(views) <= _VIEWS_ABREAST:
        table = _grid("run", figures, runs, list(zip(*columns_of_cells, strict=True)))
    else:
        table = _grid("", runs, figures, columns_of_cells)
    return Group(Rule(_common(results), align="left"), table)


def _grid(corner: str, across: Sequence[Text], down: Sequence[Text], rows: Sequence[Sequence[Text]]) -> Table:
    table = _table(corner, no_wrap=False)
    for name in across:
        table.add_column(name, justify="right")
    for name, cells in zip(down, rows, strict=True):
        table.add_row(name, *cells)
    return table


def _heading(result: Result) -> RenderableType:
    s = result.summary
    line = Text.assemble(
        (s["status"], _STATUS_COLOUR.get(s["status"], "red")),
        f"  {result.rounds_done} of {s['rounds']} rounds  place {s['place']}  {human_seconds(s['wall_seconds'])}",
    )
    if reason := s.get("reason"):
        line.append(f"\n{reason}", style="red")
    return Group(Rule(Text(heading(result), style="bold"), align="left"), line)


def _views(result: Result) -> Table:
    figures = by_view(result)
    terms = [term for term in TERMS if figures[term].notna().any()]
    taught_by = result.summary.get("accuracy_teacher", {})  # runs of before it was measured have no such entry
    table = _table("view")
    for name in ("accuracy", "lack", "up", "down", *terms, *(["its teacher"] if taught_by else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for view, row in figures.drop(FUSED).iterrows():
        traffic = (human_bytes(row["bytes_up"]), human_bytes(row["bytes_down"]))
        table.add_row(
            Text(str(view)),
            percent(row["accuracy"]),
            percent(row["lack"]),
            *traffic,
            *(number(row[term]) for term in terms),
            *([percent(taught_by.get(view))] if taught_by else []),
        )
    table.add_section()
    table.add_row("mean", percent(result.summary["accuracy_mean"]), percent(figures["lack"].mean()))
    table.add_row(Text("fused", "bold"), Text(percent(result.summary["accuracy_fused"]), "bold"))
    return table


def _failures(result: Result) -> list[Text]:
    """What several views say of a round is said once."""
    views: dict[tuple[int, str], list[str]] = {}
    for one in result.failures:
        views.setdefault((one["round"], one["reason"]), []).append(one["view"])
    return [
        Text(f"round {round}: {', '.join(who)} failed: {reason}", style="red") for (round, reason), who in views.items()
    ]


def _costs(result: Result) -> Text:
    s = result.summary
    digest = (s["digest"] or "-")[:_DIGEST_LETTERS]
    traffic = f"up {human_bytes(s['bytes_up'])}  down {human_bytes(s['bytes_down'])}"
    return Text(f"{traffic}  digest {digest}\n{result.folder}")


def _common(results: Sequence[Result]) -> Text:
    """What all the runs have in common; the rows' names say what they do not."""
    first = results[0].summary
    same = [
        key
        for key in ("dataset", "protocol", "split", "seed", "place")
        if all(r.summary.get(key) == first.get(key) for r in results)
    ]
    return Text(", ".join(f"{key} {first.get(key)}" for key in same), style="bold")


def _run_name(name: str, result: Result) -> Text:
    status = result.summary["status"]
    return (
        Text(name) if status == "finished" else Text.assemble(name, (f" ({status})", _STATUS_COLOUR.get(status, "red")))
    )


def _table(first: str, *, no_wrap: bool = True) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=no_wrap)
    return table


def _figure(value: float | None) -> float:
    return math.nan if value is None else float(value)
