"""Sensors' samples at even moments: they come in bursts, so clips are resampled by their times, never by their rows."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32


def at_even_moments(
    seconds: Float[np.ndarray, "T"], values: Float[np.ndarray, "T D"], count: int
) -> Float32[np.ndarray, "{count} D"]:
    """Values at `count` evenly spaced moments from the first sample to the last, on straight lines.

    seconds  when each row of `values` was measured, increasing.
    """
    moments = np.linspace(seconds[0], seconds[-1], count)
    return np.stack([np.interp(moments, seconds, axis) for axis in values.T], axis=1).astype(np.float32)
