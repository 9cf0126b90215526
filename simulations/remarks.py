"""Remarks at the command line: one line each, where Python would show a file and a line of code too."""

from __future__ import annotations

import warnings

from fedkd.errors import Remark

_pythons_format = warnings.formatwarning


def show_plainly() -> None:
    """In this process."""
    warnings.formatwarning = _format


def keep_quiet() -> None:
    """In this process, beside another that reads the same folders and says what is wrong with them."""
    warnings.simplefilter("ignore", Remark)


def _format(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    if issubclass(category, Remark):
        return f"fedkd: {message}\n"
    return _pythons_format(message, category, filename, lineno, line)
