"""``fedkd models``: what every student and teacher weighs, and what one clip costs it.

Parameters, and multiply-adds of one clip of the shape that the modality's data has. Counted by torch's own counter,
which knows convolutions and matrix products; norms and activations are not counted, as is usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from fedkd.build import build
from fedkd.config import load, options

SHAPES = {
    "skeleton": (32, 20, 3), "pose2d": (32, 20, 2), "imu": (64, 4, 3), "skeleton+imu": (64, 24, 3),
    "rgb": (8, 48, 48, 3), "depth": (16, 48, 48, 1),
}  # fmt: skip
"""modality -> one clip."""

LARGE_RGB = (16, 112, 112, 3)
"""One clip of torchvision's nets, which are made for larger pictures."""

NUM_CLASSES = 12


def weigh() -> Iterator[tuple[str, str, str, tuple[int, ...], int, int]]:
    """(group, name, modality, clip's shape, parameters, multiply-adds) of every net in the configuration."""
    for group in ("student", "teacher"):
        for name in options(group):
            node = load([f"{group}={name}"])[group]
            if node.model is None:
                continue
            large = "torchvision" in node.model["_target_"]
            if large and find_spec("torchvision") is None:
                continue
            shape = LARGE_RGB if large else SHAPES[node.modality]
            net = build(node.model, sample_shape=shape, num_classes=NUM_CLASSES).eval()
            clip = torch.zeros(1, *shape, dtype=torch.uint8 if node.modality in ("rgb", "depth") else torch.float32)
            with torch.no_grad(), _layer_by_layer(), FlopCounterMode(display=False) as counter:
                net(clip)
            parameters = sum(parameter.numel() for parameter in net.parameters())
            yield group, name, node.modality, shape, parameters, counter.get_total_flops() // 2


@contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Transformers without torch's fused layer, which hides what it multiplies."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def table() -> Table:
    """All of them, for a terminal."""
    found = Table(box=None, header_style="dim", title="nets, and what one clip costs", title_justify="left")
    for heading in ("", "name", "sees", "a clip"):
        found.add_column(heading)
    for heading in ("parameters", "multiply-adds"):
        found.add_column(heading, justify="right")
    for group, name, modality, shape, parameters, macs in weigh():
        found.add_row(group, name, modality, " x ".join(map(str, shape)), f"{parameters:,}", f"{macs / 1e6:,.1f} M")
    return found
