"""Where a benchmark's tables go: not where the committed ones are, unless somebody says so."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_out(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark's parser its --out."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results/bench"),
        metavar="FOLDER",
        help="where the tables go (default: %(default)s; the committed ones are in results/evidence)",
    )
