"""What documents point to is there: their links, and the commands that head the tables of `results/evidence`."""

import re
import shlex
from pathlib import Path

import pytest

from fedkd.config import expand, load
from simulations.study import varied

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
    """The first combination of its sweep and of each variant: the others differ in values only."""
    overrides, variants = asked(table)
    for row in [overrides, *(varied(overrides, variant) for variant in variants)]:
        assert load(next(iter(expand(row)))).strategy.name


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
