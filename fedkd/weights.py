"""Weights by name, as `state_dict` gives them: what tells two of them apart, and how several lie in one table.

>>> import torch
>>> under("net.", {"net.w": torch.zeros(1), "step": torch.tensor(3)})
{'w': tensor([0.])}
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor


def digest(weights: Mapping[str, Tensor]) -> str:
    """sha256 over named weights, in name order: equal digests mean equal bits."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().contiguous()
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        sha.update(value.numpy().tobytes())
    return sha.hexdigest()


def under(prefix: str, flat: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in flat.items() if key.startswith(prefix)}
