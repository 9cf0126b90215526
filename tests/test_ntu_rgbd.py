"""NTU RGB+D: its files, their faults, its protocols. Small folders in the published format are written here."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from test_store import flip
from test_video import greys, write_video

from fedkd.assemble import student_course
from fedkd.config import load
from fedkd.data.check import Broken, ClipFact, DataReport
from fedkd.data.ntu_rgbd import IN_ONE_FILE, NtuRgbd
from fedkd.data.ntu_rgbd_files import (
    ACTIONS,
    TRAINING_SUBJECTS,
    Body,
    Name,
    bodies_of,
    files_of,
    main_body,
    name_of,
    read_file,
)
from fedkd.data.ntu_rgbd_missing import MISSING
from fedkd.data.ntu_rgbd_rgb import colour_store
from fedkd.data.skeleton import centred, facing
from fedkd.data.store import Store
from fedkd.errors import Remark, UserError
from simulations.data_report import render

ID = 72057594037931101  # beyond 2**53: as floating-point numbers its neighbours are the same
STANDING = np.stack([np.linspace(-0.2, 0.2, 25), np.linspace(-0.9, 0.8, 25), np.full(25, 3.0)], 1)


def moving(frames: int, by: float, seed: int = 0) -> np.ndarray:
    """A person who stands before the camera and moves by about so many metres.  T 25 3"""
    return (STANDING + np.random.default_rng(seed).normal(0, by, (frames, 1, 3))).astype(np.float32)


def text(frames: Sequence[Sequence[tuple[int, np.ndarray]]], newline: str = "\n") -> bytes:
    """A .skeleton file of frames of (id, joints [J 3])."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for identity, joints in bodies:
            lines += [f"{identity} 0 1 1 1 1 0 0.02764709 0.05745083 2", str(len(joints))]
            lines += [f"{x:.7g} {y:.7g} {z:.7g} 277.4 191.8 1036.2 519.2 -0.2 0.05 0.97 -0.12 2" for x, y, z in joints]
    return (newline.join(lines) + newline).encode()


def folder(root: Path) -> Path:
    path = root / "ntu_rgbd" / "nturgb+d_skeletons"
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_clip(root: Path, name: Name) -> Path:
    """A clip of the published format; one of the mutual actions has two bodies."""
    stem = "S{:03}C{:03}P{:03}R{:03}A{:03}".format(*(getattr(name, field) for field in Name.__slots__))
    people = 2 if 50 <= name.action <= 60 else 1
    clips = [moving(14, 0.1 + person, hash(name) % 2**32) for person in range(people)]
    path = folder(root) / f"{stem}.skeleton"
    path.write_bytes(text([[(ID + person, clips[person][t]) for person in range(people)] for t in range(14)]))
    return path


def write_release(
    root: Path, setups: Iterable[int] = (1,), performers: Iterable[int] = (1, 2, 3), actions: Iterable[int] = (1, 9, 54)
) -> Path:
    """Three cameras, two replications."""
    for setup, camera, performer, replication, action in product(setups, (1, 2, 3), performers, (1, 2), actions):
        write_clip(root, Name(setup, camera, performer, replication, action))
    return root


def quietly(files: Iterable[Path], count: int, store: Store) -> Iterable[Path]:
    return files


def at(root: Path, **settings: Any) -> NtuRgbd:
    return NtuRgbd(data_dir=str(root), prepared_dir=str(root / "prepared"), **settings)


def opened(root: Path, frames: int = 8, **settings: Any) -> NtuRgbd:
    data = at(root, frames=frames, **settings)
    data.prepare(quietly)
    return data


class TestFiles:
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_bodies_come_and_go_under_their_ids(self, newline: str) -> None:
        one, two = moving(4, 0.1), moving(4, 0.2, seed=1)
        frames = [[(ID, one[0])], [], [(ID, one[2]), (ID + 1, two[2])], [(ID + 1, two[3])]]
        first, second = bodies_of(text(frames, newline))
        assert first.frames == [0, 2] and second.frames == [2, 3]
        assert torch.allclose(first.joints, torch.from_numpy(one[[0, 2]]), atol=1e-6)
        assert torch.allclose(second.joints, torch.from_numpy(two[[2, 3]]), atol=1e-6)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "line 1 is no count"),
            (b"0\r\n", "no frame has a body"),
            (text([[], []]), "no frame has a body"),
            (text([[(ID, STANDING)]] * 2)[:-700], "it ends before its last frame|numbers, not 12"),
            (text([[(ID, STANDING)]] * 2).replace(b"2\n", b"-2\n", 1), "line 1 is no count"),
            (text([[(ID, STANDING)]] * 2).replace(b"2\n", b"3\n", 1), "it ends before its last frame"),
            (text([[(ID, STANDING)]] * 2).replace(b"2\n", b"1\n", 1), "it goes on after its 1 frames"),
            (text([[(ID, STANDING[:20])]]), "frame 0 has a body of 20 joints, not 25"),
            (text([[(ID, np.where(STANDING == 3.0, np.nan, STANDING))]]), "a coordinate is not finite"),
            (text([[(ID, np.where(STANDING == 3.0, 1e300, STANDING))]]), "a coordinate is not finite"),
            (text([[(ID, STANDING)]]).replace(b" 191.8 ", b" ", 1), "line 5 has 11 numbers, not 12"),
            (text([[(ID, STANDING)]]).replace(b"-0.2 -0.9", b"-0.2 here", 1), "could not convert"),
            (bytes(range(256)) * 9, "line 1 is no count"),
        ],
    )
    def test_a_broken_file_says_why(self, tmp_path: Path, content: bytes, reason: str) -> None:
        path = tmp_path / "S001C001P001R001A001.skeleton"
        path.write_bytes(content)
        fault = read_file(path)
        assert isinstance(fault, Broken) and fault.name == path.name
        assert any(words in fault.reason for words in reason.split("|")), fault.reason

    @pytest.mark.parametrize(
        "stem",
        ["S001C001P001R001A061", "S018C001P001R001A060", "S033C001P001R001A061", "S001C004P001R001A001", "S1C1P1R1A1"],
    )
    def test_a_clip_that_the_data_set_does_not_have(self, tmp_path: Path, stem: str) -> None:
        path = tmp_path / f"{stem}.skeleton"
        path.write_bytes(text([[(ID, STANDING)]]))
        assert "its name is not" in read_file(path).reason  # type: ignore[union-attr]

    def test_every_performance_has_an_id_of_its_own(self) -> None:
        names = [
            Name(setup, 1, performer, replication, action)
            for setup, performer, replication in product((1, 32), range(1, 107, 5), (1, 2))
            for action in range(1, 121)
        ]
        ids = [name.event for name in names]
        assert len(set(ids)) == len(ids) and max(ids) < 2**32
        classes = [name.action for name in sorted(names, key=lambda n: n.event)]
        assert np.mean(np.diff(classes) == 0) < 0.02, "ids in order do not sort the classes"


class TestMainBody:
    def body(self, frames: Sequence[int], by: float, seed: int = 0) -> Body:
        return Body(list(frames), torch.from_numpy(moving(len(frames), by, seed)))

    def test_the_one_who_moves_most(self) -> None:
        still, lively = self.body(range(20), 0.01), self.body(range(20), 0.3)
        assert main_body([still, lively]).equal(lively.joints) and main_body([lively, still]).equal(lively.joints)

    def test_a_short_one_is_noise_unless_all_are(self) -> None:
        person, flash = self.body(range(20), 0.1), self.body(range(11), 3.0)
        assert main_body([person, flash]).equal(person.joints)
        assert main_body([flash]).equal(flash.joints)

    def test_a_wide_one_is_furniture(self) -> None:
        person, sofa = self.body(range(20), 0.1), self.body(range(20), 3.0)
        sofa = Body(sofa.frames, sofa.joints * torch.tensor([9.0, 1.0, 1.0]))
        assert main_body([sofa, person]).equal(person.joints)
        assert main_body([sofa]).equal(sofa.joints)

    def test_frames_in_which_a_person_is_too_wide_do_not_count_as_motion(self) -> None:
        person, other = self.body(range(20), 0.2), self.body(range(20), 0.1)
        other.joints[:6] *= torch.tensor([20.0, 1.0, 1.0])
        assert main_body([person, other]).equal(person.joints)

    def test_the_same_person_under_another_id(self) -> None:
        before, after, beside = self.body(range(12), 0.1), self.body(range(14, 40), 0.3), self.body(range(40), 0.05)
        joints = main_body([before, beside, after])
        assert joints.equal(torch.cat([before.joints, after.joints]))

    def test_frames_without_the_person_are_cut(self) -> None:
        assert len(main_body([self.body([0, 1, 5, 6], 0.1)])) == 4


class TestMissing:
    def test_the_authors_lists(self) -> None:
        names = [name_of(stem) for stem in MISSING]
        assert len(names) == 535 and sum(name is not None and name.setup <= 17 for name in names) == 302
        assert None not in names and digest(MISSING) == "7585cf594a1eb3ee"  # compared with the authors' list

    def test_its_clips_are_left_out_unread(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        (folder(tmp_path) / "S001C002P005R002A008.skeleton").write_bytes(b"0\n")
        data = opened(tmp_path)
        assert data.prepare(quietly) == [] and len(data.view("v02", 0).train) == 12
        report = data.check()
        assert report.exit_code == 0 and len(report.clips) == 54
        assert any("1 clips are on the authors' list" in note for note in report.notes)


def digest(names: Iterable[object]) -> str:
    """Of a published list, so that no number of it changes unseen."""
    return hashlib.sha256(" ".join(map(str, sorted(names))).encode()).hexdigest()[:16]


class TestProtocols:
    def test_published_subjects(self) -> None:
        assert [len(set(TRAINING_SUBJECTS[k])) for k in (60, 120)] == [20, 53]
        assert set(TRAINING_SUBJECTS[60]) == {s for s in TRAINING_SUBJECTS[120] if s <= 40}
        assert max(TRAINING_SUBJECTS[120]) <= 106 and len(set(ACTIONS)) == 120
        lists = [digest(TRAINING_SUBJECTS[k]) for k in (60, 120)]  # compared with the published ones
        assert lists == ["1aae710628c60311", "b41ce54adc76ad4b"]

    def test_across_subjects(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        data = opened(tmp_path)
        people = data.subjects()
        views = [data.view(name, 0) for name in data.view_names()]
        for view in views:
            assert {people[event] for event in view.train.ids.tolist()} == {1, 2}
            assert {people[event] for event in view.test.ids.tolist()} == {3}
            assert view.shared.all() and set(view.train.labels.tolist()) == {0, 8, 53}
            assert view.train.streams["skeleton"].shape == (12, 8, 25, 3) and len(view.valid) == 0
        assert views[0].train.ids.equal(views[2].train.ids)
        assert not views[0].train.streams["skeleton"].equal(views[2].train.streams["skeleton"])

    def test_some_training_subjects_validate(self, tmp_path: Path) -> None:
        write_release(tmp_path, performers=(1, 2, 3, 35, 38))
        data = opened(tmp_path, valid=0.1)
        people = data.subjects()
        assert {people[event] for event in data.view("v01", 0).valid.ids.tolist()} == {35, 38}
        assert {people[event] for event in data.view("v01", 0).train.ids.tolist()} == {1, 2}

    def test_across_views(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        data = opened(tmp_path, protocol="x_view")
        assert data.view_names() == ("v02", "v03")
        first, second = data.view("v02", 0), data.view("v03", 0)
        assert (len(first.train), len(first.valid), len(first.test)) == (18, 0, 18) and first.shared.all()
        assert first.test.streams["skeleton"].equal(second.test.streams["skeleton"])
        assert set(first.test.ids.tolist()) == set(first.train.ids.tolist()), "transductive"
        with pytest.raises(UserError, match="x_view has the views v02, v03, got 'v01'"):
            data.view("v01", 0)

    def test_across_setups_and_classes_beyond_60(self, tmp_path: Path) -> None:
        write_release(tmp_path, setups=(1, 2))
        write_release(tmp_path, setups=(18, 19), actions=(61, 120))
        data = opened(tmp_path, protocol="x_set", num_classes=120)
        view = data.view("v03", 0)
        assert (len(view.train), len(view.test)) == (18 + 12, 18 + 12)
        assert set(view.train.labels.tolist()) == {0, 8, 53, 60, 119} and view.num_classes == 120
        assert len(opened(tmp_path).view("v03", 0).train) == 24, "60 classes leave the others out"

    def test_the_second_folder_of_120(self, tmp_path: Path) -> None:
        write_release(tmp_path, setups=(18,), actions=(61, 62))
        folder(tmp_path).rename(tmp_path / "ntu_rgbd" / "nturgb+d_skeletons120")
        write_release(tmp_path)
        assert len(opened(tmp_path, num_classes=120).view("v01", 0).train) == 12 + 8

    def test_a_clip_in_both_folders_is_counted_or_refused(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        first = folder(tmp_path) / "S001C001P001R001A001.skeleton"
        again = tmp_path / "ntu_rgbd" / "nturgb+d_skeletons120" / first.name
        again.parent.mkdir()
        again.write_bytes(first.read_bytes())
        data = opened(tmp_path)
        assert (
            len(data.check().clips) == 54 and first in files_of(str(tmp_path)) and again not in files_of(str(tmp_path))
        )
        note = "1 clips lie in both nturgb+d_skeletons and nturgb+d_skeletons120, alike, and are taken once"
        assert note in data.check().notes and len(data.view("v01", 0).train) == 12
        again.write_bytes(first.read_bytes().replace(b" 2\n", b" 1\n", 1))
        for look in (data.check, lambda: data.prepare(quietly), lambda: data.view("v02", 0)):
            with pytest.raises(UserError, match=f"{first.name} lies in .* and, with other content, in"):
                look()

    def test_labels_are_drawn_by_seed_and_view(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        data = opened(tmp_path, labels=0.25)
        first, again = data.view("v01", 0).train.labels, data.view("v01", 0).train.labels
        assert (first >= 0).sum() == 3 and first.equal(again) and not first.equal(data.view("v02", 0).train.labels)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"source": "h5"}, {"protocol": "x_set"}, {"protocol": "x_view", "num_classes": 120}, {"num_classes": 61},
            {"valid": 1.0}, {"valid": 0.1, "protocol": "x_view"}, {"labels": 0.0}, {"frames": 1},
        ],
    )  # fmt: skip
    def test_settings_that_nobody_published_are_refused(self, wrong: dict) -> None:
        with pytest.raises(UserError, match="ntu_rgbd"):
            NtuRgbd(**wrong)


class TestPreparing:
    def test_clips_are_prepared_first_and_may_be_thin(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        data = at(tmp_path)
        with (
            pytest.warns(Remark, match="54 of 56578 published clips"),
            pytest.raises(UserError, match=r"54 of 54 clips are not prepared .*`fedkd data prepare ntu_rgbd` once"),
        ):
            data.view("v01", 0)
        assert any("54 of 54 clips are not prepared" in note for note in data.check().notes)

    def test_a_broken_clip_is_named_by_all_who_look(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        path = folder(tmp_path) / "S001C001P001R001A001.skeleton"
        path.write_bytes(path.read_bytes()[:3000])
        unprepared = at(tmp_path, frames=8)
        assert [path.stem in fault.name for fault in unprepared.check().broken] == [True]
        data = opened(tmp_path)
        assert [path.stem in fault.name for fault in data.check().broken] == [True] and data.check().exit_code == 1
        assert len(data.check().clips) == 53
        with pytest.raises(UserError, match=f"1 recordings are broken, first {path.stem}: .*truncated or damaged"):
            data.view("v02", 0)

    def test_prepared_clips_are_centred_and_measured_in_torsos(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        clips = opened(tmp_path, frames=14).view("v01", 0).train.streams["skeleton"]
        assert clips[:, :, 0].mean(1).abs().max() < 1e-5
        assert torch.allclose((clips[:, :, 20] - clips[:, :, 0]).norm(dim=-1), torch.ones(12, 14), atol=1e-4)

    def test_a_long_table_is_summed_up(self) -> None:
        clips = [ClipFact("v01", str(n), f"action {n:03}", "s001") for n in range(120)]
        screen = Console(width=80, file=io.StringIO())
        screen.print(render(DataReport("ntu_rgbd", "here", ("v01",), clips)))
        text = screen.file.getvalue()  # type: ignore[attr-defined]
        assert "action 029" in text and "action 030" not in text
        assert any(line.split()[:4] == ["...", "90", "more", "90"] for line in text.splitlines())

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"finds no nturgb\+d_skeletons/\*.skeleton"):
            NtuRgbd(data_dir=str(tmp_path)).check()


def write_pickle(root: Path, stems: Iterable[str], **wrong: Any) -> Path:
    """PYSKL's pickle of clips with 16 frames and a second person who is seen in half of them and moves less."""
    annotations = []
    for stem in stems:
        people = np.stack([moving(16, 0.3), moving(16, 0.05)]).astype(np.float16)
        people[1, :8] = 0
        annotations.append(
            {"frame_dir": stem, "label": int(stem[-3:]) - 1, "total_frames": 16, "keypoint": people, **wrong}
        )
    path = root / "ntu_rgbd" / "ntu60_3danno.pkl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps({"split": {}, "annotations": annotations}))
    return path


class TestPyskl:
    STEMS = tuple(f"S001C{c:03}P{p:03}R001A{a:03}" for c, p, a in product((1, 2, 3), (1, 2, 3), (1, 9)))

    def test_clips_are_those_of_the_pickle(self, tmp_path: Path) -> None:
        write_pickle(tmp_path, self.STEMS)
        view = opened(tmp_path, frames=16, source="pyskl").view("v01", 0)
        assert (len(view.train), len(view.test)) == (4, 2) and set(view.train.labels.tolist()) == {0, 8}
        joints = torch.from_numpy(moving(16, 0.3).astype(np.float16).astype(np.float32))
        expected = centred(facing(joints))
        assert torch.allclose(view.train.streams["skeleton"][0], expected, atol=1e-5)

    def test_ids_are_those_of_the_release(self, tmp_path: Path) -> None:
        write_pickle(tmp_path, self.STEMS)
        write_release(tmp_path, actions=(1, 9))
        ids = set(opened(tmp_path).view("v01", 0).train.ids.tolist())
        assert set(opened(tmp_path, source="pyskl").view("v01", 0).train.ids.tolist()) < ids

    def test_once_prepared_it_is_not_opened_until_it_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_pickle(tmp_path, self.STEMS)
        unprepared = at(tmp_path, frames=8, source="pyskl")
        with pytest.raises(UserError, match="18 of 18 clips are not prepared"):
            unprepared.view("v01", 0)
        assert len(unprepared.check().clips) == 18
        data = opened(tmp_path, source="pyskl")
        with monkeypatch.context() as patched:
            patched.setitem(IN_ONE_FILE, "pyskl", (IN_ONE_FILE["pyskl"][0], None))
            assert len(data.view("v01", 0).train) == 4 and len(data.check().clips) == 18
        os.utime(path, (0, 0))
        with pytest.raises(UserError, match="18 of 18 clips are not prepared or have changed"):
            data.view("v01", 0)

    def test_a_damaged_clip_is_named_and_made_anew(self, tmp_path: Path) -> None:
        write_pickle(tmp_path, self.STEMS)
        data = opened(tmp_path, source="pyskl")
        flip(data._store().folder, self.STEMS[3])
        assert [fault.name for fault in data.check().broken] == [self.STEMS[3]]
        with pytest.raises(UserError, match="1 prepared clips are damaged"):
            data.view("v01", 0)
        assert len(data.view("v02", 0).train) == 4, "it is none of v02's"
        assert data.prepare(quietly) == [] and data.check().broken == [] and len(data.view("v01", 0).train) == 4

    def test_a_prepare_that_was_killed_is_not_taken_for_the_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_pickle(tmp_path, self.STEMS)
        monkeypatch.setattr("fedkd.data.store.SAVE_SECONDS", -1.0)
        data = at(tmp_path, frames=8, source="pyskl")

        def dying(clips: Iterable[Any], count: int, store: Store) -> Iterable[Any]:
            yield from list(clips)[:12]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            data.prepare(dying)
        with pytest.raises(UserError, match="6 of 18 clips are not prepared"):
            data.view("v01", 0)
        assert data.prepare(quietly) == [] and len(data.view("v01", 0).train) == 4

    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            ({"label": 7}, "its label is 7, its name says 0"),
            ({"label": np.array([0, 0])}, "its label is no whole number"),
            ({"keypoint": np.zeros((1, 4, 17, 2), np.float32)}, r"its keypoint is [1, 4, 17, 2], not [M T 25 3]"),
            ({"keypoint": np.full((1, 4, 25, 3), np.nan)}, "not finite"),
            ({"keypoint": np.full((1, 4, 25, 3), 1e300)}, "not finite"),
            ({"keypoint": np.zeros((1, 4, 25, 3), int)}, "no array 'keypoint' of floating-point numbers"),
            ({"keypoint": None}, "no array 'keypoint' of floating-point numbers"),
            ({"keypoint": np.zeros((2, 4, 25, 3))}, "no frame has a body"),
        ],
    )
    def test_a_broken_clip_says_why(self, tmp_path: Path, wrong: dict, reason: str) -> None:
        write_pickle(tmp_path, ["S001C001P001R001A001"], **wrong)
        data = opened(tmp_path, source="pyskl")
        for faults in (data.check().broken, data.prepare(quietly)):
            assert [fault.name for fault in faults] == ["S001C001P001R001A001"] and reason in faults[0].reason

    def test_a_clip_that_is_there_twice_is_broken(self, tmp_path: Path) -> None:
        write_pickle(tmp_path, ["S001C001P001R001A001", "S001C002P001R001A001", "S001C001P001R001A001"])
        data = opened(tmp_path, source="pyskl")
        for faults in (data.check().broken, data.prepare(quietly)):
            assert [(fault.name, fault.reason) for fault in faults] == [
                ("S001C001P001R001A001", "it is there 2 times; keep one")
            ]

    def test_another_pickle_or_none_is_one_sentence(self, tmp_path: Path) -> None:
        data = NtuRgbd(data_dir=str(tmp_path), prepared_dir=str(tmp_path), source="pyskl")
        with pytest.raises(UserError, match=r"finds no ntu60_3danno\.pkl"):
            data.check()
        for content in ([1], {"annotations": [{"name": "x"}]}, {"annotations": 3}):
            write_pickle(tmp_path, []).write_bytes(pickle.dumps(content))
            with pytest.raises(UserError, match="holds no list 'annotations'"):
                data.check()
        write_pickle(tmp_path, [])
        with pytest.raises(UserError, match="its list 'annotations' holds no clip"):
            data.prepare(quietly)


def arrays(root: Path, file: str, num_classes: int = 60, frames: int = 20) -> dict[str, np.ndarray]:
    """What CTR-GCN's scripts make of a folder's clips, and its list; they sort by people, cameras or setups."""
    found = {path.stem: path for path in files_of(str(root))}
    (root / "ntu_rgbd" / "skes_available_name.txt").write_text("\n".join(found))
    performers = TRAINING_SUBJECTS[num_classes]
    by, train = {
        "NTU60_CS": (slice(8, 12), [f"P{p:03}" for p in performers]),
        "NTU60_CV": (slice(4, 8), ["C002", "C003"]),
        "NTU120_CSub": (slice(8, 12), [f"P{p:03}" for p in performers]),
        "NTU120_CSet": (slice(0, 4), [f"S{s:03}" for s in range(2, 33, 2)]),
    }[file]
    test = sorted({stem[by] for stem in found} - set(train))
    made = {}
    for part, groups in (("train", train), ("test", test)):
        stems = [stem for group in groups for stem in found if stem[by] == group]
        x, y = np.zeros((len(stems), frames, 150), np.float32), np.zeros((len(stems), num_classes))
        for row, stem in enumerate(stems):
            bodies = sorted(bodies_of(found[stem].read_bytes()), key=lambda b: -b.joints.flatten(0, 1).var(0).sum())
            origin = bodies[0].joints[0, 1]
            for person, body in enumerate(bodies):
                x[row, body.frames, 75 * person : 75 * person + 75] = (body.joints - origin).flatten(1).numpy()
            if len(bodies) == 1 and num_classes == 120:
                x[row, :, 75:] = x[row, :, :75]
            y[row, int(stem[-3:]) - 1] = 1
        made |= {f"x_{part}": x, f"y_{part}": y}
    return made


def write_npz(root: Path, file: str = "NTU60_CS", num_classes: int = 60, **wrong: np.ndarray) -> Path:
    path = root / "ntu_rgbd" / f"{file}.npz"
    np.savez(path, **{**arrays(root, file, num_classes), **wrong})
    return path


class TestNpz:
    @pytest.mark.parametrize(
        ("file", "num_classes", "protocol"),
        [
            ("NTU60_CS", 60, "x_view"),
            ("NTU60_CV", 60, "x_sub"),
            ("NTU120_CSub", 120, "x_set"),
            ("NTU120_CSet", 120, "x_sub"),
        ],
    )
    def test_every_clip_of_every_camera_is_that_of_the_release(
        self, tmp_path: Path, file: str, num_classes: int, protocol: str
    ) -> None:
        write_release(tmp_path, setups=(1, 2), performers=(5, 3, 1), actions=(1, 54))
        if num_classes == 120:
            write_release(tmp_path, setups=(18, 19), performers=(45, 106), actions=(61, 120))
        write_npz(tmp_path, file, num_classes)
        settings = {"num_classes": num_classes, "protocol": protocol}
        data, release = opened(tmp_path, source="npz", **settings), opened(tmp_path, **settings)
        assert data.view_names() == release.view_names() and data.subjects() == release.subjects()
        for name in data.view_names():
            mine, theirs = data.view(name, 0), release.view(name, 0)
            for clips, expected in ((mine.train, theirs.train), (mine.test, theirs.test)):
                assert clips.ids.equal(expected.ids) and clips.labels.equal(expected.labels) and len(clips)
                assert torch.allclose(clips.streams["skeleton"], expected.streams["skeleton"], atol=1e-5)

    def test_the_list_of_120_serves_60(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        write_npz(tmp_path)
        names = tmp_path / "ntu_rgbd" / "skes_available_name.txt"
        names.write_text(names.read_text() + "\nS018C001P008R001A061\n")
        assert len(opened(tmp_path, source="npz").view("v01", 0).train) == 12

    def test_once_prepared_it_is_not_opened_until_it_changes(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        path = write_npz(tmp_path)
        data, stat = opened(tmp_path, source="npz"), path.stat()
        path.write_bytes(b"\0" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert len(data.view("v01", 0).train) == 12
        os.utime(path, (0, 0))
        with pytest.raises(UserError, match="no whole npz"):
            data.view("v01", 0)
        path.unlink()
        with pytest.raises(UserError, match=r"finds no NTU60_CS\.npz and no NTU60_CV\.npz"):
            data.view("v01", 0)

    @pytest.mark.parametrize(
        ("value", "reason"), [(np.nan, "a coordinate is not finite"), (0.0, "no frame has a body")]
    )
    def test_a_broken_clip_is_named(self, tmp_path: Path, value: float, reason: str) -> None:
        write_release(tmp_path)
        clips = arrays(tmp_path, "NTU60_CS")["x_test"]
        clips[4] = value
        write_npz(tmp_path, x_test=clips)
        data = opened(tmp_path, source="npz")
        for faults in (data.check().broken, data.prepare(quietly)):
            assert [(fault.name, fault.reason) for fault in faults] == [("S001C001P003R002A009", reason)]
        with pytest.raises(UserError, match="1 recordings are broken, first S001C001P003R002A009"):
            data.view("v01", 0)

    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            ({"x_train": np.zeros((36, 20, 75), np.float32)}, r"x_train is \[36, 20, 75\], not \[N T 150\]"),
            ({"x_test": np.zeros((18, 3000), np.float32)}, r"x_test is \[18, 3000\], not \[N T 150\]"),
            ({"x_test": np.zeros((17, 20, 150), np.float32)}, "x_test has 17 clips and y_test 18, .* lists 18 to test"),
            ({"y_train": np.zeros((36, 120))}, r"y_train is \[36, 120\], not \[N 60\]"),
            ({"y_train": np.zeros(36)}, r"y_train is \[36\], not \[N 60\]"),
            (
                {"y_test": np.zeros((18, 60))},
                "row 0 of y_test is of no one class, by .* it is of class 0",
            ),
            ({"y_test": np.eye(60)[:18]}, "row 1 of y_test is of class 1, by .* it is of class 8"),
            ({"x_train": np.full((36, 20, 150), None)}, "x_train is an array of object, not of floating-point numbers"),
            ({"y_test": np.full((18, 60), None)}, "y_test is an array of object, not of floating-point numbers"),
            ({"x_train": np.zeros((36, 20, 150), int)}, "x_train is an array of int64"),
        ],
    )
    def test_arrays_that_the_scripts_do_not_write(self, tmp_path: Path, wrong: dict, reason: str) -> None:
        write_release(tmp_path)
        write_npz(tmp_path, **wrong)
        with pytest.raises(UserError, match=rf"NTU60_CS\.npz: {reason}.*; make it anew with CTR-GCN's scripts"):
            opened(tmp_path, source="npz")

    def test_another_order_of_the_clips_is_refused(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        (folder(tmp_path) / "S001C001P002R001A009.skeleton").unlink()
        made = arrays(tmp_path, "NTU60_CS")
        order = np.r_[17:35, 0:17]
        write_npz(tmp_path, x_train=made["x_train"][order], y_train=made["y_train"][order])
        with pytest.raises(UserError, match=r"row .* of y_train is of class"):
            opened(tmp_path, source="npz")

    def test_a_file_that_is_no_such_npz(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        path = write_npz(tmp_path)
        whole, made = path.read_bytes(), arrays(tmp_path, "NTU60_CS")
        np.savez_compressed(path, **made)
        faults = {"is compressed, so it cannot be mapped": path.read_bytes()}
        np.savez(path, x_train=made["x_train"])
        faults |= {"it lacks y_train": path.read_bytes(), "no whole npz, truncated": whole[: len(whole) // 2]}
        for reason, content in [*faults.items(), ("no whole npz", pickle.dumps([1]))]:
            path.write_bytes(content)
            with pytest.raises(UserError, match=reason):
                at(tmp_path, source="npz").check()

    def test_without_its_list_no_clip_has_a_camera(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        write_npz(tmp_path)
        names = tmp_path / "ntu_rgbd" / "skes_available_name.txt"
        names.write_text(names.read_text() + "\nS001C009P001R001A001")
        with pytest.raises(UserError, match="lists 'S001C009P001R001A001', which is no clip"):
            opened(tmp_path, source="npz")
        names.unlink()
        with pytest.raises(
            UserError, match=r"skes_available_name\.txt, which says which clip of an npz is which: copy"
        ):
            opened(tmp_path, source="npz")


def film(root: Path, stem: str, level: int) -> Path:
    """A clip's video, of greys that begin at a level."""
    return write_video(root / "ntu_rgbd" / "nturgb+d_rgb" / f"{stem}_rgb.avi", greys(level + 16, 36, 64)[level:])


class TestColours:
    def filmed(self, root: Path, **settings: Any) -> NtuRgbd:
        """A release with performers 1 and 3, each clip's grey beginning at 4 times its camera, plus its performer."""
        write_release(root, performers=(1, 3), actions=(1, 9))
        for path in files_of(str(root)):
            name = name_of(path.stem)
            assert name is not None
            film(root, path.stem, 4 * name.camera + name.performer)
        return at(root, frames=8, rgb=True, side=16, **settings)

    @pytest.mark.parametrize("source", ["skeletons", "npz"])
    def test_they_are_prepared_and_lie_beside_each_camera_s_skeletons(self, tmp_path: Path, source: str) -> None:
        data = self.filmed(tmp_path, source=source)
        write_npz(tmp_path)
        assert "24 videos not read yet: `fedkd data prepare ntu_rgbd` reads them once" in data.check().notes
        assert data.prepare(quietly) == [] and data.check().exit_code == 0 and not data.check().notes
        for camera in (1, 2, 3):
            view = data.view(f"v0{camera}", 0)
            for clips, performer in ((view.train, 1), (view.test, 3)):
                rgb = clips.streams["rgb"]
                assert rgb.shape == (4, 16, 16, 16, 3) and rgb.dtype == torch.uint8 and len(clips) == 4
                assert (rgb[:, 0].float().mean((1, 2, 3)) / 6).round().tolist() == [4 * camera + performer] * 4
            assert set(view.train.streams) == {"skeleton", "rgb"}

    def test_damaged_colours_stop_the_camera_that_takes_them(self, tmp_path: Path) -> None:
        data = self.filmed(tmp_path)
        data.prepare(quietly)
        flip(colour_store(data.prepared_dir, data.side).folder, "S001C001P001R001A001_rgb")
        with pytest.raises(UserError, match="1 prepared clips are damaged, first S001C001P001R001A001_rgb"):
            data.view("v01", 0)
        assert len(data.view("v03", 0).train) == 4
        crossed = replace(data, protocol="x_view")
        with pytest.raises(UserError, match="1 prepared clips are damaged"):
            crossed.view("v03", 0)  # v01 tests it

    def test_a_visual_student_takes_them(self, tmp_path: Path) -> None:
        data = self.filmed(tmp_path)
        data.prepare(quietly)
        train = data.view("v02", 0).train
        course = student_course(load(["data=ntu_rgbd", "student=rgb_small"]))
        clips = train.streams[course.modality]
        net = course.make(tuple(clips.shape[1:]), 60)
        assert net(course.augment(clips, torch.Generator())).shape == (4, 60)

    def test_clips_without_are_left_out_and_counted(self, tmp_path: Path) -> None:
        data = self.filmed(tmp_path)
        (tmp_path / "ntu_rgbd" / "nturgb+d_rgb" / "S001C002P001R001A001_rgb.avi").unlink()
        data.prepare(quietly)
        with pytest.warns(Remark, match="1 of 24 clips lack rgb"):
            views = {name: data.view(name, 0) for name in data.view_names()}
        assert [len(view.train) for view in views.values()] == [4, 3, 4]
        assert views["v02"].shared.all() and views["v01"].shared.all(), "v03 filmed it too"

    def test_a_broken_or_misnamed_video_is_named_and_refused(self, tmp_path: Path) -> None:
        data = self.filmed(tmp_path)
        videos = tmp_path / "ntu_rgbd" / "nturgb+d_rgb"
        broken = videos / "S001C001P001R001A001_rgb.avi"
        broken.write_bytes(broken.read_bytes()[:2000])
        film(tmp_path, "S001C001P001R001A061", 1)
        film(tmp_path, next(stem for stem in MISSING if stem.startswith("S001")), 1).write_bytes(b"unread")
        faults = {fault.name: fault.reason for fault in data.prepare(quietly)}
        assert (
            set(faults) == {broken.stem, "S001C001P001R001A061_rgb"}
            and "its name" in faults["S001C001P001R001A061_rgb"]
        )
        report = data.check()
        assert {fault.name for fault in report.pictures} == set(faults) and report.exit_code == 1
        assert len(report.clips) == 24, "their skeletons are whole"
        with pytest.raises(UserError, match=f"2 recordings are broken, first {broken.stem}"):
            data.view("v01", 0)

    def test_none_and_not_prepared_are_one_sentence(self, tmp_path: Path) -> None:
        write_release(tmp_path)
        opened(tmp_path)
        data = at(tmp_path, frames=8, rgb=True, side=16)
        with pytest.raises(UserError, match=r"finds no nturgb\+d_rgb/\*\.avi"):
            data.view("v01", 0)
        film(tmp_path, "S001C001P001R001A001", 1)
        with pytest.raises(UserError, match="1 of 1 clips are not prepared"):
            data.view("v01", 0)


@pytest.mark.skipif(
    not Path(os.environ.get("FEDKD_DATA", ""), "ntu_rgbd", "nturgb+d_skeletons").is_dir(),
    reason="FEDKD_DATA has no ntu_rgbd",
)
class TestReal:
    """Clips of the release itself, of which nine are at hand."""

    def test_they_are_whole_and_prepared_alike(self, tmp_path: Path) -> None:
        data = NtuRgbd(prepared_dir=str(tmp_path))
        assert data.prepare(quietly) == []
        report = data.check()
        assert report.exit_code == 0 and len(report.clips) >= 9 and not report.notes
        for clip in data._store().clips().values():
            joints = torch.from_numpy(np.array(clip))
            assert joints.shape == (64, 25, 3) and joints.isfinite().all() and joints.abs().max() < 10
            assert (joints[:, 3, 1] > joints[:, 0, 1]).float().mean() > 0.9, "heads are above hips"

    def test_the_first_clip(self) -> None:
        path = Path(os.environ["FEDKD_DATA"], "ntu_rgbd/nturgb+d_skeletons/S001C001P001R001A001.skeleton")
        [body] = bodies_of(path.read_bytes())
        assert list(body.frames) == list(range(103))
        assert torch.allclose(body.joints[0, 0], torch.tensor([0.2181153, 0.1725972, 3.785547]))

    def test_two_people(self) -> None:
        path = Path(os.environ["FEDKD_DATA"], "ntu_rgbd/nturgb+d_skeletons/S001C001P001R001A050.skeleton")
        first, second = bodies_of(path.read_bytes())
        assert len(first.frames) == len(second.frames) == 74
        assert main_body([first, second]).equal(second.joints), "variance 0.224 against 0.139"

    def test_an_npz_of_them_gives_the_same_clips(self, tmp_path: Path) -> None:
        (tmp_path / "ntu_rgbd").mkdir()
        (tmp_path / "ntu_rgbd" / "nturgb+d_skeletons").symlink_to(
            Path(os.environ["FEDKD_DATA"], "ntu_rgbd", "nturgb+d_skeletons").resolve()
        )
        np.savez(tmp_path / "ntu_rgbd" / "NTU60_CS.npz", **arrays(tmp_path, "NTU60_CS", frames=300))
        release, npz = opened(tmp_path), opened(tmp_path, source="npz")
        expected = release._store().clips()
        found = npz._store().clips()
        assert set(found) == set(expected) and len(found) >= 9
        assert all(np.allclose(found[stem], expected[stem], atol=1e-4) for stem in found)

    def test_the_first_clip_s_colours(self, tmp_path: Path) -> None:
        if not Path(os.environ["FEDKD_DATA"], "ntu_rgbd/nturgb+d_rgb").is_dir():
            pytest.skip("FEDKD_DATA has no ntu_rgbd/nturgb+d_rgb")
        data = NtuRgbd(prepared_dir=str(tmp_path), rgb=True, side=56)
        assert data.prepare(quietly) == []
        with pytest.warns(Remark, match="clips lack rgb"), pytest.raises(UserError, match="got 1: give it more"):
            data.view("v01", 0)
        clip = data._colours(["S001C001P001R001A001"])["S001C001P001R001A001"]
        assert clip.shape == (16, 56, 56, 3) and clip.std() > 20 and (clip[0] != clip[-1]).any()
        assert len(data.check().clips) >= 9 and not data.check().pictures
