"""Pictures of results, for people: accuracy by round, accuracy by bytes, who is taken for what.

    draw(result, baselines)        # plots/accuracy.png, plots/bytes.png, plots/confusion.png in the result's folder

Colour means a view: the same view has the same colour in every picture, the views fused are black. The hues are Okabe
and Ito's, which people with any colour vision tell apart (Color Universal Design, 2008, https://jfly.uni-koeln.de/color/).
In a picture without views, a colour, dash and marker together mean a method. Everything is labelled where it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter
from scipy.optimize import isotonic_regression

from fedkd.record import FUSED
from fedkd.results import MEAN, Result, heading, label_share, short_names
from fedkd.words import human_bytes, percent

VIEW_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8860B")
"""Okabe and Ito's hues; their yellow, which white paper swallows, is darker here."""

METHOD_LOOKS: tuple[tuple[str, Any, str], ...] = (
    ("#000000", "-", "o"), ("#666666", "--", "s"), ("#882255", "-.", "^"), ("#44AA99", ":", "D"),
    ("#332288", (0, (5, 1, 1, 1, 1, 1)), "v"), ("#999933", (0, (8, 2)), "P"),
)  # fmt: skip
"""(colour, dash, marker); colours after Tol's muted scheme (https://personal.sron.nl/~pault/)."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "lines.linewidth": 2.0,
    "lines.markersize": 5,
    "lines.solid_capstyle": "round",
}
_MARKERS = "os^"  # the second six views, and the third, share the colours of the first
_READABLE_CLASSES = 20  # up to so many, a cell holds its number
_MARKED_ROUNDS = 20  # up to so many, a line marks each of them
_LABEL_LETTERS = 28
_PICTURED_VIEWS = 12  # a picture of more than so many shows some of them
_LINE_HEIGHT = 0.065  # of a panel: two direct labels closer than this are moved apart


def draw(result: Result, baselines: Sequence[Result] = ()) -> list[Path]:
    """Write every picture that the result has the numbers for, beside baselines, each of the same exam."""
    figures: dict[str, Figure] = {}
    if len(result.history(MEAN)):
        figures["accuracy"] = accuracy_figure(result, baselines)
        figures["bytes"] = bytes_figure([result, *baselines])
    if result.confusion:
        figures["confusion"] = confusion_figure(result)
    return [_save(figure, result.folder / "plots" / f"{name}.png") for name, figure in figures.items()]


def accuracy_figure(result: Result, baselines: Sequence[Result] = ()) -> Figure:
    """Accuracy by round: one panel with a line a view; beside baselines one panel a view, with a line a method."""
    examinees, colours = _examinees(result), view_colours(result.views)
    if baselines and len(examinees) % _columns(len(examinees)):
        examinees.append(MEAN)  # where a panel would stay empty
    panels: dict[str, Lines] = {}
    if not baselines:
        panels[f"Accuracy of each view, by round{_of_how_many(result)}"] = {
            _named(view): (
                result.history(view),
                {"color": colours[view], "marker": _MARKERS[i // len(VIEW_COLOURS) % 3]},
            )
            for i, view in enumerate(examinees)
        }
    runs = [result, *baselines]
    for view in examinees if baselines else ():
        panels[_named(view)] = {
            name: (run.history(view), _loud(colours[view]) if run is result else _quiet(number))
            for number, (name, run) in enumerate(zip(short_names(runs), runs, strict=True))
        }
    with rc_context(_STYLE):
        columns = _columns(len(panels))
        width, height = (3.0, 3.2) if baselines else (6.2, 4.2)
        figure, grid = _panels(len(panels), columns, width + _label_inches(panels.values()), height)
        limits = _limits(panels.values())
        for number, (axes, (title, lines)) in enumerate(zip(grid, panels.items(), strict=True)):
            axes.set_ylim(limits)
            _plot(axes, lines)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set_xlabel("round")
            axes.set_ylabel("accuracy" if number % columns == 0 else "")
            axes.set_title(title, color=colours.get(examinees[number], "black") if baselines else "black")
        figure.suptitle(_title(result), fontsize=12)
    return figure


def bytes_figure(results: Sequence[Result]) -> Figure:
    """Accuracy after so many bytes: one panel for the mean over the views, one for the views fused."""
    panels: dict[str, Lines] = {}
    for examinee, title in ((MEAN, "Mean of the views"), (FUSED, "Views fused")):
        lines: dict[str, tuple[pd.Series[float], dict[str, Any]]] = {}
        looks = cycle(METHOD_LOOKS)
        for name, result, (colour, dash, marker) in zip(short_names(results), results, looks, strict=False):
            history = result.history(examinee)
            sent = result.bytes_so_far().reindex(history.index).clip(lower=1)  # a logarithm has no zero
            look = {"color": colour, "linestyle": dash, "marker": marker}
            lines[name] = (pd.Series(history.to_numpy(), sent.to_numpy()), look)
        panels[title] = lines
    with rc_context(_STYLE):
        figure, grid = _panels(2, 2, 4.4 + _label_inches(panels.values()), 4.2)
        limits = _limits(panels.values())
        for axes, (title, drawn) in zip(grid, panels.items(), strict=True):
            axes.set_xscale("log")
            axes.set_ylim(limits)
            _plot(axes, drawn)
            _decades(axes, [x for line, _ in drawn.values() for x in line.index])
            axes.set_title(title)
            axes.set_xlabel("bytes sent and received so far, all views")
        grid[0].set_ylabel("accuracy")
        figure.suptitle(f"Accuracy by bytes: {_title(results[0]).partition(' on ')[2]}", fontsize=12)
    return figure


def confusion_figure(result: Result) -> Figure:
    """Who is taken for what: one panel a view, and one for the views fused; a row of the panel sums to 100 %."""
    examinees = [view for view in _examinees(result) if view in result.confusion]
    size = len(next(iter(result.confusion.values())))
    names = result.summary.get("classes") or [str(k) for k in range(size)]
    columns = _columns(len(examinees))
    side = float(np.clip(0.36 * size, 2.8, 9.0))  # inches
    with rc_context(_STYLE | {"axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}):
        figure, panels = _panels(len(examinees), columns, side, side, share=True)
        colours = view_colours(result.views)
        for number, (axes, view) in enumerate(zip(panels, examinees, strict=True)):
            picture = _confusion(axes, result.confusion[view])
            right, clips = int(np.trace(result.confusion[view])), int(result.confusion[view].sum())
            accuracy = percent(right / clips if clips else None)
            axes.set_title(f"{_named(view)}: {right} of {clips} right, {accuracy}", color=colours[view])
            axes.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(size), names)
            below_is_free = number + columns >= len(examinees)
            axes.tick_params(labelsize=9 if size <= _READABLE_CLASSES else 6, length=0, labelbottom=below_is_free)
            if below_is_free:
                axes.set_xlabel("taken for")
            if number % columns == 0:
                axes.set_ylabel("true class")
        bar = figure.colorbar(picture, ax=panels, shrink=0.5, pad=0.01, format=PercentFormatter(1, decimals=0))
        empty = any((table.sum(1) == 0).any() for table in result.confusion.values())
        bar.set_label("share of the true class" + (" (grey: no clips)" if empty else ""))
        bar.outline.set_visible(False)  # type: ignore[operator]
        figure.suptitle(f"Who is taken for what: {_title(result)}{_of_how_many(result)}", fontsize=12)
    return figure


def view_colours(views: Sequence[str]) -> dict[str, str]:
    """A colour for each view, by name order, and black for all of them together."""
    return dict(zip(sorted(views), cycle(VIEW_COLOURS), strict=False)) | {FUSED: "#000000", MEAN: "#000000"}


# Lines

Lines = Mapping[str, tuple["pd.Series[float]", dict[str, Any]]]
"""By name: accuracy (values) along x (index), and how the line looks."""


def _loud(colour: str) -> dict[str, Any]:
    """How the result's own line looks among baselines."""
    return {"color": colour, "linewidth": 3.0}


def _quiet(number: int) -> dict[str, Any]:
    """How a baseline looks: grey, with the dash and marker that its method has in every picture."""
    _, dash, marker = METHOD_LOOKS[number % len(METHOD_LOOKS)]
    return {"color": "#707070", "linestyle": dash, "marker": marker, "linewidth": 1.5}


def _limits(panels: Iterable[Lines]) -> tuple[float, float]:
    """One range of accuracies for all panels, in whole tens of percent, with a hair of air at both ends."""
    values = [value for lines in panels for line, _ in lines.values() for value in line] or [0.0, 1.0]
    low, high = np.floor((min(values) - 0.02) * 10) / 10, np.ceil((max(values) + 0.02) * 10) / 10
    return max(low, 0.0) - 0.005, min(high, 1.0) + 0.005


def _label_inches(panels: Iterable[Lines]) -> float:
    """Room for the longest direct label."""
    return 0.085 * (6 + min(_LABEL_LETTERS, max((len(name) for lines in panels for name in lines), default=0)))


def _plot(axes: Axes, lines: Lines) -> None:
    """The lines, each with its name and last value at the right; names of lines that end together move apart."""
    lines = {name: (line, look) for name, (line, look) in lines.items() if len(line)}
    for line, look in lines.values():
        marker = look.get("marker", "o") if len(line) <= _MARKED_ROUNDS else ""
        axes.plot(line.index.to_numpy(), line.to_numpy(), **look | {"marker": marker})
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    last = {name: float(line.iloc[-1]) for name, (line, _) in lines.items()}
    leader = {"arrowstyle": "-", "linestyle": ":", "linewidth": 1.0, "alpha": 0.6, "relpos": (0, 0.5), "shrinkB": 4}
    for name, height in _apart({name: _height(axes, value) for name, value in last.items()}).items():
        line, look = lines[name]
        axes.annotate(
            f"{shorten(name, _LABEL_LETTERS, placeholder=' ...')}: {100 * last[name]:.0f}%",
            xy=(line.index[-1], last[name]),
            xytext=(1.06, height),
            textcoords="axes fraction",
            color=look["color"],
            va="center",
            fontsize=9.5,
            fontweight="bold" if look.get("linewidth", 2) >= 2 else "normal",
            arrowprops=leader | {"color": look["color"]},
            annotation_clip=False,
        )


def _height(axes: Axes, value: float) -> float:
    low, high = axes.get_ylim()
    return (value - low) / (high - low)


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Heights of labels, fractions of a panel, moved by as little as keeps them a line apart and inside the panel.

    Least squares: without the room that the labels below it need, every label's height must not fall from label to
    label. That is isotonic regression.
    """
    if not heights:
        return {}
    names = sorted(heights, key=lambda name: heights[name])
    level = isotonic_regression([heights[name] - i * _LINE_HEIGHT for i, name in enumerate(names)]).x.tolist()
    top = 1.0 - (len(names) - 1) * _LINE_HEIGHT
    return {name: min(low, top) + i * _LINE_HEIGHT for i, (name, low) in enumerate(zip(names, level, strict=True))}


def _decades(axes: Axes, counts: Sequence[float]) -> None:
    """Ticks on whole decades that hold the counts, in words a person pays for."""
    low, high = np.floor(np.log10(min(counts, default=1))), np.ceil(np.log10(max(counts, default=10)))
    ticks = 10.0 ** np.arange(low, max(high, low + 1) + 1)
    axes.set_xticks(ticks)
    axes.set_xlim(ticks[0], ticks[-1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: human_bytes(count).replace(".0", "")))
    axes.xaxis.set_minor_formatter(NullFormatter())


# Panels


def _confusion(axes: Axes, table: Int[np.ndarray, "K K"]) -> Any:
    clips = table.sum(1, keepdims=True)
    shares = np.divide(table, clips, out=np.full(table.shape, np.nan), where=clips > 0)  # nan: no clip of that class
    axes.set_facecolor("#eeeeee")
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for k in range(len(table)):  # where a right answer lies
        frame = Rectangle((k - 0.5, k - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=1.2)
        frame.set_path_effects([withStroke(linewidth=3.0, foreground="#333333")])  # seen on light and on dark cells
        axes.add_patch(frame)
    if len(table) <= _READABLE_CLASSES:
        for (row, column), share in np.ndenumerate(shares):
            if share > 0:
                ink = "white" if share > 0.55 else "#222222"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=ink)
    return picture


def _panels(count: int, columns: int, width: float, height: float, *, share: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels of so many inches each; `share`: square panels with one set of names at the edges.

    Made without pyplot, which would keep every figure of a sweep alive.
    """
    rows = -(-count // columns)
    margins = (2.2, 2.0) if share else (0.6, 0.5)  # inches, for names, titles and the colour bar
    size = (width * columns + margins[0], height * rows + margins[1])
    figure = Figure(figsize=size, layout="compressed" if share else "constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, columns)
    panels: list[Axes] = []
    for number in range(count):
        first = {"sharex": panels[0], "sharey": panels[0]} if share and panels else {}
        panels.append(figure.add_subplot(grid[number // columns, number % columns], **first))
        panels[-1].tick_params(labelleft=not share or number % columns == 0)
    return figure, panels


def _columns(count: int) -> int:
    """Panels beside one another: 1 2 3 2x2 3x2 3x2 4x2 4x2 ..."""
    return count if count <= 3 else 2 if count == 4 else 3 if count <= 6 else 4


def _examinees(result: Result) -> list[str]:
    return [*_pictured(result), *([FUSED] if len(result.history(FUSED)) else [])]


def _pictured(result: Result) -> list[str]:
    """All views, or of very many some from the worst to the best, at even steps of rank."""
    if len(result.views) <= _PICTURED_VIEWS:
        return list(result.views)
    last = {view: history.iloc[-1] if len(history := result.history(view)) else 0.0 for view in result.views}
    ranked = sorted(result.views, key=lambda view: last[view])
    return sorted(ranked[rank] for rank in np.linspace(0, len(ranked) - 1, _PICTURED_VIEWS).round().astype(int))


def _of_how_many(result: Result) -> str:
    some = len(_pictured(result)) < len(result.views)
    return f" ({_PICTURED_VIEWS} of {len(result.views)}, from the worst to the best)" if some else ""


def _named(view: str) -> str:
    return {FUSED: "all fused", MEAN: "mean of the views"}.get(view, view)


def _title(result: Result) -> str:
    share = label_share(result)
    return heading(result) + (f", {100 * share:g} % of the labels" if share is not None else "")


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    with rc_context(_STYLE):
        figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.12)
    return path
