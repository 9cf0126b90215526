"""How sure a difference between two methods is, when clips of one subject are alike.

Clips of one person share body, tempo and habits, so they are no independent draws: subjects are resampled, not clips
(the cluster bootstrap: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8; percentile
interval). Both methods are scored on the same resampled subjects, which is what pairs them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference in accuracy, fractions of 1, and its 95 % interval."""

    difference: float
    low: float
    high: float


def difference(
    right: Float[np.ndarray, "S V"], right_before: Float[np.ndarray, "S V"], count: Float[np.ndarray, "S V"]
) -> float:
    """The difference in mean accuracy over V views, a fraction of 1; arguments as below."""
    return float(((right - right_before).sum(0) / count.sum(0)).mean())


def paired_bootstrap(
    right: Float[np.ndarray, "S V"],
    right_before: Float[np.ndarray, "S V"],
    count: Float[np.ndarray, "S V"],
    *,
    seed: int = 0,
) -> Interval:
    """The difference in mean accuracy over V views between two methods, resampling S subjects.

    right, right_before  clips of a subject in a view that the method, or the one it is compared with, got right (means
                         over seeds, so fractions are fine).
    count                clips of a subject in a view.
    """
    if len(count) < 2:
        raise ValueError(f"expected two or more subjects to resample, got {len(count)}.")
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(count), np.full(len(count), 1 / len(count)), size=RESAMPLES)  # R S
    clips = drawn @ count
    drawn, clips = drawn[(clips > 0).all(1)], clips[(clips > 0).all(1)]  # a view may film few subjects
    resampled = ((drawn @ (right - right_before)) / clips).mean(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(difference(right, right_before, count), float(low), float(high))
