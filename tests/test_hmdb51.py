"""HMDB51: its folders, its official lists, and their faults. Small folders in the published format are written here."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_store import flip
from test_video import greys, write_video

from fedkd.data.hmdb51 import Hmdb51
from fedkd.data.hmdb51_files import ACTIONS, LISTS, read_folder
from fedkd.data.store import Store
from fedkd.errors import Remark, UserError

REAL = Path(os.environ.get("FEDKD_DATA", "no FEDKD_DATA"), "hmdb51")
FILMED = {"brush_hair": 0, "kick_ball": 21, "wave": 50}
"""Classes of which the small folder has videos."""


def quietly(files: Iterable[Path], count: int, store: Store) -> Iterable[Path]:
    return files


def write_folder(root: Path) -> Path:
    """Three classes of four clips; the first two train, the third tests, the last is left out, rotated by split."""
    for action in ACTIONS:
        clips = [f"Film {n} [HD]_{action}_f_cm_np1_fr_med_0.avi" for n in range(4 if action in FILMED else 0)]
        for n, clip in enumerate(clips):
            write_video(root / "hmdb51" / action / clip, greys(8 + n)[n:])
        for split in range(3):
            roles = np.roll([1, 1, 2, 0], split)
            listed = root / "hmdb51" / LISTS / f"{action}_test_split{split + 1}.txt"
            listed.parent.mkdir(parents=True, exist_ok=True)
            listed.write_text("".join(f"{clip} {role} \n" for clip, role in zip(clips, roles, strict=False)))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path)


def prepared(root: Path, **settings: object) -> Hmdb51:
    data = Hmdb51(data_dir=str(root), prepared_dir=str(root / "kept"), frames=4, side=16, **settings)  # type: ignore[arg-type]
    assert data.prepare(quietly) == []
    return data


@pytest.mark.parametrize(("split", "tested"), [("split1", 2), ("split2", 3), ("split3", 0)])
def test_the_lists_say_who_trains_and_who_tests(root: Path, split: str, tested: int) -> None:
    view = prepared(root, protocol=split).view("camera", 0)
    assert len(view.train) == 6 and len(view.test) == 3 and len(view.valid) == 0
    assert view.test.streams["rgb"].shape == (3, 4, 16, 16, 3) and view.valid.streams["rgb"].shape == (0, 4, 16, 16, 3)
    assert set(view.train.labels.tolist()) == set(view.test.labels.tolist()) == set(FILMED.values())
    grey = view.test.streams["rgb"][:, 0].float().mean((1, 2, 3)) / 6  # the first frame of film n is grey n or n + 1
    assert torch.all((grey.round() - tested).clamp(0, 1) == grey.round() - tested)
    assert not view.shared.any()


def test_a_clip_keeps_its_class_and_its_id(root: Path) -> None:
    one, other = (prepared(root, protocol=split).view("camera", 0) for split in ("split1", "split2"))
    told: dict[int, int] = {}
    for clips in (one.train, one.test, other.train, other.test):
        for event, label in zip(clips.ids.tolist(), clips.labels.tolist(), strict=True):
            assert told.setdefault(event, label) == label
    assert len(told) == 12 and len(set(Hmdb51(data_dir=str(root)).subjects().values())) == 4


def test_a_label_share_is_drawn_by_seed(root: Path) -> None:
    data = prepared(root, labels=0.5)
    assert (data.view("camera", 0).train.labels >= 0).sum() == 3


def test_clips_are_asked_to_be_prepared(root: Path) -> None:
    with pytest.raises(UserError, match=r"12 clips are not prepared .*fedkd data prepare hmdb51"):
        Hmdb51(data_dir=str(root), prepared_dir=str(root / "kept")).view("camera", 0)
    assert any("12 clips not read yet" in note for note in Hmdb51(str(root), prepared_dir=str(root)).check().notes)


def test_a_truncated_video_is_named_and_refused(root: Path) -> None:
    path = sorted((root / "hmdb51" / "wave").iterdir())[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    data = Hmdb51(data_dir=str(root), prepared_dir=str(root / "kept"), frames=4, side=16)
    assert [fault.name for fault in data.prepare(quietly)] == [f"wave/{path.stem}"]
    report = data.check()
    assert report.exit_code == 1 and "truncated" in report.broken[0].reason and len(report.clips) == 11
    with pytest.raises(UserError, match="1 recordings are broken, first wave/Film 0"):
        data.view("camera", 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a_wave_0.avi 1\na_wave_0.avi 2\n", "lists a_wave_0.avi for train and for test"),
        ("a_wave_0.avi\n", "line 1 is 'a_wave_0.avi', not a file and 0, 1 or 2"),
        ("a_wave_0.avi 1\n\nb_wave_0.avi 3\n", "line 3 is"),
        (None, "official list is missing"),
    ],
)
def test_a_list_that_leaks_or_is_damaged_is_refused(root: Path, content: str | None, sentence: str) -> None:
    data = prepared(root)
    path = root / "hmdb51" / LISTS / "wave_test_split1.txt"
    path.unlink() if content is None else path.write_text(content)
    assert any(sentence in fault.reason for fault in data.check().lists) and data.check().exit_code == 1
    with pytest.raises(UserError, match=r"hmdb51: 1 files.*wave_test_split1.txt"):
        data.view("camera", 0)


def test_clips_that_are_listed_and_missing_are_counted(root: Path) -> None:
    sorted((root / "hmdb51" / "wave").iterdir())[0].unlink()
    data = prepared(root)
    with pytest.warns(Remark, match="8 of 9 published clips of split1"):
        assert len(data.view("camera", 0).train) == 5
    assert "split1: 1 listed clips are missing, 0 films or uploads are on both sides" in data.check().notes


def test_videos_of_no_list_and_of_no_class_are_named(root: Path) -> None:
    wave = root / "hmdb51" / "wave"
    sorted(wave.iterdir())[0].rename(wave / "Film 9_wave_f_cm_np1_fr_med_0.avi")
    (root / "hmdb51" / "kick_ball").rename(root / "hmdb51" / "kick ball")
    data = prepared(root)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert len(data.view("camera", 0).train) == 3
    for sentence in ("1 of 8 videos", "1 folders", "left out, first kick ball"):
        assert any(sentence in str(remark.message) for remark in said), sentence
    report = data.check()
    assert [fault.name for fault in report.broken] == ["kick ball"] and report.exit_code == 1
    assert {f"split{n}: 1 videos are in no list" for n in (1, 2, 3)} <= set(report.notes)


def test_sources_on_both_sides_are_counted(root: Path) -> None:
    wave = root / "hmdb51" / "wave"
    (wave / "Film 2 [HD]_wave_f_cm_np1_fr_med_0.avi").rename(wave / "Film 1 [HD]_wave_f_cm_np1_fr_med_7.avi")
    path = root / "hmdb51" / LISTS / "wave_test_split1.txt"
    path.write_text(
        path.read_text().replace("Film 2 [HD]_wave_f_cm_np1_fr_med_0", "Film 1 [HD]_wave_f_cm_np1_fr_med_7")
    )
    assert any("1 films or uploads are on both sides" in note for note in Hmdb51(str(root)).check().notes)


def test_wrong_folders_and_settings_are_one_sentence(root: Path) -> None:
    with pytest.raises(UserError, match="set data_dir="):
        Hmdb51(data_dir=str(root / "hmdb51")).view("camera", 0)
    with pytest.raises(UserError, match="has the views camera"):
        Hmdb51(data_dir=str(root)).view("v01", 0)
    with pytest.raises(UserError, match="split1, split2, split3"):
        Hmdb51(protocol="split4")
    with pytest.raises(UserError, match="at least 8 pixels"):
        Hmdb51(data_dir=str(root), side=0).prepare(quietly)


def test_damage_in_a_video_that_the_split_leaves_out_stops_nobody(root: Path) -> None:
    data = prepared(root)
    flip(data._store().folder, "wave/Film 3 [HD]_wave_f_cm_np1_fr_med_0")
    assert len(data.view("camera", 0).train) == 6
    with pytest.raises(UserError, match="1 prepared clips are damaged, first wave/Film 3"):
        Hmdb51(str(root), protocol="split2", prepared_dir=data.prepared_dir, frames=4, side=16).view("camera", 0)


def test_videos_that_lie_in_no_class_are_one_sentence(root: Path) -> None:
    for path in sorted((root / "hmdb51").glob("*/*.avi")):
        (root / "hmdb51" / "videos").mkdir(exist_ok=True)
        path.rename(root / "hmdb51" / "videos" / path.name)
    with pytest.raises(UserError, match=r"finds videos in .*hmdb51/videos, and none in a folder of one of its 51"):
        Hmdb51(data_dir=str(root), prepared_dir=str(root / "kept")).prepare(quietly)


@pytest.mark.skipif(not REAL.is_dir(), reason="FEDKD_DATA has no hmdb51")
def test_real_clips_are_prepared(tmp_path: Path) -> None:
    data = Hmdb51(prepared_dir=str(tmp_path), frames=8, side=56)
    assert data.prepare(quietly) == [] and len(data.check().clips) == len(read_folder(REAL))
