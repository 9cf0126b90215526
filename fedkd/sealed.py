"""Tensors in a file that tells if it is torn: safetensors, with a sha256 of all it holds among its metadata.

    seal(path, {"w": weights}, {"round": "3"})
    tensors, words = unseal(path)

It is written beside its name, brought to the disk, and renamed: at any moment, a power cut included, the name holds the
old file or the new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fedkd.errors import UserError
from fedkd.files import write_whole
from fedkd.weights import digest

_SEAL = "sha256"


def seal(path: Path, tensors: Mapping[str, Tensor], words: Mapping[str, str] | None = None) -> None:
    """Write tensors, and words beside them; `UserError` where the disk does not take them, the old file stays."""
    words = dict(words or {})
    whole = {name: value.detach().contiguous() for name, value in tensors.items()}
    write_whole(path, save(whole, {**words, _SEAL: _sha256(whole, words)}), durable=True)


def unseal(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What was sealed there; `UserError` for a file that is not whole, or that somebody else made.

    Whoever asks knows what to do without it, and says so.
    """
    try:
        with safe_open(path, "pt") as file:
            words = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, SafetensorError) as error:
        raise UserError(f"expected a whole sealed file, but {path} is torn: {error}.") from error
    if words.pop(_SEAL, "") != _sha256(tensors, words):
        raise UserError(f"expected a whole sealed file, but {path} is torn: it does not hold what was written to it.")
    return tensors, words


def _sha256(tensors: Mapping[str, Tensor], words: Mapping[str, str]) -> str:
    said = "".join(f"{name}={words[name]}\n" for name in sorted(words))
    return hashlib.sha256(f"{digest(tensors)}\n{said}".encode()).hexdigest()
