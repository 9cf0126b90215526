"""The F1 score over classes: what MMAct is reported by, and what rare classes are not lost in.

Of a class, with P the share of its guesses that are right and R the share of its events that are guessed:
    F1 = 2 P R / (P + R) = 2 right / (events + guesses)
Macro-averaged: the plain mean over classes.

    >>> macro_f1(np.array([[3, 1], [0, 2]]))      # (6 / 7 + 4 / 5) / 2
    0.8285714285714285
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def macro_f1(confusion: Int[np.ndarray, "K K"]) -> float | None:
    """A fraction of 1 from events by true class (row) and guess (column).

    Of the classes that occur or were guessed; None where there are none.
    """
    total = confusion.sum(0) + confusion.sum(1)
    there = total > 0
    return float((2 * confusion.diagonal()[there] / total[there]).mean()) if there.any() else None
