"""MMAct: folders, faults, protocols. Small folders in the published format are written here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from test_video import write_video

from fedkd.data.attitude import directed, up_and_north
from fedkd.data.mmact import SPLITS, MMAct
from fedkd.data.mmact_files import ACTIONS, CAMERAS, NAMES, SENSORS, attitude, read_folder, reading, rows, said
from fedkd.data.pool import pool
from fedkd.data.release import event_id
from fedkd.errors import Remark, UserError

SUBJECTS, SESSIONS = (1, 14, 17), (1, 5)


def write_video_of(root: Path, camera: str, subject: int, scene: int, session: int, action: str) -> Path:
    folder = root / "mmact" / "trimmed" / f"subject{subject}" / camera / f"scene{scene}" / f"session{session}"
    grey = 20 * CAMERAS.index(camera) + 10 * NAMES.index(action.lower()) // 4
    return write_video(
        folder / f"{action}.mp4", [np.full((32, 48, 3), grey + n, np.uint8) for n in range(9)], codec="mpeg4"
    )


def write_reading_of(
    root: Path, sensor: str, subject: int, scene: int, session: int, action: str, text: str | None = None
) -> Path:
    """Six rows, 10 ms apart, on a line: x = 9.8 t / 50 ms, y the subject, z the sensor's number.

    Of the orientation sensor that is an azimuth of up to 9.8 degrees and a pitch of up to 17.
    """
    folder = root.joinpath("mmact", "trimmed", sensor, f"subject{subject}", f"scene{scene}", f"session{session}")
    folder.mkdir(parents=True, exist_ok=True)
    lines = (f"20181016_13:33:45.{10 * n:03},{9.8 * n / 5},{subject},{SENSORS.index(sensor)}\n" for n in range(6))
    path = folder / f"{action}.csv"
    path.write_text("".join(lines) if text is None else text)
    return path


def quietly(paths, count, store):
    return paths


def write_folder(root: Path) -> Path:
    """Two actions by three people in scenes 1 to 3 and two sessions, by all cameras and sensors."""
    for subject in SUBJECTS:
        for scene in (1, 2, 3):
            for session in SESSIONS:
                for action in ("using_phone", "walking"):
                    for camera in CAMERAS:
                        write_video_of(root, camera, subject, scene, session, action)
                    for sensor in SENSORS:
                        write_reading_of(root, sensor, subject, scene, session, action)
    return root


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That folder, prepared."""
    root = write_folder(tmp_path_factory.mktemp("mmact"))
    assert of(root).prepare(quietly) == []
    return root


def of(root: Path, **settings: object) -> MMAct:
    return MMAct(data_dir=str(root), prepared_dir=str(root / "kept"), side=16, frames=11, **settings)  # type: ignore[arg-type]


@pytest.fixture
def worn(tmp_path: Path) -> Path:
    """What the sensors of three people read, not prepared."""
    for subject in SUBJECTS:
        for action in ("kicking", "walking"):
            for sensor in SENSORS:
                write_reading_of(tmp_path, sensor, subject, 1, 1, action)
    return tmp_path


def test_the_classes_are_the_papers_37() -> None:
    assert len(NAMES) == 35 and len(ACTIONS) == 37 and list(ACTIONS) == sorted(set(ACTIONS))


def test_views_see_the_same_events_in_their_own_way(filmed: Path) -> None:
    data = of(filmed, views=["cam2", "phone", "watch"])
    views = [data.view(name, 0) for name in data.view_names()]
    assert data.view_names() == ("cam2", "phone", "watch")
    assert all(view.train.ids.equal(views[0].train.ids) and view.shared.all() for view in views)
    camera, phone, watch = (view.train.streams for view in views)
    assert camera["rgb"].shape == (24, 8, 16, 16, 3) and camera["rgb"].dtype == torch.uint8 and set(camera) == {"rgb"}
    assert phone["imu"].shape == (24, 11, 4, 3) and watch["imu"].shape == (24, 11, 1, 3)


def test_readings_are_in_g_and_stretched_by_their_times(filmed: Path) -> None:
    """x rises from 0 to 9.8 in every file: 0 to 1 g of acceleration, 0 to 9.8 radians a second, 0 to 9.8 degrees."""
    phone = of(filmed, views=["phone"]).view("phone", 0).train.streams["imu"]
    line = torch.linspace(0, 1, 11)
    torch.testing.assert_close(phone[0, :, :2, 0], torch.stack([line, 9.8 * line], dim=1))
    assert phone[0, :, 1, 2].unique().tolist() == [1.0], "the gyroscope's number"


def test_the_attitude_is_what_is_up_and_where_north_is(filmed: Path) -> None:
    data = of(filmed, views=["phone"])
    view, subject = data.view("phone", 0), data.subjects()
    for event, clip in zip(view.train.ids.tolist(), view.train.streams["imu"], strict=True):
        azimuth = torch.linspace(0, 9.8, 11)
        angles = torch.stack([azimuth, torch.full_like(azimuth, subject[event]), torch.full_like(azimuth, 2)], dim=1)
        expected = torch.from_numpy(up_and_north(angles.double().numpy())).float()
        torch.testing.assert_close(clip[:, 2:], expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(clip[:, 2:].norm(dim=-1), torch.ones(11, 2))


def test_a_turn_over_north_is_short_and_keeps_its_length(tmp_path: Path) -> None:
    lines = "".join(f"20181016_13:33:45.{100 * n},{azimuth},0,0\n" for n, azimuth in enumerate((350, 359, 1, 10)))
    read = attitude(write_reading_of(tmp_path, "orientation_clip", 1, 1, 1, "walking", lines))
    assert not isinstance(read, str) and read.shape == (256, 2, 3)
    up, north = read.transpose(1, 0, 2)
    assert np.allclose(up, [0, 0, 1]) and np.allclose(np.linalg.norm(north, axis=-1), 1)
    heading = np.degrees(np.arctan2(-north[:, 0], north[:, 1]))
    assert (np.diff(heading) > 0).all() and np.allclose(heading[[0, -1]], [-10, 10], atol=1e-3)


@pytest.mark.parametrize(
    ("angles", "up", "north"),
    [
        ((0, 0, 0), (0, 0, 1), (0, 1, 0)),  # on its back, its top edge to the north
        ((90, 0, 0), (0, 0, 1), (-1, 0, 0)),  # to the east: north is on its left
        ((180, 0, 0), (0, 0, 1), (0, -1, 0)),
        ((0, 90, 0), (0, -1, 0), (0, 0, 1)),  # on its top edge: the screen, which faced the sky, faces north
        ((0, -90, 0), (0, 1, 0), (0, 0, -1)),  # upright, its back to the north
        ((0, 0, 90), (-1, 0, 0), (0, 1, 0)),  # on its right edge
        ((0, 0, 180), (0, 0, -1), (0, 1, 0)),  # on its screen
    ],
)
def test_known_attitudes(angles: tuple, up: tuple, north: tuple) -> None:
    assert np.allclose(up_and_north(np.array([angles], float))[0], [up, north])


def test_androids_own_formula_gives_the_angles_back() -> None:
    """R is east, north, up along the phone's axes: azimuth atan2(R01, R11), pitch asin(-R21), roll atan2(-R20, R22)."""
    chance = np.random.default_rng(0)
    angles = np.stack([chance.uniform(-180, 180, 99), chance.uniform(-89, 89, 99), chance.uniform(-180, 180, 99)], 1)
    up, north = up_and_north(angles).transpose(1, 0, 2)
    east = np.cross(north, up)
    assert np.allclose((up * north).sum(1), 0)
    back = np.stack([np.arctan2(east[:, 1], north[:, 1]), np.arcsin(-up[:, 1]), np.arctan2(-up[:, 0], up[:, 2])], 1)
    assert np.allclose(np.degrees(back), angles)


def test_a_phone_that_is_turned_turns_what_it_says() -> None:
    """Mounted otherwise by a turn Q of its axes, it says Q^T v where it said v, of up and north alike."""
    angles = np.array([[30.0, 20.0, -50.0], [200.0, -70.0, 120.0]])
    mounted = Rotation.from_rotvec([0.3, -0.5, 0.7]).as_matrix()
    up, north = up_and_north(angles).transpose(1, 0, 2)
    frame = np.stack([np.cross(north, up), north, up], axis=1) @ mounted  # east, north, up along the new axes
    back = np.stack(
        [
            np.arctan2(frame[:, 0, 1], frame[:, 1, 1]),
            np.arcsin(-frame[:, 2, 1]),
            np.arctan2(-frame[:, 2, 0], frame[:, 2, 2]),
        ],
        axis=1,
    )
    assert np.allclose(up_and_north(np.degrees(back)), up_and_north(angles) @ mounted)


def test_halfway_between_opposites_there_is_no_direction() -> None:
    assert directed(np.array([[3.0, 0, 4.0], [0, 0, 0]])).tolist() == [[0.6, 0, 0.8], [0, 0, 0]]


@pytest.mark.parametrize(
    ("angles", "sentence"),
    [("0.1,-1.5,3.1", "seem to be radians"), ("10,-100,3", "as Android's getOrientation"), ("400,0,3", "within 360")],
)
def test_angles_that_cannot_be_androids_are_refused(worn: Path, angles: str, sentence: str) -> None:
    lines = "".join(f"20181016_13:33:45.{n}00,{angles}\n" for n in range(3))
    path = write_reading_of(worn, "orientation_clip", 1, 1, 1, "walking", lines)
    assert sentence in str(attitude(path))
    assert [sentence in fault.reason for fault in of(worn, views=["phone"]).prepare(quietly)] == [True]


def test_a_row_that_does_not_end_is_not_believed(tmp_path: Path) -> None:
    """Cut within its last number, a row is a row still; cut anywhere else, it is none."""
    path = tmp_path / "x.csv"
    whole = "".join(f"20181016_13:33:45.{n}00,0.5,0.25,-1.2345\n" for n in range(3))
    last = whole.rindex(",")
    for cut in range(len(whole) - 30, len(whole)):
        path.write_text(whole[:cut])
        read = rows(path)
        if isinstance(read, str):
            assert cut <= last + 2, "before a digit of its last number"
        else:
            assert (read[1] == [0.5, 0.25, -1.2345]).all() and len(read[0]) == 2
    path.write_text(whole.splitlines()[0])
    assert rows(path) == "its only row does not end: truncated"


def test_pooled_all_worn_sensors_lie_beside_each_cameras_clip(filmed: Path) -> None:
    """The paper's setting."""
    data = of(filmed, views=["cam1", "cam2", "phone", "watch"], together=True)
    assert data.view_names() == ("body", "cam1", "cam2")
    body, first, second = (data.view(name, 0) for name in data.view_names())
    train = pool([body, first, second], share_labels=True).train
    assert train.streams["imu"].shape == (48, 11, 5, 3) and train.streams["imu"][24:].equal(body.train.streams["imu"])
    assert train.streams["rgb"][:24].equal(first.train.streams["rgb"])
    alone = of(filmed, views=["phone"]).view("phone", 0).train.streams["imu"]
    assert body.train.streams["imu"][:, :, :4].equal(alone)


def test_phone_and_watch_are_not_pooled_as_they_are(filmed: Path) -> None:
    data = of(filmed, views=["phone", "watch"])
    with pytest.raises(UserError, match=r"phone has imu \[11, 4, 3\]; watch has imu \[11, 1, 3\]; choose"):
        pool([data.view(name, 0) for name in data.view_names()], share_labels=True)


def test_at_the_desk_two_names_are_classes_of_their_own(filmed: Path) -> None:
    data = of(filmed)
    view, told = data.view("cam1", 0), set()
    for clips in (view.train, view.test):
        told |= {data.classes[label] for label in clips.labels.tolist()}
    assert told == {"walking", "using phone", "using phone desk"}
    assert (view.train.labels == ACTIONS.index("using_phone_desk")).sum() == 4


@pytest.mark.parametrize("protocol", SPLITS)
def test_splits_are_the_published_ones(filmed: Path, protocol: str) -> None:
    data = of(filmed, protocol=protocol)
    view = data.view("cam3", 0)
    by_id = _where(filmed)
    field = SPLITS[protocol][0]
    found = {
        part: {by_id[event][field] for event in getattr(view, part).ids.tolist()} for part in ("train", "valid", "test")
    }
    assert (
        found
        == {
            "cross_subject": {"train": {1, 14}, "valid": set(), "test": {17}},
            "cross_subject_v": {"train": {1}, "valid": {14}, "test": {17}},
            "cross_scene": {"train": {1, 3}, "valid": set(), "test": {2}},
            "cross_session": {"train": {1}, "valid": set(), "test": {5}},
        }[protocol]
    )
    assert sum(len(getattr(view, part)) for part in found) == 36


def _where(root: Path) -> dict[int, dict[str, int]]:
    folder = root / "mmact" / "trimmed"
    return {
        event_id("mmact", r.event): {"subject": r.subject, "scene": r.scene, "session": r.session}
        for r in read_folder(folder)[0]
    }


def test_across_views_the_fourth_camera_tests(filmed: Path) -> None:
    data = of(filmed, protocol="cross_view")
    assert data.view_names() == ("cam1", "cam2", "cam3")
    first, second = data.view("cam1", 0), data.view("cam2", 0)
    assert len(first.train) == 36 and first.test.streams["rgb"].equal(second.test.streams["rgb"])
    assert first.test.streams["rgb"].equal(
        of(filmed, protocol="cross_view", views=["cam3"]).view("cam3", 0).test.streams["rgb"]
    )
    assert abs(float(first.test.streams["rgb"].float().mean() - first.train.streams["rgb"].float().mean()) - 60) < 3
    with pytest.raises(UserError, match="cam4 tests"):
        of(filmed, protocol="cross_view", views=["cam1", "watch"])


def test_the_check_counts_views_and_says_what_was_not_read(filmed: Path, worn: Path) -> None:
    report = of(filmed).check()
    assert report.views == (*CAMERAS, "phone", "watch") and len(report.clips) == 6 * 36
    assert report.events_of_all_views() == 36 and not report.broken and not report.notes
    report = of(worn).check()
    assert "view cam1, all of it" in report.missing() and report.exit_code == 0
    assert report.notes == ["24 files not read yet: `fedkd data prepare mmact` reads them once"]


def test_the_challenges_order_of_folders_is_read_too(tmp_path: Path) -> None:
    folder = tmp_path / "trimmed"
    here = said(folder / "subject3" / "cam2" / "scene1" / "session4" / "Carrying_light.mp4", folder)
    there = said(
        folder / "video" / "trainval" / "cam2" / "subject3" / "scene1" / "session4" / "carrying_light.mp4", folder
    )
    assert not isinstance(here, str) and not isinstance(there, str)
    assert (here.event, here.label, here.source) == (there.event, there.label, there.source)
    assert (here.subject, here.scene, here.session) == (3, 1, 4) and here.source == "cam2"


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("subject1/cam1/scene1/walking.mp4", "a folder session1 to session5"),
        ("subject1/scene1/session1/walking.mp4", "0 folders of one of cam1 to cam4"),
        ("acc_clip/subject1/scene1/session1/walking.csv", "0 folders of one of acc_phone_clip"),
        ("subject21/cam1/scene1/session1/walking.mp4", "a folder subject1 to subject20"),
        ("subject1/cam1/scene1/session1/dancing.mp4", "'dancing' is none of the 35 actions"),
        ("subject1/cam1/scene1/session1/20181016-133948.mp4", "none of the 35 actions"),
    ],
)
def test_files_out_of_place_are_named_and_refused(worn: Path, place: str, sentence: str) -> None:
    path = worn / "mmact" / "trimmed" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert [sentence in fault.reason for fault in of(worn).check().broken] == [True]
    with pytest.raises(UserError, match=path.name):
        of(worn, views=["phone"]).view("phone", 0)


def test_one_performance_twice_is_named(worn: Path) -> None:
    write_reading_of(worn, "gyro_clip", 1, 1, 1, "Walking")
    (fault,) = read_folder(worn / "mmact" / "trimmed")[1]
    assert "the same performance as" in fault.reason


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("20181016_13:33:45.170,1,2,3\n20181016_13:33:45.180,1,2", "row 2 of 2"),
        ("20181016_13:33:45.170,1,2,3\n20181016_13:3", "row 2 of 2"),
        ("20181016_13:33:45.170,1,nan,3\n", "not finite"),
        ("20181016_13:33:45.170,1,1e300,3\n", "not finite"),
        ("20181016_13:33:45.170,1,x,3\n", "no table"),
        ("20181016_13:61:45.170,1,2,3\n", "no table"),
        ("time,x,y,z\n", "no row"),
        ("1539664425.17,1,2,3\n", "not time,x,y,z"),
    ],
)
def test_broken_readings_are_named(worn: Path, text: str, sentence: str) -> None:
    path = write_reading_of(worn, "gyro_clip", 1, 1, 1, "walking", text)
    assert sentence in str(reading(path))
    data = of(worn, views=["phone", "watch"])
    assert [sentence in fault.reason for fault in data.prepare(quietly)] == [True]
    assert data.check().exit_code == 1 and len(data.check().clips) == 11
    assert len(data.view("watch", 0).train) == 4, "who does not need the file is not kept from working"
    with pytest.raises(UserError, match="1 recordings are broken"):
        data.view("phone", 0)


def test_files_without_a_byte_are_counted_and_left_out(worn: Path) -> None:
    write_reading_of(worn, "gyro_clip", 1, 1, 1, "walking", "")
    data = of(worn, views=["phone", "watch"])
    assert data.prepare(quietly) == []
    with pytest.warns(Remark, match="1 sensor files .* hold no byte"):
        view = data.view("watch", 0)
    assert len(view.train) == 4 and (~view.shared).sum() == 1
    assert any("no byte" in note for note in data.check().notes) and data.check().exit_code == 0


def test_performances_that_a_sensor_did_not_record_are_counted(worn: Path) -> None:
    (worn / "mmact/trimmed/gyro_clip/subject17/scene1/session1/walking.csv").unlink()
    data = of(worn, views=["phone", "watch"])
    data.prepare(quietly)
    with pytest.warns(Remark, match="1 of 6 events are left out of phone: gyro_clip lacks 1"):
        view = data.view("phone", 0)
    assert len(view.train) == 4 and len(view.test) == 1


def test_times_are_put_in_order_and_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        "time,x,y,z\n" + "".join(f"20181016_23:59:5{s},{x},0,0\n" for s, x in (("9.5", 3), ("8", 1), ("8", 9)))
    )
    read = rows(path)
    assert not isinstance(read, str)
    seconds, values = read
    assert np.diff(seconds).tolist() == [1.5] and values[:, 0].tolist() == [1.0, 3.0]


def test_a_broken_video_is_named(worn: Path) -> None:
    path = write_video_of(worn, "cam1", 1, 1, 1, "walking")
    path.write_bytes(path.read_bytes()[:200])
    (fault,) = of(worn).prepare(quietly)
    assert fault.name == "subject1/cam1/scene1/session1/walking.mp4"
    assert "truncated or damaged" in fault.reason


def test_a_missing_modality_and_a_wrong_folder_are_one_sentence(worn: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no recording of cam1, which cam1's host needs"):
        of(worn).view("cam1", 0)
    with pytest.raises(UserError, match="6 clips are not prepared"):
        of(worn, views=["watch"]).view("watch", 0)
    with pytest.raises(UserError, match="mmact finds no"):
        of(tmp_path / "mmact").view("cam1", 0)


def test_unknown_names_are_refused() -> None:
    for wrong in ({"protocol": "P1"}, {"views": ["glasses"]}, {"labels": 0.0}, {"frames": 1}):
        with pytest.raises(UserError, match="mmact"):
            MMAct(**wrong)  # type: ignore[arg-type]
