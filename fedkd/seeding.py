"""Randomness arrives by argument: every use of chance has its own named stream.

The same run seed and the same path give the same numbers in every process and in every place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SeedPath = tuple[int | str, ...]
"""The run's seed, then whose chance it is."""


def seed_of(*path: str | int) -> int:
    """A 63-bit seed for one purpose: the run's seed, then what for, e.g. ``seed_of(0, "batches", round, view)``."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in path)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*path: str | int) -> torch.Generator:
    """A torch generator (CPU) for one purpose."""
    return torch.Generator().manual_seed(seed_of(*path))


@contextmanager
def global_chance(seed_path: SeedPath, *purpose: int | str) -> Iterator[None]:
    """torch's global generator, which layers use for their first weights and for dropout, seeded for a while."""
    chance = torch.default_generator  # torch.manual_seed would ask every accelerator there could be: 0.15 ms
    before = chance.get_state()
    chance.manual_seed(seed_of(*seed_path, *purpose))
    try:
        yield
    finally:
        chance.set_state(before)


def opaque_number(number: int) -> int:
    """A 32-bit event id from an event's own number below 2**32, the same at every host and another for each number.

    For data sets so large that names hashed to 32 bits collide: of 38,160 events two would, with a chance of 16 %.
    MurmurHash3's finaliser (Appleby, https://github.com/aappleby/smhasher), which is one to one; no secret either.
    """
    number ^= number >> 16
    number = number * 0x85EBCA6B & 0xFFFFFFFF
    number ^= number >> 13
    number = number * 0xC2B2AE35 & 0xFFFFFFFF
    return number ^ (number >> 16)


def opaque_id(name: str) -> int:
    """A 32-bit event id from an event's own name, the same at every host.

    No secret: whoever can list the names, as of a published data set, can hash them all and look an id up.

    A collision among a data set's events is refused where the events are listed
    (`fedkd.data.release.refuse_same_id`).
    """
    return int.from_bytes(hashlib.blake2b(b"fedkd event:" + name.encode(), digest_size=4).digest(), "big")
