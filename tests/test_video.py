"""The decoder: which frames, which square, and every way in which a file can be no video."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import pytest

from fedkd.data.video import middles, sampled, sampled_pictures

REAL = Path(os.environ.get("FEDKD_DATA", "no FEDKD_DATA"))


def write_video(
    path: Path, pictures: Iterable[np.ndarray], times: Iterable[int] | None = None, codec: str = "mjpeg"
) -> Path:
    """A video of pictures uint8 [H W 3], 30 a second; `times` are the frames' places where some are left out."""
    pictures = list(pictures)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = {"mjpeg": "yuvj444p", "mpeg4": "yuv420p"}[codec]
        for time, picture in zip(times or range(len(pictures)), pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def greys(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frame n is of grey 6 n."""
    return [np.full((height, width, 3), 6 * n, np.uint8) for n in range(count)]


def seen(clip: np.ndarray | str) -> list[int]:
    """Which of the greys a clip holds."""
    assert isinstance(clip, np.ndarray), clip
    return [round(float(frame.mean()) / 6) for frame in clip]


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_the_middle_of_each_segment_is_taken(tmp_path: Path, codec: str) -> None:
    clip = sampled(write_video(tmp_path / "a.avi", greys(40), codec=codec), 4, 16)
    assert clip.shape == (4, 16, 16, 3) and clip.dtype == np.uint8
    assert seen(clip) == [5, 15, 25, 35]


def test_a_short_video_repeats_frames() -> None:
    assert middles(3, 6) == [0, 0, 1, 1, 2, 2] and middles(1, 3) == [0, 0, 0] and middles(7, 3) == [1, 3, 5]


def test_the_centre_square_is_shrunk_by_averages(tmp_path: Path) -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 20:60, 0] = 200  # the square in the middle is red, with stripes of one pixel in its right half
    picture[:, 40:60:2] = 0
    clip = sampled(write_video(tmp_path / "a.avi", [picture]), 2, 4)
    assert np.abs(clip[:, :, :2, 0].astype(int) - 200).max() < 8
    assert np.abs(clip[:, :, 2:, 0].astype(int) - 100).max() < 12
    assert clip[..., 1:].max() < 12


def test_frames_of_several_sizes_become_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.mjpeg"
    parts = [write_video(tmp_path / f"{n}.mjpeg", greys(3, *size)) for n, size in enumerate([(48, 64), (90, 32)])]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))  # this header counts no frames either
    assert seen(sampled(path, 6, 16)) == [0, 1, 2, 0, 1, 2]


def test_frames_that_a_file_leaves_out_are_not_missed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", greys(20), times=[*range(10), *range(30, 40)])
    assert seen(sampled(path, 2, 16)) == [5, 15]


@pytest.mark.parametrize(("share", "sentence"), [(0.5, "truncated: its header promises 40"), (0.001, "no whole video")])
def test_a_truncated_video_is_named(tmp_path: Path, share: float, sentence: str) -> None:
    content = write_video(tmp_path / "a.avi", greys(40)).read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: int(share * len(content))])
    assert sentence in sampled(tmp_path / "a.avi", 4, 16)


def test_damage_is_passed_over_while_it_is_small(tmp_path: Path) -> None:
    parts = write_video(tmp_path / "a.avi", greys(40)).read_bytes().split(b"00dc")  # each frame's mark
    for damaged, expected in ((3, [4, 16, 26, 35]), (20, "it is damaged: 20 of 40 frames can be decoded")):
        hurt = [p[:4] + bytes(len(p) - 4) if 10 <= n < 10 + damaged else p for n, p in enumerate(parts)]
        (tmp_path / "a.avi").write_bytes(b"00dc".join(hurt))
        clip = sampled(tmp_path / "a.avi", 4, 16)
        assert expected == (clip if isinstance(clip, str) else seen(clip))


def write_sound(path: Path) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))


def write_frameless(path: Path) -> None:
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuvj444p"
        container.start_encoding()


def test_picture_files_that_hold_none_are_named(tmp_path: Path) -> None:
    write_sound(tmp_path / "sound.jpg")
    write_frameless(tmp_path / "frameless.jpg")
    (tmp_path / "text.jpg").write_text("not found")
    for name, reason in (
        ("sound", "holds no picture"),
        ("frameless", "holds no picture"),
        ("text", "no whole picture"),
    ):
        clip = sampled_pictures([tmp_path / f"{name}.jpg"], 4, 16)
        assert isinstance(clip, str) and f"{name}.jpg: it" in clip and reason in clip


def test_files_without_a_picture_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.avi").touch()
    (tmp_path / "text.avi").write_text("not found")
    write_sound(tmp_path / "sound.wav")
    assert "no whole video" in sampled(tmp_path / "empty.avi", 4, 16)
    assert "no whole video" in sampled(tmp_path / "text.avi", 4, 16)
    assert "no video" in sampled(tmp_path / "sound.wav", 4, 16)
    assert "No such file" in sampled(tmp_path / "absent.avi", 4, 16)


def test_a_video_without_a_frame_is_named(tmp_path: Path) -> None:
    write_frameless(tmp_path / "frameless.avi")
    whole = write_video(tmp_path / "a.avi", greys(10)).read_bytes().split(b"00dc")
    blank = [part if n == 0 else part[:4] + bytes(len(part) - 4) for n, part in enumerate(whole)]
    (tmp_path / "blank.avi").write_bytes(b"00dc".join(blank))
    for name in ("frameless", "blank"):
        assert sampled(tmp_path / f"{name}.avi", 4, 16) == "it holds no frame that can be decoded", name


@pytest.mark.parametrize(
    "where", ["hmdb51/*/*.avi", "ntu_rgbd/nturgb+d_rgb/*.avi", "multicam_rgb/Demo_SinglePerson/videos/cam01.mp4"]
)
def test_real_videos_are_read(where: str) -> None:
    files = sorted(REAL.glob(where))
    if not files:
        pytest.skip(f"FEDKD_DATA has no {where}")
    for path in files:
        clip = sampled(path, 8, 56)
        assert isinstance(clip, np.ndarray) and clip.shape == (8, 56, 56, 3), (path.name, clip)
        assert clip.std() > 10 and (clip[0] != clip[-1]).any()
