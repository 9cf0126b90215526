"""The terminal, or whatever stands in its place."""

from __future__ import annotations

import sys

from rich.console import Console

_PIPE_COLUMNS = 120  # where no terminal says how wide it is


def screen(*, soft_wrap: bool = False) -> Console:
    """Where a command's results are printed."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS, soft_wrap=soft_wrap)
