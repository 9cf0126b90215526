"""What documents point to is there: links, the commands that head the tables of `results/evidence`, their figures."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from fedkd.build import build
from fedkd.config import expand, load
from fedkd.rules import refuse_unfit
from simulations.study import varied
from simulations.study_table import Done, _table

ROOT = Path(__file__).parents[1]
TABLES = sorted((ROOT / "results" / "evidence").glob("*/table.md"))


def asked(table: Path) -> tuple[list[str], list[str]]:
    """The overrides of a table's study, and its variants."""
    _, command, *_ = table.read_text("utf-8").partition("\n")[0].split("`")
    fedkd, study, folder, *words = shlex.split(command)
    assert (fedkd, study, folder) == ("fedkd", "study", table.parent.relative_to(ROOT).as_posix())
    overrides, variants = [], []
    while words:
        word = words.pop(0)
        if word == "--variant":
            variants.append(words.pop(0))
        elif word == "--against":
            words.pop(0)
        else:
            overrides.append(word)
    return overrides, variants


@pytest.mark.parametrize("table", TABLES, ids=[table.parent.name for table in TABLES])
def test_a_tables_command_composes(table: Path) -> None:
    """The first combination of its sweep and of each variant by each strategy: the others differ in values only."""
    overrides, variants = asked(table)
    for row in [overrides, *(varied(overrides, variant) for variant in variants)]:
        first: dict[tuple[str, ...], list[str]] = {}
        for words in expand(row):
            first.setdefault(tuple(word for word in words if word.startswith("strategy")), words)
        for words in first.values():
            cfg = load(words)
            refuse_unfit(cfg, build(cfg.data).view_names())


def test_there_are_tables() -> None:
    assert len(TABLES) > 20


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "results").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if not link.startswith(("http:", "https:", "mailto:")):
            path, _, section = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name} links {link}"
            assert not section or section in sections(target), f"{page.name} links {link}"


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


TALLIES = [table for table in TABLES if (table.parent / "tallies.csv").exists()]


@pytest.mark.parametrize("table", TALLIES, ids=[table.parent.name for table in TALLIES])
def test_a_tables_figures_follow_from_its_tallies(table: Path) -> None:
    """Every accuracy and every interval; what is left as it stands: bytes, and how right the teachers are."""
    tally = pd.read_csv(table.parent / "tallies.csv")
    against = re.search(r"mean minus ([^|]+) \|", table.read_text("utf-8"))
    result = SimpleNamespace(summary={"seed": 0, "bytes_up": 0, "bytes_down": 0})
    done = [Done(row, [], result) for row in tally["method"].unique()]  # type: ignore[arg-type]
    assert _figures(_table(tally, done, against and against[1])) == _figures(table.read_text("utf-8").splitlines())


def _figures(lines: Iterable[str]) -> list[dict[str, str]]:
    header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|"))
    kept = [name for name in header if name not in ("bytes a run", "teachers' mean")]
    return [{name: cell for name, cell in zip(header, row, strict=True) if name in kept} for row in rows]
