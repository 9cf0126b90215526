"""The one door to torchvision.

A torchvision wheel built for another torch (a CUDA wheel beside a CPU torch, say) cannot load its compiled operators,
and then refuses to import at all: "operator torchvision::nms does not exist". The nets need none of those operators.
So where the compiled library does not load, the two names that the import looks up are declared, without a body.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

LOOKED_UP_AT_IMPORT = ("nms", "qnms")
"""Operators that torchvision 0.28 (`_meta_registrations.py`) takes for granted; it asks for all others first."""


@cache
def torchvision() -> ModuleType:
    """The torchvision package, imported on first use."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ImportError("This net comes from torchvision, which is not installed; `pip install torchvision`.")
    if not _operators_load(Path(spec.origin).parent):
        _declare_operators()
    return importlib.import_module("torchvision")


def _operators_load(package: Path) -> bool:
    """Whether torchvision's own compiled library works with this torch (loading it twice is harmless)."""
    try:
        for library in [*package.glob("_C*.so"), *package.glob("_C*.pyd")]:
            torch.ops.load_library(library)
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


@cache
def _declare_operators() -> torch.library.Library:
    """The names alone; the cache keeps the library alive, as its end would take the names away."""
    library = torch.library.Library("torchvision", "DEF")
    for name in LOOKED_UP_AT_IMPORT:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
