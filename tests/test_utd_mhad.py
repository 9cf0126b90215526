"""UTD-MHAD: its files, their faults, its protocols. Small folders in the published format are written here."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from test_video import greys, write_video

from fedkd.data.pool import pool
from fedkd.data.utd_mhad import PROTOCOLS, UtdMhad
from fedkd.data.utd_mhad_files import ACTIONS, PUBLISHED_CLIPS, SUBJECTS, TRIALS, read_file
from fedkd.errors import Remark, UserError
from simulations.cli import main

FOLDERS = {"skeleton": ("Skeleton", "d_skel"), "inertial": ("Inertial", "d_iner")}


def write_clip(
    root: Path, action: int, subject: int, trial: int, modality: str, values: np.ndarray | None = None
) -> Path:
    """One file as published; every clip's numbers differ."""
    chance = np.random.default_rng([action, subject, trial])
    frames = 4 + trial
    made = chance.normal(size=(20, 3, frames) if modality == "skeleton" else (2 * frames, 6))
    folder, key = FOLDERS[modality]
    path = root / "utd_mhad" / folder / f"a{action}_s{subject}_t{trial}_{modality}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {key: made if values is None else values})
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three actions by eight people, four trials each, in both modalities."""
    for action in (1, 9, 22):
        for subject in SUBJECTS:
            for trial in TRIALS:
                for modality in FOLDERS:
                    write_clip(tmp_path, action, subject, trial, modality)
    return tmp_path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_splits_share_no_clip_and_the_right_people(root: Path, protocol: str) -> None:
    data = UtdMhad(data_dir=str(root), protocol=protocol)
    view, people = data.view("inertial", 0), data.subjects()
    parts = {split: set(getattr(view, split).ids.tolist()) for split in ("train", "valid", "test")}
    assert not parts["train"] & parts["test"] and not parts["train"] & parts["valid"]
    who = {split: {people[event] for event in ids} for split, ids in parts.items()}
    expected = {
        "P1": {"train": {1, 3, 5, 7}, "valid": set(), "test": {2, 4, 6, 8}},
        "P1v": {"train": {1, 3, 5}, "valid": {7}, "test": {2, 4, 6, 8}},
        "trials": {"train": set(SUBJECTS), "valid": set(), "test": set(SUBJECTS)},
    }
    assert who == expected[protocol]
    assert sum(map(len, parts.values())) == 3 * 8 * 4


def test_views_agree_on_events_and_classes(root: Path) -> None:
    data = UtdMhad(data_dir=str(root))
    inertial, kinect = data.view("inertial", 0), data.view("kinect", 0)
    assert inertial.train.ids.equal(kinect.train.ids) and inertial.train.labels.equal(kinect.train.labels)
    assert set(inertial.train.labels.tolist()) == {0, 8, 21}
    assert inertial.shared.all()
    assert set(inertial.train.streams) == {"imu"} and set(kinect.train.streams) == {"skeleton"}


def test_pooled_an_event_has_both_streams(root: Path) -> None:
    data = UtdMhad(data_dir=str(root), frames=16)
    views = [data.view(name, 0) for name in data.view_names()]
    train = pool(views, share_labels=True).train
    assert train.ids.equal(views[0].train.ids) and train.labels.equal(views[0].train.labels)
    assert train.stream("skeleton+imu").shape == (3 * 3 * 4, 16, 24, 3)
    assert train.stream("skeleton+imu")[:, :, 20:].equal(views[0].train.stream("imu"))


def test_each_training_subject_can_validate(root: Path) -> None:
    seen: list[int] = []
    for subject in (1, 3, 5, 7):
        data = UtdMhad(data_dir=str(root), valid_subject=subject)
        view, subjects = data.view("inertial", 0), data.subjects()
        assert {subjects[event] for event in view.valid.ids.tolist()} == {subject}
        assert {subjects[event] for event in view.train.ids.tolist()} == {1, 3, 5, 7} - {subject}
        seen += view.valid.ids.tolist()
    assert len(set(seen)) == len(seen)
    with pytest.raises(UserError, match="valid_subject is one of"):
        UtdMhad(data_dir=str(root), valid_subject=2)


def test_an_event_without_one_modality_is_kept_by_the_other_and_left_out_of_both(root: Path) -> None:
    (root / "utd_mhad" / "Inertial" / "a1_s1_t1_inertial.mat").unlink()
    apart = UtdMhad(data_dir=str(root))
    assert len(apart.view("kinect", 0).train) == 36 and len(apart.view("inertial", 0).train) == 35
    assert (~apart.view("kinect", 0).shared).sum() == 1
    assert len(pool([apart.view(name, 0) for name in apart.view_names()], share_labels=False).train) == 35
    assert any("in inertial: 1 of 96 events" in line for line in apart.check().missing())


def test_labels_are_drawn_by_seed_and_view(root: Path) -> None:
    data = UtdMhad(data_dir=str(root), labels=0.25)
    first, again, other = (data.view("inertial", seed).train.labels for seed in (0, 0, 1))
    assert (first >= 0).sum() == 9 and first.equal(again) and not first.equal(other)


@pytest.mark.parametrize(
    ("modality", "values", "sentence"),
    [
        ("skeleton", np.zeros((19, 3, 5)), "not 20 x 3 x T"),
        ("skeleton", np.zeros((20, 3, 0)), "no frame"),
        ("skeleton", np.full((20, 3, 5), np.nan), "finite"),
        ("skeleton", np.full((20, 3, 5), 1e300), "finite"),
        ("inertial", np.zeros((8, 5)), "8 x 5, not T x 6"),
        ("inertial", np.zeros((0, 6)), "no frame"),
        ("inertial", np.full((8, 6), np.nan), "finite"),
        ("inertial", np.full((8, 6), 1e300), "finite"),
        ("inertial", np.full((8, 6), "x", dtype=object), "of object, not an array of numbers"),
        ("inertial", scipy.sparse.eye_array(8, 6, format="csc"), "not an array of numbers"),
    ],
)
def test_wrong_numbers_are_named(tmp_path: Path, modality: str, values: np.ndarray, sentence: str) -> None:
    broken = read_file(write_clip(tmp_path, 1, 1, 1, modality, values), modality)
    assert sentence in broken.reason  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["a28_s1_t1", "a0_s1_t1", "a1_s9_t1", "a1_s1_t5"])
@pytest.mark.parametrize("modality", FOLDERS)
def test_a_clip_that_the_data_set_does_not_have_is_named_and_refused(root: Path, modality: str, name: str) -> None:
    path = write_clip(root, 1, 1, 1, modality)
    path = path.rename(path.with_stem(f"{name}_{modality}"))
    data = UtdMhad(data_dir=str(root))
    [fault] = data.check().broken
    assert fault.name == path.name and "with A in 1-27, S in 1-8 and T in 1-4" in fault.reason
    with pytest.raises(UserError, match=rf"1 files.*first {path.name}: its name is not"):
        data.view("inertial", 0)


def test_a_truncated_file_is_named_and_refused(root: Path) -> None:
    path = root / "utd_mhad" / "Inertial" / "a1_s1_t1_inertial.mat"
    path.write_bytes(path.read_bytes()[:150])
    data = UtdMhad(data_dir=str(root))
    report = data.check()
    assert [fault.name for fault in report.broken] == [path.name] and report.exit_code == 1
    with pytest.raises(UserError, match=rf"1 files.*{path.name}.*truncated"):
        data.view("inertial", 0)


def test_a_missing_modality_and_a_wrong_folder_are_one_sentence(root: Path) -> None:
    for path in (root / "utd_mhad" / "Inertial").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"finds no Inertial/\*.mat"):
        UtdMhad(data_dir=str(root)).view("inertial", 0)
    assert "view inertial, all of it" in UtdMhad(data_dir=str(root)).check().missing()
    kinect = UtdMhad(data_dir=str(root), views=["kinect"])
    assert len(kinect.view("kinect", 0).train) == 36 and len(kinect.subjects()) == 96
    with pytest.raises(UserError, match="set data_dir="):
        UtdMhad(data_dir=str(root / "utd_mhad")).view("inertial", 0)


def test_one_event_in_two_files_is_named_and_refused(root: Path) -> None:
    path = root / "utd_mhad" / "Inertial" / "a1_s1_t1_inertial.mat"
    path.with_stem("a01_s1_t1_inertial").write_bytes(path.read_bytes())
    sentence = "Inertial/a1_s1_t1_inertial.mat: it is of the same event as Inertial/a01_s1_t1_inertial.mat"
    data = UtdMhad(data_dir=str(root))
    assert [f"{f.name}: {f.reason}".startswith(sentence) for f in data.check().broken] == [True]
    with pytest.raises(UserError, match=f"1 files .*{sentence}: remove one of them"):
        data.view("inertial", 0)


def test_one_event_in_two_videos_is_named_and_refused(root: Path) -> None:
    whole = write_video(root / "utd_mhad" / "RGB" / "a1_s1_t1_color.avi", greys(16)).read_bytes()
    other = root / "utd_mhad" / "RGB-part1" / "a1_s1_t1_color.avi"
    other.parent.mkdir()
    other.write_bytes(whole)
    data = UtdMhad(data_dir=str(root), rgb=True, side=16, prepared_dir=str(root / "kept"))
    broken = data.prepare(lambda files, count, store: files)
    assert [fault.name for fault in broken] == ["RGB-part1/a1_s1_t1_color.avi"] and data.check().pictures == broken
    with pytest.raises(UserError, match=r"same event as RGB/a1_s1_t1_color.avi: remove one of them"):
        data.view("kinect", 0)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((24, 32, 5), np.uint16), "nothing was measured"),
        (np.ones((24, 32, 0), np.uint16), "24 x 32 x 0 of uint16"),
        (np.ones((24, 32, 5)), "of float64"),
    ],
)
def test_broken_depth_is_named(root: Path, values: np.ndarray, reason: str) -> None:
    (root / "utd_mhad" / "Depth").mkdir()
    scipy.io.savemat(root / "utd_mhad" / "Depth" / "a1_s1_t1_depth.mat", {"d_depth": values})
    data = UtdMhad(data_dir=str(root), prepared_dir=str(root / "kept"))
    (broken,) = data.prepare(lambda files, count, store: files)
    assert reason in broken.reason and data.check().exit_code == 1


@pytest.mark.parametrize("folder", ["RGB", "RGB-part{}"])
def test_colour_videos_are_prepared_and_are_a_stream_of_the_kinect(root: Path, folder: str) -> None:
    for subject in SUBJECTS:
        where = root / "utd_mhad" / folder.format(1 + subject // 3)
        for action in (1, 9):
            write_video(where / f"a{action}_s{subject}_t1_color.avi", greys(32)[subject:])
    data = UtdMhad(data_dir=str(root), rgb=True, side=16, prepared_dir=str(root / "kept"))
    with pytest.raises(UserError, match=r"16 clips are not prepared .*fedkd data prepare utd_mhad"):
        data.view("kinect", 0)
    assert data.prepare(lambda files, count, store: files) == []
    train, people = data.view("kinect", 0).train, data.subjects()
    clips = train.streams["rgb"]
    assert clips.shape == (6, 16, 16, 16, 3) and clips.dtype == torch.uint8
    assert set(train.labels.tolist()) == {0, 8}
    assert [round(float(clip[0].float().mean()) / 6) for clip in clips] == [people[i] for i in train.ids.tolist()]
    assert set(data.view("inertial", 0).train.streams) == {"imu"}


def test_events_without_a_picture_are_counted(root: Path) -> None:
    for action in (1, 9):
        for subject in (1, 2, 3, 5, 7):
            write_video(root / "utd_mhad" / "RGB" / f"a{action}_s{subject}_t1_color.avi", greys(16))
    data = UtdMhad(data_dir=str(root), rgb=True, side=16, prepared_dir=str(root / "kept"))
    data.prepare(lambda files, count, store: files)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        view = data.view("kinect", 0)
    assert len(view.test) == 2
    for sentence in ("10 of 861 published rgb clips", "86 of 96 events are left out of kinect: rgb lacks 86"):
        assert sum(sentence in str(remark.message) for remark in said) == 1


def test_a_broken_or_misnamed_colour_video_is_named_and_refused(root: Path) -> None:
    videos = root / "utd_mhad" / "RGB"
    whole = write_video(videos / "a1_s1_t1_color.avi", greys(30)).read_bytes()
    (videos / "a1_s1_t2_color.avi").write_bytes(whole[: len(whole) // 2])
    write_video(videos / "a28_s1_t1_color.avi", greys(8))
    data = UtdMhad(data_dir=str(root), rgb=True, side=16, prepared_dir=str(root / "kept"))
    broken = {fault.name: fault.reason for fault in data.prepare(lambda files, count, store: files)}
    assert "truncated" in broken["a1_s1_t2_color"] and "its name" in broken["a28_s1_t1_color"]
    report = data.check()
    assert {fault.name for fault in report.pictures} == set(broken) and report.exit_code == 1 and not report.notes
    assert f"{2 * PUBLISHED_CLIPS - 2 * 96} of {2 * PUBLISHED_CLIPS} published clips" in report.missing()[0]
    with pytest.raises(UserError, match="2 recordings are broken"):
        data.view("kinect", 0)
    (videos / "a28_s1_t1_color.avi").unlink()
    (videos / "a1_s1_t2_color.avi").write_bytes(whole)
    assert data.prepare(lambda files, count, store: files) == []


def test_pictures_that_were_not_read_are_counted_by_the_check(root: Path) -> None:
    (root / "utd_mhad" / "Depth").mkdir()
    (root / "utd_mhad" / "Depth" / "a1_s1_t1_depth.mat").write_bytes(b"junk")
    data = UtdMhad(data_dir=str(root), prepared_dir=str(root / "kept"))
    assert data.check().notes == ["1 picture files not read yet: `fedkd data prepare utd_mhad` reads them once"]
    assert "860 of 861 depth recordings" in data.check().missing(), "nobody asked for colours"
    assert not any("rgb" in line for line in data.check().missing())
    data.prepare(lambda files, count, store: files)
    assert "a1_s1_t1_depth" in [fault.name for fault in data.check().pictures] and not data.check().notes


@pytest.mark.parametrize(
    ("variables", "length", "sentence"),
    [
        ({"d_depth": np.full((24, 32, 9), 900, np.uint16)}, 150, "it is no whole MATLAB 5 file, truncated or damaged"),
        ({"depth": np.full((24, 32, 9), 900, np.uint16)}, None, "it lacks the variable d_depth"),
        ({"d_depth": np.zeros((24, 32, 0), np.uint16)}, None, "d_depth is 24 x 32 x 0 of uint16, not H x W x T"),
    ],
)
def test_a_depth_file_that_is_cut_or_empty_or_holds_something_else_is_named_and_refused(
    root: Path, variables: dict[str, np.ndarray], length: int | None, sentence: str
) -> None:
    path = root / "utd_mhad" / "Depth" / "a1_s1_t1_depth.mat"
    path.parent.mkdir()
    scipy.io.savemat(path, variables)
    path.write_bytes(path.read_bytes()[:length])
    data = UtdMhad(data_dir=str(root), depth=True, prepared_dir=str(root / "kept"))
    [fault] = data.prepare(lambda files, count, store: files)
    assert fault.name == "a1_s1_t1_depth" and sentence in fault.reason
    with pytest.raises(UserError, match=f"1 recordings are broken, first a1_s1_t1_depth: {sentence}"):
        data.view("kinect", 0)


@pytest.mark.parametrize("modality", FOLDERS)
def test_a_file_without_its_variable_or_with_a_hole_is_named_and_refused(root: Path, modality: str) -> None:
    path, key = write_clip(root, 1, 1, 1, modality), FOLDERS[modality][1]
    whole = scipy.io.loadmat(path)[key]
    data = UtdMhad(data_dir=str(root))
    for variables, sentence in (({"d": whole}, f"it lacks the variable {key}"), ({key: whole * np.nan}, "nan|finite")):
        scipy.io.savemat(path, variables)
        [fault] = data.check().broken
        assert fault.name == path.name and data.check().exit_code == 1
        with pytest.raises(UserError, match=f"1 files.*first {path.name}.*({sentence})"):
            data.view("inertial" if modality == "inertial" else "kinect", 0)


def test_the_check_says_nothing_of_nets(root: Path, recwarn: pytest.WarningsRecorder) -> None:
    (root / "utd_mhad" / "Depth").mkdir()
    assert main(["data", "check", "utd_mhad", f"data_dir={root}", f"data.prepared_dir={root}"]) == 0
    assert not [warning for warning in recwarn if issubclass(warning.category, Remark)]


def test_colours_without_a_file_or_a_kinect_are_one_sentence(root: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*RGB.*unpack"):
        UtdMhad(data_dir=str(root), rgb=True).view("kinect", 0)
    with pytest.raises(UserError, match=r"no file Depth.* or RGB"):
        UtdMhad(data_dir=str(root)).prepare(lambda files, count, store: files)
    with pytest.raises(UserError, match="belong to the kinect's host"):
        UtdMhad(data_dir=str(root), rgb=True, views=["inertial"])


def test_unknown_names_are_refused() -> None:
    for wrong in ({"protocol": "P2"}, {"views": ["wrist"]}, {"labels": 0.0}, {"frames": 1}):
        with pytest.raises(UserError, match="utd_mhad"):
            UtdMhad(**wrong)  # type: ignore[arg-type]


@pytest.mark.skipif(
    not Path(os.environ.get("FEDKD_DATA", ""), "utd_mhad").is_dir(), reason="FEDKD_DATA has no utd_mhad"
)
class TestReal:
    """The recordings themselves."""

    def test_all_published_clips_are_whole(self) -> None:
        report = UtdMhad().check()
        assert len(report.clips) == 2 * PUBLISHED_CLIPS and not report.broken
        assert len({clip.label for clip in report.clips}) == len(ACTIONS)

    def test_a_ridge_classifier_is_near_the_published_sanity_check(self) -> None:
        """Closed-form ridge, odd to even subjects: 0.807 skeleton, 0.698 inertial on 32 and 64 plain frames."""
        data = UtdMhad(protocol="P1", frames=32)
        for name, least in (("kinect", 0.75), ("inertial", 0.6)):
            view = data.view(name, 0)
            (stream,) = view.train.streams
            x, y = (part.streams[stream].flatten(1).double() for part in (view.train, view.test))
            onehot = torch.nn.functional.one_hot(view.train.labels, len(ACTIONS)).double()
            mean = x.mean(0)
            x, y = x - mean, y - mean
            dual = torch.linalg.solve(x @ x.T + 10 * torch.eye(len(x)).double(), onehot - 1 / len(ACTIONS))
            accuracy = ((y @ x.T @ dual).argmax(1) == view.test.labels).double().mean()
            assert accuracy > least, (name, accuracy)
