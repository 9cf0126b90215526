"""A run on one page: report.html in its folder, with its pictures inside, so that the file can be sent on by itself.

finish(result)      # plots/*.png and report.html, after a run
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from fedkd.files import write_whole, writing_to
from fedkd.plots import draw
from fedkd.record import FUSED
from fedkd.results import Result, by_view, comparable, heading, short_names
from fedkd.terms import TERMS
from fedkd.words import human_bytes, human_seconds, number, percent

_CAPTIONS = {
    "accuracy": "Accuracy on the exam's clips, by round. Every view by itself, and the views fused: "
    "their answers for one event pooled.",
    "bytes": "Accuracy by what crossed the wire, both directions, all views; exams are left out. "
    "Up and to the left is better.",
    "confusion": "Who is taken for what, in percent of the true class; right answers lie in the framed cells.",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ heading }}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.6rem; margin-bottom: .2rem; }
  h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e6e6e6; }
  th:first-child, td:first-child, .words td, .words th { text-align: left; }
  tr.sum td { font-weight: 600; border-top: 1px solid #888; }
  figure { margin: 1.5rem 0; }
  img { max-width: 100%; height: auto; }
  figcaption, .note { color: #555; font-size: .92rem; }
  .bad { color: #a3241b; font-weight: 600; }
  pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: .82rem; line-height: 1.4; }
</style>
</head>
<body>
<h1>{{ heading }}</h1>
<p class="note">{{ folder }}</p>
{% if status != "finished" %}
<p class="bad">This run is not finished: {{ status }}{{ ", " + reason if reason else "" }}.
It shows what was measured so far.</p>
{% endif %}

<h2>Summary</h2>
<table class="words">
{% for name, value in facts %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}</table>

<h2>Views</h2>
<div class="scroll"><table>
<tr>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in views %}
<tr{% if loop.last %} class="sum"{% endif %}>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
<p class="note">Accuracy on the {{ split }} split in the last exam. Lack: share of the view's training clips whose
class it does not know. Terms of the objective in nats, as they were last. Bytes and training time over the whole
run.</p>

{% if baselines %}
<h2>Beside other runs</h2>
<div class="scroll"><table>
<tr><th>run</th><th>mean of views</th><th>fused</th><th>bytes</th><th>time</th></tr>
{% for row in baselines %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% endif %}

<h2>Failures</h2>
{% if failures %}
<div class="scroll"><table class="words">
<tr><th>round</th><th>view</th><th>reason</th></tr>
{% for one in failures %}<tr><td>{{ one.round }}</td><td>{{ one.view }}</td><td>{{ one.reason }}</td></tr>
{% endfor %}</table></div>
{% else %}<p>None: every view answered in every round.</p>{% endif %}

{% for picture in pictures %}
<figure><img alt="{{ picture.caption }}" src="data:image/png;base64,{{ picture.data }}">
<figcaption>{{ picture.caption }}</figcaption></figure>
{% endfor %}

<h2>Configuration</h2>
<pre>{{ config }}</pre>
<h2>Environment</h2>
<pre>{{ environment }}</pre>
</body>
</html>
"""


def finish(result: Result, earlier: Iterable[Result] = ()) -> None:
    """Draw a run's pictures and write its page; those of the `earlier` runs that are comparable are its baselines."""
    others = comparable(result, earlier)
    with writing_to(result.folder):
        pictures = draw(result, others)
        write_whole(result.folder / "report.html", page(result, others, pictures).encode())


def page(result: Result, others: Sequence[Result], pictures: Sequence[Path]) -> str:
    """The HTML of a result's page, beside `others`, with these pictures."""
    columns, views = _views(result)
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(_PAGE)
    return template.render(
        heading=heading(result),
        folder=result.folder,
        status=result.summary["status"],
        reason=result.summary.get("reason", ""),
        split=result.summary.get("split", "test"),
        facts=_facts(result),
        columns=columns,
        views=views,
        baselines=_beside([result, *others]) if others else [],
        failures=result.failures,
        pictures=[
            {"caption": _CAPTIONS[path.stem], "data": base64.b64encode(path.read_bytes()).decode()} for path in pictures
        ],
        config=_text(result.folder / "config.yaml"),
        environment=_text(result.folder / "env.json"),
    )


def _facts(result: Result) -> list[tuple[str, str]]:
    s = result.summary
    return [
        ("accuracy, mean of views", percent(s["accuracy_mean"])),
        ("accuracy, views fused", percent(s["accuracy_fused"])),
        ("rounds", f"{result.rounds_done} of {s['rounds']}"),
        ("bytes up", human_bytes(s["bytes_up"])),
        ("bytes down", human_bytes(s["bytes_down"])),
        ("bytes of exams (not counted above)", human_bytes(s.get("bytes_exams"))),
        ("failures", str(len(result.failures))),
        ("place", s["place"]),
        ("wall time", human_seconds(s["wall_seconds"])),
        ("status", s["status"]),
        ("digest", s["digest"] or "-"),
    ]


def _views(result: Result) -> tuple[list[str], list[list[str]]]:
    """The table of views: its columns, and a row of words for each view."""
    table = by_view(result)
    terms = [term for term in TERMS if table[term].notna().any()]
    rows = [
        [
            "all fused" if view == FUSED else str(view),
            percent(row["accuracy"]),
            percent(row["f1"]),
            percent(row["lack"]),
            human_bytes(row["bytes_up"]),
            human_bytes(row["bytes_down"]),
            *(number(row[term]) for term in terms),
            human_seconds(row["seconds"]),
        ]
        for view, row in table.iterrows()
    ]
    return ["view", "accuracy", "F1", "lack", "bytes up", "bytes down", *terms, "training"], rows


def _beside(results: Sequence[Result]) -> list[list[str]]:
    return [
        [
            name,
            percent(result.summary["accuracy_mean"]),
            percent(result.summary["accuracy_fused"]),
            human_bytes(result.summary["bytes_up"] + result.summary["bytes_down"]),
            human_seconds(result.summary["wall_seconds"]),
        ]
        for name, result in zip(short_names(results), results, strict=True)
    ]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else "(missing)"
