"""A contact sheet: one row for each action, one column for each camera, four moments of the clip side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

MOMENTS = 4
MARGIN, HEADER, GAP = 150, 30, 8


def write_contact_sheet(path: Path, classes: tuple[str, ...], rgb: Mapping[str, UInt8[Tensor, "K T H W 3"]]) -> None:
    """Write a PNG of one clip of each class, in order, from each view."""
    strips = {view: filmstrips(clips) for view, clips in rgb.items()}
    num_classes, height, width, _ = next(iter(strips.values())).shape
    sheet = Image.new("RGB", (MARGIN + len(strips) * (width + GAP), HEADER + num_classes * (height + GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for row, name in enumerate(classes):
        pen.text((8, HEADER + row * (height + GAP) + height / 2), name, fill="black", font=font, anchor="lm")
    for column, (view, clips) in enumerate(strips.items()):
        left = MARGIN + column * (width + GAP)
        pen.text((left + width / 2, HEADER / 2), view, fill="black", font=font, anchor="mm")
        for row, strip in enumerate(clips):
            sheet.paste(Image.fromarray(strip), (left, HEADER + row * (height + GAP)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def filmstrips(clips: UInt8[Tensor, "K T H W 3"]) -> UInt8[np.ndarray, "K H strip 3"]:
    """Four moments of each clip, left to right."""
    num_frames = clips.shape[1]
    moments = [min((2 * k + 1) * num_frames // (2 * MOMENTS), num_frames - 1) for k in range(MOMENTS)]
    return np.concatenate([clips[:, moment].numpy() for moment in moments], axis=2)
