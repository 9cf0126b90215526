"""Berkeley-MHAD's two Kinects: a folder of depth pictures a clip, too slow to read for every run, so prepared once.

`Kinect/KinNN/SSS/AAA/RRR/kin_kNN_sSS_aAA_rRR_depth_FFFFF.pgm`, frames from 0: 640 x 480, 16 bits, most significant byte
first, millimetres, 0 where nothing was measured (the colour pictures beside them, `..._color_FFFFF.ppm`, are not read).
The person stands before 3.5 m, which is where the authors' own example ends the scene; what lies behind is background.
The floor before it is not cut away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8, UInt16
from torch import Tensor

from fedkd.data.berkeley_mhad_files import FILES, who
from fedkd.data.check import Broken
from fedkd.data.depth import small_clip
from fedkd.data.release import as_prepared, prepared
from fedkd.data.store import Progress, Store, place

KINECTS = {"k01": "Kin01", "k02": "Kin02"}
"""view -> its folder."""

FRAMES, SIDE = 16, 48
FARTHEST = 3500
"""Millimetres."""

MISNAMED = "its name is not KinNN/SSS/AAA/RRR/kin_kNN_sSS_aAA_rRR_depth_FFFFF.pgm, with the same numbers twice"

_NAME = re.compile(r"kin_(k0[12])_(s\d\d_a\d\d_r\d\d)_depth_(\d{5})")
_HEAD = re.compile(rb"P5\s+(?:#[^\n]*\s+)*(\d+)\s+(\d+)\s+(\d+)\s")


@dataclass(frozen=True, slots=True)
class DepthClip:
    """One prepared clip. `label` is 0-based."""

    event: str
    label: int
    subject: int
    depth: UInt8[Tensor, "F S S 1"]


def prepare_kinects(folder: Path, prepared_dir: str | None, progress: Progress) -> list[Broken]:
    """Make the clips that are missing or out of date; the recordings that hold none."""
    return _store(prepared_dir).prepare(last_frames(folder), _make, progress)


def kinect_clips(folder: Path, prepared_dir: str | None) -> Mapping[str, tuple[DepthClip, ...]]:
    """view -> its clips, prepared before."""
    found: dict[str, list[DepthClip]] = {view: [] for view in KINECTS}
    paths = last_frames(folder)
    clips = prepared("berkeley_mhad", _store(prepared_dir), paths)
    for path in paths:
        if (said := _said(path)) is not None:
            view, event, subject, action = said
            found[view].append(DepthClip(event, action - 1, subject, torch.from_numpy(np.array(clips[path.stem]))))
    return {view: tuple(clips) for view, clips in found.items()}


def _store(prepared_dir: str | None) -> Store:
    """Where the clips of both Kinects lie."""
    return Store(place(prepared_dir, "berkeley_mhad_depth"), "3.5 m, area mean, v1", (FRAMES, SIDE, SIDE, 1))


def last_frames(folder: Path) -> list[Path]:
    """For each recording the last of its depth pictures: while more are being copied, its name changes."""
    last: dict[Path, Path] = {}
    for path in sorted(folder.glob(FILES["kinect"])):
        last[path.parent] = path
    return list(last.values())


def recordings(
    folder: Path, prepared_dir: str | None
) -> tuple[list[tuple[str, str, int, int]], list[Broken], list[str]]:
    """(view, event, subject, action) of each recording by its name; the misnamed and those that the last `prepare`
    could not read; a note on those it has not read. No picture is opened.
    """
    paths = last_frames(folder)
    named = {path: said for path in paths if (said := _said(path))}
    misnamed = [Broken(path.name, MISNAMED) for path in paths if path not in named]
    unread, waiting = as_prepared("berkeley_mhad", [(_store(prepared_dir), list(named))], "depth recordings")
    lost = {fault.name for fault in unread}
    return [said for path, said in named.items() if path.stem not in lost], [*misnamed, *unread], waiting


def _said(path: Path) -> tuple[str, str, int, int] | None:
    """(view, event, subject, action) as a picture's name and its folders agree to say."""
    match = _NAME.fullmatch(path.stem)
    named = who(match[2]) if match else None
    if match is None or named is None:
        return None
    folders = [KINECTS[match[1]], *match[2].upper().split("_")]
    return (match[1], match[2], *named) if list(path.parts[-5:-1]) == folders else None


def _make(path: Path) -> UInt8[np.ndarray, "F S S 1"] | str:
    """The clip of the recording that ends with this picture, or what is wrong with it."""
    if _said(path) is None:
        return MISNAMED
    count = int(path.stem[-5:]) + 1
    missing = count - len(list(path.parent.glob("*_depth_*.pgm")))
    if missing < 0:
        return f"it has {-missing} depth pictures more than the {count} that its last one's number says"
    if missing:
        return f"{missing} of its {count} depth pictures are missing"
    pictures = []
    for at in np.linspace(0, count - 1, FRAMES).round().astype(int):
        picture = read_pgm(path.with_stem(f"{path.stem[:-5]}{at:05}"))
        if isinstance(picture, str):
            return f"picture {at} of {count}: {picture}"
        pictures.append(np.where(picture > FARTHEST, 0, picture).astype(np.uint16))
    if len({picture.shape for picture in pictures}) > 1:
        return "its pictures differ in size"
    if not any(picture.any() for picture in pictures):
        return f"nothing was measured nearer than {FARTHEST} mm"
    return small_clip(np.stack(pictures, axis=2), FRAMES, SIDE)


def read_pgm(path: Path) -> UInt16[np.ndarray, "H W"] | str:
    """A binary portable greymap of 16 bits (https://netpbm.sourceforge.net/doc/pgm.html), or what is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    head = _HEAD.match(content)
    if head is None or int(head[3]) < 256:
        return "it is no binary PGM of 16 bits"
    width, height = int(head[1]), int(head[2])
    if len(content) - head.end() < 2 * width * height:
        return f"it is truncated: {width} x {height} pixels take {2 * width * height} bytes"
    return np.frombuffer(content, ">u2", width * height, head.end()).reshape(height, width).astype(np.uint16)
