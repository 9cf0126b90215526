"""Videos as short clips of small pictures: the one decoder, PyAV (FFmpeg's libraries, https://pyav.org).

    clip = sampled(path, frames=16, side=112)          # uint8 [16 112 112 3], or a sentence that says why there is none

Frames are chosen as in Wang, Xiong, Wang, Qiao, Lin, Tang, Van Gool. Temporal Segment Networks. ECCV 2016.
https://arxiv.org/abs/1608.00859, section 3.1, with no chance in it: equal segments, of each the middle frame. Frames
are counted by decoding them, because headers do not always say how many there are, and made small at once, so that a
clip is never in memory at its full size.

A packet that cannot be decoded is passed over, as players do. A video that lost more than a tenth of its frames, to
that or because its file ends early, is none. One frame less than packets is usual (HMDB51's last packet holds none).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from fedkd.data.store import Store, place
from fedkd.errors import UserError

MOST_LOST = 0.1
"""Share of its frames that a usable video may lack."""

_AVERAGES = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area means; without FULL_CHR_H_INT greys come out nearly two levels too dark."""


def sampled(path: Path, frames: int, side: int) -> UInt8[np.ndarray, "F S S 3"] | str:
    """The middle frame of each of `frames` equal segments, as RGB: the centre's square, shrunk by averages to `side`.

    A video shorter than `frames` repeats some. The reason in words where the file holds no usable video.
    """
    try:
        with av.open(str(path), metadata_errors="ignore") as container:  # a title need not be UTF-8 (HMDB51)
            pictures = _pictures(container, side)
    except (av.FFmpegError, OSError) as error:
        return f"it is no whole video, truncated or damaged: {error.strerror}"
    return pictures if isinstance(pictures, str) else np.stack([pictures[i] for i in middles(len(pictures), frames)])


def sampled_pictures(paths: Sequence[Path], frames: int, side: int) -> UInt8[np.ndarray, "F S S 3"] | str:
    """The same of a video that was released as one picture file a frame, in their order."""
    if not paths:
        return "it holds no picture"
    clip = []
    for path in (paths[i] for i in middles(len(paths), frames)):
        picture = _picture(path, side)
        if isinstance(picture, str):
            return f"{path.name}: {picture}"
        clip.append(picture)
    return np.stack(clip)


def rgb_store(
    dataset: str,
    prepared_dir: str | None,
    frames: int,
    side: int,
    named: Callable[[Path], str] = attrgetter("stem"),
) -> Store:
    """Where a data set's sampled clips lie, once they are prepared."""
    if side < 8:
        raise UserError(f"{dataset} needs pictures of at least 8 pixels, got side {side}.")
    folder = place(prepared_dir, f"{dataset}_rgb_{frames}x{side}")
    return Store(folder, "middles of segments, centre square, area mean, v2", (frames, side, side, 3), named=named)


def middles(count: int, segments: int) -> list[int]:
    """Places of the middle frames of `segments` equal parts of `count` frames; some repeat where there are fewer."""
    return [(2 * i + 1) * count // (2 * segments) for i in range(segments)]


def small(frame: av.VideoFrame, side: int, scaler: VideoReformatter) -> UInt8[np.ndarray, "S S 3"]:
    """The largest square in the middle of a frame, shrunk by averages."""
    short = min(frame.width, frame.height)
    margins = [round(side * (length / short - 1) / 2) for length in (frame.width, frame.height)]
    width, height = (side + 2 * margin for margin in margins)
    picture = scaler.reformat(frame, width, height, format="rgb24", interpolation=_AVERAGES).to_ndarray()
    left, top = margins
    return picture[top : top + side, left : left + side]


def _picture(path: Path, side: int) -> UInt8[np.ndarray, "S S 3"] | str:
    """One picture file, made small, or what is wrong with it."""
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.video:
                return "it holds no picture"
            container.streams.video[0].codec_context.options = {"err_detect": "explode"}  # half a picture is none
            frame = next(container.decode(video=0), None)
            return "it holds no picture" if frame is None else small(frame, side, VideoReformatter())
    except (av.FFmpegError, OSError) as error:
        return f"it is no whole picture, truncated or damaged: {error.strerror}"


def _pictures(container: InputContainer, side: int) -> list[UInt8[np.ndarray, "S S 3"]] | str:
    """Every frame, made small, or what is wrong with the video."""
    if not container.streams.video:
        return "it holds no video"
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    scaler = VideoReformatter()
    pictures: list[np.ndarray] = []
    packets, reached = 0, 0.0
    for packet in container.demux(stream):
        if packet.size:  # the last one is empty and asks for the frames that still wait
            packets += 1
            reached = max(packets, _frames_until(packet))
        pictures += [small(frame, side, scaler) for frame in _decoded(packet)]
    if not pictures:
        return "it holds no frame that can be decoded"
    if packets - len(pictures) > max(1, MOST_LOST * packets):
        return f"it is damaged: {len(pictures)} of {packets} frames can be decoded"
    if reached < (1 - MOST_LOST) * stream.frames:
        return f"it is truncated: its header promises {stream.frames} frames, it ends after {reached:.0f}"
    return pictures


def _decoded(packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
    """The frames that a packet completes; of a damaged one none."""
    try:
        return packet.decode()
    except av.FFmpegError:
        return []


def _frames_until(packet: av.Packet[VideoStream]) -> float:
    """Frames up to a packet's end by the clock: a file may leave out frames that repeat, the header counts them."""
    rate = packet.stream.average_rate
    if packet.dts is None or rate is None:
        return 0.0
    return float((packet.dts + (packet.duration or 0)) * packet.time_base * rate)
