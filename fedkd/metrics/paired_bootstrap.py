"""How sure a difference between two methods is, when clips of one subject are alike, and runs of one seed too.

Clips of one person share body, tempo and habits, and runs of one seed share the labels drawn and the nets' first
weights, so neither are independent draws: subjects and seeds are resampled, each by itself, and not clips (Owen, The
pigeonhole bootstrap, Annals of Applied Statistics 1(2), 2007, which errs on the wide side; percentile interval). Both
methods are scored on the same resampled subjects and seeds, which is what pairs them.
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
    right: Float[np.ndarray, "N S V"], right_before: Float[np.ndarray, "N S V"], count: Float[np.ndarray, "N S V"]
) -> float:
    """The difference in mean accuracy over V views, a fraction of 1; arguments as below."""
    return float(((right - right_before).sum((0, 1)) / count.sum((0, 1))).mean())


def paired_bootstrap(
    right: Float[np.ndarray, "N S V"],
    right_before: Float[np.ndarray, "N S V"],
    count: Float[np.ndarray, "N S V"],
    *,
    seed: int = 0,
) -> Interval:
    """The difference in mean accuracy over V views between two methods, resampling N seeds and S subjects.

    right, right_before  clips of a subject in a view that the method, or the one it is compared with, got right.
    count                clips of a subject in a view.

    One seed cannot be resampled: the interval is then one over subjects, and of that seed alone.
    """
    seeds, subjects, _ = count.shape
    if subjects < 2:
        raise ValueError(f"expected two or more subjects to resample, got {subjects}.")
    generator = np.random.default_rng(seed)
    drawn_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES)  # R N
    drawn = generator.multinomial(subjects, np.full(subjects, 1 / subjects), size=RESAMPLES)  # R S

    def total(of: Float[np.ndarray, "N S V"]) -> Float[np.ndarray, "R V"]:
        return np.einsum("rn,rs,nsv->rv", drawn_seeds, drawn, of, optimize=True)

    clips = total(count)
    filmed = (clips > 0).all(1)  # a view may film few subjects
    resampled = (total(right - right_before)[filmed] / clips[filmed]).mean(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(difference(right, right_before, count), float(low), float(high))
