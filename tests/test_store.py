"""The store of prepared clips: made once, gone on with, and never believed when it is damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from test_utd_mhad import write_clip

from fedkd.data.depth import DepthAugment, small_clip
from fedkd.data.release import as_prepared, prepared
from fedkd.data.store import Store
from fedkd.data.utd_mhad import UtdMhad
from fedkd.errors import UserError
from fedkd.seeding import generator
from simulations.cli import main


def quietly(files: Iterable[Path], count: int, store: Store) -> Iterable[Path]:
    return files


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"clip{n}.bin" for n in range(4)]
    for n, path in enumerate(paths):
        path.write_bytes(bytes([n]) * 6)
    return paths


def make(path: Path) -> np.ndarray | str:
    content = np.frombuffer(path.read_bytes(), np.uint8)
    return content.reshape(2, 3) if len(content) == 6 else f"it has {len(content)} bytes"


def a_store(root: Path, recipe: str = "v1") -> Store:
    return Store(root / "store", recipe, (2, 3), "uint8")


def test_clips_come_back_and_are_made_once(tmp_path: Path, files: list[Path]) -> None:
    store, made = a_store(tmp_path), []

    def counted(path: Path) -> np.ndarray | str:
        made.append(path.stem)
        return make(path)

    assert store.names() == [] and store.out_of_date(files) == [path.stem for path in files]
    assert store.prepare(files, counted, quietly) == []
    store.prepare(files, counted, quietly)
    assert made == [path.stem for path in files] and store.out_of_date(files) == []
    assert {name: int(clip[0, 0]) for name, clip in store.clips().items()} == {f"clip{n}": n for n in range(4)}
    files[2].write_bytes(b"\x09" * 6)
    store.prepare(files, counted, quietly)
    assert made[4:] == ["clip2"] and int(store.clips()["clip2"][0, 0]) == 9


def test_a_second_prepare_is_refused_while_the_first_is_at_work(tmp_path: Path, files: list[Path]) -> None:
    store = a_store(tmp_path)

    def meanwhile(path: Path) -> np.ndarray | str:
        with pytest.raises(UserError, match=r"another `prepare` is at work in .*/store; wait for it, or end it"):
            a_store(tmp_path).prepare(files[:2], make, quietly)
        return make(path)

    assert store.prepare(files, meanwhile, quietly) == [] and len(store.names()) == 4
    assert a_store(tmp_path).prepare(files, make, quietly) == [], "its end lets go of the folder"


def test_a_prepare_that_is_killed_goes_on_where_it_stood(tmp_path: Path, files: list[Path], monkeypatch) -> None:
    monkeypatch.setattr("fedkd.data.store.SAVE_SECONDS", -1.0)
    store, made = a_store(tmp_path), []

    def dying(path: Path) -> np.ndarray | str:
        if path.stem == "clip2" and len(made) == 2:
            raise KeyboardInterrupt
        made.append(path.stem)
        return make(path)

    with pytest.raises(KeyboardInterrupt):
        store.prepare(files, dying, quietly)
    made.append("killed")
    store.prepare(files, dying, quietly)
    assert made == ["clip0", "clip1", "killed", "clip2", "clip3"] and len(store.names()) == 4


def test_files_that_come_or_go_leave_the_others_as_they_are(tmp_path: Path, files: list[Path]) -> None:
    store, made = a_store(tmp_path), []

    def counted(path: Path) -> np.ndarray | str:
        made.append(path.stem)
        return make(path)

    store.prepare(files[1:], counted, quietly)
    files[2].write_bytes(b"\x09" * 6)
    store.prepare(files[:3], counted, quietly)
    assert made == ["clip1", "clip2", "clip3", "clip0", "clip2"]
    assert {name: int(clip[0, 0]) for name, clip in store.clips().items()} == {"clip0": 0, "clip1": 1, "clip2": 9}
    assert store.damaged() == [] and store.begun() == ["clip0", "clip1", "clip2"]


def test_a_broken_file_is_named_and_has_no_clip(tmp_path: Path, files: list[Path]) -> None:
    files[1].write_bytes(b"123")
    store = a_store(tmp_path)
    assert [(fault.name, fault.reason) for fault in store.prepare(files, make, quietly)] == [
        ("clip1", "it has 3 bytes")
    ]
    assert store.names() == ["clip0", "clip2", "clip3"]


def test_a_file_that_was_broken_is_tried_anew(tmp_path: Path, files: list[Path]) -> None:
    store = a_store(tmp_path)
    assert len(store.prepare(files, lambda path: "not today", quietly)) == 4
    assert store.prepare(files, make, quietly) == []


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, files: list[Path]) -> None:
    def while_it_is_copied(path: Path) -> np.ndarray | str:
        clip = make(path)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        return clip

    store = a_store(tmp_path)
    store.prepare(files, while_it_is_copied, quietly)
    assert store.out_of_date(files) == [path.stem for path in files]


def test_files_of_one_stem_are_told_apart_by_their_name(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "clip.bin" for folder in ("a", "b")]
    for n, path in enumerate(paths):
        path.parent.mkdir()
        path.write_bytes(bytes([n]) * 6)
    store = Store(tmp_path / "store", "v1", (2, 3), named=lambda path: f"{path.parent.name}/{path.stem}")
    store.prepare(paths, make, quietly)
    assert {name: int(clip[0, 0]) for name, clip in store.clips().items()} == {"a/clip": 0, "b/clip": 1}


def test_of_nothing_no_store_is_made(tmp_path: Path, files: list[Path]) -> None:
    store = a_store(tmp_path)
    with pytest.raises(UserError, match="store is made of recordings, and none was found"):
        store.prepare([], make, quietly)
    store.prepare(files, make, quietly)
    with pytest.raises(UserError, match="none was found"):
        store.prepare([], make, quietly)
    assert len(store.names()) == 4, "recordings that are away for a day cost nothing"


def test_two_files_of_one_name_are_refused_and_named(tmp_path: Path, files: list[Path]) -> None:
    other = tmp_path / "elsewhere" / "clip2.bin"
    with pytest.raises(UserError, match=rf"{files[2]} and {other} are both clip2"):
        a_store(tmp_path).prepare([*files, other], make, quietly)


def test_damage_and_another_recipe_are_noticed(tmp_path: Path, files: list[Path]) -> None:
    store = a_store(tmp_path)
    store.prepare(files, make, quietly)
    array = tmp_path / "store" / "clips.npy"
    array.write_bytes(array.read_bytes()[:-1] + b"\xff")
    assert store.damaged() == ["clip3"]
    assert a_store(tmp_path, "v2").out_of_date(files) == [path.stem for path in files]
    (tmp_path / "store" / "index.json").write_text("{")
    assert store.names() == []


def test_damaged_clips_are_made_anew_and_no_others(tmp_path: Path, files: list[Path]) -> None:
    store, made = a_store(tmp_path), []

    def counted(path: Path) -> np.ndarray | str:
        made.append(path.stem)
        return make(path)

    store.prepare(files, make, quietly)
    flip(tmp_path / "store", "clip2")
    assert store.damaged() == ["clip2"] and store.out_of_date(files) == []
    assert [fault.name for fault in as_prepared("mine", [(store, files)])[0]] == ["clip2"]
    with pytest.raises(
        UserError, match="1 prepared clips are damaged, first clip2; run `fedkd data prepare mine` again"
    ):
        prepared("mine", store, files)
    store.prepare(files, counted, quietly)
    assert made == ["clip2"] and store.damaged() == [] and int(store.clips()["clip2"][0, 0]) == 2
    assert as_prepared("mine", [(store, files)]) == ([], []) and len(prepared("mine", store, files)) == 4


def flip(folder: Path, name: str) -> None:
    """One bit of a prepared clip turns over."""
    row = json.loads((folder / "index.json").read_bytes())["rows"][name]["row"]
    array = np.load(folder / "clips.npy", mmap_mode="r+")
    array[row].view(np.uint8).reshape(-1)[0] ^= 1
    array.flush()


def test_the_command_ends_with_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for subject in (1, 2):
        write_clip(tmp_path, 1, subject, 1, "skeleton")
        path = tmp_path / "utd_mhad" / "Depth" / f"a1_s{subject}_t1_depth.mat"
        path.parent.mkdir(exist_ok=True)
        scipy.io.savemat(path, {"d_depth": np.full((24, 32, 6), 2 - subject, np.uint16)})
    words = ["data", "prepare", "utd_mhad", f"data_dir={tmp_path}", f"data.prepared_dir={tmp_path}/kept"]
    for made in (1, 0):
        assert main(words) == 1
        said = capsys.readouterr()
        assert said.out.endswith(f"utd_mhad_depth: 1 clips are there, {made} made now, 1 broken\n")
        assert "preparing utd_mhad_depth" in said.out and "fedkd: a1_s2_t1_depth: d_depth is 0" in said.err
    path.unlink()
    assert main(words) == 0
    assert capsys.readouterr().out == "utd_mhad_depth: 1 clips are there, 0 made now, 0 broken\n"


def test_a_place_below_a_file_is_one_sentence(tmp_path: Path, files: list[Path]) -> None:
    with pytest.raises(UserError, match=r"cannot lie in .*clip0.bin/store: Not a directory; set data.prepared_dir="):
        a_store(files[0]).prepare(files, make, quietly)
    assert a_store(files[0]).names() == []


def test_numbers_of_another_kind_keep_their_bits(tmp_path: Path, files: list[Path]) -> None:
    store = Store(tmp_path / "floats", "v1", (2, 3), "float32")
    made = np.array([[0.1, -1e-30, 3e30], [0, 1, np.pi]], np.float32)
    store.prepare(files[:1], lambda path: made, quietly)
    assert store.clips()["clip0"].dtype == np.float32 and store.clips()["clip0"].tobytes() == made.tobytes()
    assert store.damaged() == []
    assert Store(store.folder, "v1", (2, 3), "uint8").names() == [], "its array is of another kind"


def test_depth_is_cut_to_the_person_and_background_stays_zero() -> None:
    depth = np.zeros((60, 80, 5), np.uint16)
    depth[10:50, 30:50] = 2000
    depth[20:30, 30:50, 4] = 1600  # an arm comes nearer by 40 cm, 50 greys
    clip = small_clip(depth, frames=5, side=8)
    assert clip.shape == (5, 8, 8, 1)
    assert clip[0, :, :2].max() == 0 and clip[0, 3, 3, 0] == 128 and clip[4, 3, 3, 0] == 178


def test_depth_augmentation_leaves_the_background_alone() -> None:
    clips = torch.zeros(3, 2, 8, 8, 1, dtype=torch.uint8)
    clips[:, :, 3:5, 3:5] = 100
    moved = DepthAugment()(clips, generator(0, "x"))
    assert moved.dtype == torch.uint8 and not moved.equal(clips)
    assert ((moved == 0) | ((moved >= 80) & (moved <= 120))).all()


def test_utd_depth_asks_to_be_prepared_and_is_then_a_stream(tmp_path: Path) -> None:
    for subject in range(1, 9):
        for action in (1, 2):
            for modality in ("skeleton", "inertial"):
                write_clip(tmp_path, action, subject, 1, modality)
            folder = tmp_path / "utd_mhad" / "Depth"
            folder.mkdir(exist_ok=True)
            values = np.random.default_rng(subject).integers(1, 4000, (24, 32, 6)).astype(np.uint16)
            scipy.io.savemat(folder / f"a{action}_s{subject}_t1_depth.mat", {"d_depth": values})
    data = UtdMhad(data_dir=str(tmp_path), depth=True, prepared_dir=str(tmp_path / "kept"))
    with pytest.raises(UserError, match="fedkd data prepare utd_mhad"):
        data.view("kinect", 0)
    assert data.prepare(quietly) == []
    train = data.view("kinect", 0).train
    assert train.streams["depth"].shape == (6, 16, 48, 48, 1) and train.streams["depth"].dtype == torch.uint8
    assert set(data.view("inertial", 0).train.streams) == {"imu"}
