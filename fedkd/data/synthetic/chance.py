"""Chance and angles that are the same bits on every machine.

The embedded world must come out alike on any processor, so that one golden digest serves all. Two things usually spoil
that: numpy promises a stable stream of raw bits for a bit generator (NEP 19) but not for `Generator.normal`, and `sin`
differs in the last place between mathematics libraries. So uniforms are cut from Philox's raw bits, normals are sums of
twelve of them, and the sine is a polynomial: only + - * / and sqrt, which IEEE 754 rounds in one way only.
(For the same reason nothing here sums with `np.sum`, `@` or `einsum`, whose order of addition may differ.)

>>> Chance(0, "subject", 3).uniform(1, 2)
1.0926...
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from fedkd.seeding import seed_of

Number = int | float
"""A plain number, whole or not."""

PI = 3.141592653589793
UP = np.array([0.0, 0.0, 1.0])
_SINE = (
    -1 / 6,
    1 / 120,
    -1 / 5040,
    1 / 362880,
    -1 / 39916800,
    1 / 6227020800,
    -1 / 1307674368000,
)  # Taylor, x^3 .. x^15


class Chance:
    """One named stream of exact numbers: `Chance(world_seed, "camera", "v01")`."""

    def __init__(self, seed: int, *path: str | int) -> None:
        self._bits = np.random.Philox(key=seed_of(seed, *path))

    def uniforms(self, low: Number, high: Number, *shape: int) -> Float[np.ndarray, "..."]:
        """Numbers in [low, high), from 32 bits each."""
        count = int(np.prod(shape, dtype=int))
        words = (self._bits.random_raw(count) >> np.uint64(32)).reshape(shape)
        return low + (high - low) * (words.astype(np.float64) * 2.0**-32)

    def uniform(self, low: Number = 0, high: Number = 1) -> float:
        """One number in [low, high)."""
        return float(self.uniforms(low, high, 1)[0])

    def normals(self, scale: float, *shape: int) -> Float[np.ndarray, "..."]:
        """Irwin-Hall: twelve uniforms, less six, have variance 1. The sum is exact, thus its order is free."""
        return scale * (self.uniforms(0, 1, 12, *shape).sum(0) - 6)

    def normal(self, scale: float = 1.0, limit: float = 2.5) -> float:
        """One number, cut at `limit` times the scale: nobody is a giant."""
        return scale * min(max(float(self.normals(1.0, 1)[0]), -limit), limit)

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def choose(self, count: int) -> int:
        """One of 0 .. count - 1."""
        return int(self.uniform(0, count))

    def grain(self, *shape: int) -> Int[np.ndarray, "..."]:
        """Integers of mean 0 and standard deviation 148: the sum of four bytes. Quick enough for every pixel."""
        count = int(np.prod(shape, dtype=int))
        halves = self._bits.random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
        low, high = halves & np.uint32(0x00FF00FF), (halves >> np.uint32(8)) & np.uint32(0x00FF00FF)
        pairs = low + high
        return ((pairs & np.uint32(0xFFFF)) + (pairs >> np.uint32(16))).astype(np.int32).reshape(shape) - 510


def sine(turns: Float[np.ndarray, "..."] | Number) -> Float[np.ndarray, "..."]:
    """sin(2 pi turns), to 1e-10, exactly repeatable. Angles of this world are in turns: 0.25 is a right angle."""
    turns = np.asarray(turns, dtype=np.float64)
    turns = turns - np.rint(turns)  # -0.5 .. 0.5
    turns = np.where(
        turns > 0.25, 0.5 - turns, np.where(turns < -0.25, -0.5 - turns, turns)
    )  # same sine, -0.25 .. 0.25
    x = 2 * PI * turns
    square, series = x * x, np.zeros_like(x)
    for coefficient in reversed(_SINE):
        series = (series + coefficient) * square
    return np.asarray(x + x * series)


def cosine(turns: Float[np.ndarray, "..."] | Number) -> Float[np.ndarray, "..."]:
    """cos(2 pi turns), alike."""
    return sine(np.asarray(turns, dtype=np.float64) + 0.25)


def smoothstep(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """0 below 0, 1 above 1, and a soft passage between."""
    x = np.minimum(np.maximum(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def dot(a: Float[np.ndarray, "... 3"], b: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 1"]:
    """Inner product over the last axis, kept, added in a fixed order."""
    product = a * b
    return product[..., 0:1] + product[..., 1:2] + product[..., 2:3]


def unit(a: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Vectors of length 1."""
    return a / np.sqrt(np.maximum(dot(a, a), 1e-18))


def cross(a: Float[np.ndarray, "... 3"], b: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Vector product over the last axis."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)
