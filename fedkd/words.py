"""Figures for people: a share, a number of bytes, a time, each as short as it can be told.

    percent(0.4117), human_bytes(53973), human_seconds(98.2)        # "41.2%", "54.0 kB", "1 min 38 s"

A dash stands for what is not known.
"""

from __future__ import annotations

import math


def percent(fraction: float | int | None) -> str:
    """0.4117 -> '41.2%'."""
    return "-" if _unknown(fraction) else f"{100 * fraction:.1f}%"  # type: ignore[operator]


def human_bytes(count: float | int | None) -> str:
    """53973 -> '54.0 kB': decimal units, as the wire is paid for."""
    if _unknown(count):
        return "-"
    number, unit = float(count), "B"  # type: ignore[arg-type]
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 999.95:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"


def human_seconds(seconds: float | int | None) -> str:
    """98.2 -> '1 min 38 s'."""
    if _unknown(seconds):
        return "-"
    whole = round(seconds)  # type: ignore[arg-type]
    if whole < 60:
        return f"{seconds:.1f} s" if whole < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def number(value: float | int | None) -> str:
    """1.51114 -> '1.51'."""
    return "-" if _unknown(value) else f"{value:.2f}"


def _unknown(value: float | int | None) -> bool:
    return value is None or math.isnan(value)
