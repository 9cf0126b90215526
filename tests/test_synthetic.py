"""The embedded data: the same bits everywhere, honest splits, right geometry, and no short cut past the person."""

from __future__ import annotations

import hashlib
import math
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

import fedkd
from fedkd.data.contact_sheet import write_contact_sheet
from fedkd.data.rgb import RgbAugment
from fedkd.data.synthetic import Synthetic, renderer
from fedkd.data.synthetic.actions import ACTIONS
from fedkd.data.synthetic.body import joints_of, standing, subject
from fedkd.data.synthetic.camera import camera, looking, project, seen_from
from fedkd.data.synthetic.chance import Chance, cosine, sine
from fedkd.data.synthetic.motion import RATE, perform
from fedkd.data.synthetic.room import room
from fedkd.data.synthetic.sensors import GRAVITY, acceleration, turning
from fedkd.errors import UserError
from fedkd.seeding import generator
from fedkd.types import UNKNOWN, Clips

CONF = Path(fedkd.__file__).parent / "conf" / "data" / "synthetic.yaml"
SMALL = Synthetic(
    labels=0.5, train_subjects=1, train_trials=1, valid_subjects=1, valid_trials=1,
    test_subjects=1, test_trials=1, lab_subjects=1, lab_trials=1, modalities=("rgb", "skeleton", "pose2d", "imu"),
)  # fmt: skip

GOLDEN = {
    "rgb": ("ee519d2f3c9d1455", 145.632428, 40.809446),
    "skeleton": ("5a34bf7706e9575d", 0.010947, 0.360676),
    "pose2d": ("39d203adbe0bca5e", -0.038770, 0.755320),
    "imu": ("dec2e0c45edbc069", -1.244017, 5.838295),
    "lab": ("45bd039bad59ed0d", 0.017361, 0.325212),
}
"""Of SMALL's view v02, training clips: (start of the sha256 of a stream's bytes, mean, standard deviation)."""


def digest(stream: Tensor) -> str:
    return hashlib.sha256(stream.numpy().tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def streams() -> dict[str, Tensor]:
    return {**SMALL.view("v02", 0).train.streams, "lab": SMALL.lab().streams["skeleton"]}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bits(streams: dict[str, Tensor], name: str) -> None:
    sha, mean, spread = GOLDEN[name]
    values = streams[name].double()
    assert (values.mean().item(), values.std().item()) == pytest.approx((mean, spread), rel=1e-4, abs=1e-5)
    if platform.machine() in ("x86_64", "AMD64"):
        assert digest(streams[name]) == sha


def test_a_view_is_the_same_alone_and_after_another() -> None:
    world = replace(SMALL, modalities=("rgb",))
    alone = world.view("v02", 0).test.streams["rgb"]
    world.lab()
    world.view("v01", 0)
    assert torch.equal(alone, replace(world, views=2).view("v02", 5).test.streams["rgb"])


def test_an_event_is_the_same_among_more() -> None:
    few, more = [(1, 3, 1)], sorted([(1, 3, 1), (2, 3, 1), (1, 8, 2)], key=SMALL._id)
    one, all_of_them = SMALL._recorded(0, few), SMALL._recorded(0, more)
    for name, stream in one.streams.items():
        assert torch.equal(stream, all_of_them.streams[name][all_of_them.ids == one.ids])


def test_another_world_is_another_world() -> None:
    here, other = (replace(SMALL, world_seed=seed)._recorded(0, [(1, 0, 1)]) for seed in (0, 1))
    assert here.ids != other.ids
    assert not any(torch.equal(stream, other.streams[name]) for name, stream in here.streams.items())


def test_shapes_and_types() -> None:
    view = SMALL.view("v01", 0)
    assert view.classes == SMALL.classes and len(view.classes) == 12
    want = {
        "rgb": ((12, 8, 48, 48, 3), torch.uint8),
        "skeleton": ((12, 32, 25, 3), torch.float32),
        "pose2d": ((12, 32, 25, 2), torch.float32),
        "imu": ((12, 96, 12), torch.float32),
    }
    assert {name: (tuple(x.shape), x.dtype) for name, x in view.test.streams.items()} == want
    assert all(torch.isfinite(x.float()).all() for x in view.test.streams.values())
    assert not view.test.streams["skeleton"][:, 0, 0].any() and not view.test.streams["pose2d"][:, 0, 0].any()


@pytest.fixture
def unfilmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events, splits and labels without pictures or skeletons."""
    monkeypatch.setattr(Synthetic, "_streams", lambda *_: {"skeleton": np.zeros((2, 25, 3), dtype=np.float32)})
    monkeypatch.setattr(Synthetic, "_lab_skeleton", lambda *_: np.zeros((2, 25, 3), dtype=np.float32))


WORLD = Synthetic(train_trials=1, valid_trials=1, test_trials=1, lab_trials=1, modalities=("skeleton",))
"""Every subject of the default world, once."""


@pytest.mark.usefixtures("unfilmed")
def test_views_agree_on_events_and_splits_share_none() -> None:
    first, second = WORLD.view("v01", 0), WORLD.view("v04", 0)
    for split in ("train", "valid", "test"):
        one, two = getattr(first, split), getattr(second, split)
        assert torch.equal(one.ids, two.ids)
    assert torch.equal(first.test.labels, second.test.labels)
    parts = [first.train.ids, first.valid.ids, first.test.ids, WORLD.lab().ids]
    assert len(torch.cat(parts).unique()) == sum(map(len, parts)) == 12 * (10 + 2 + 5 + 10)
    assert first.shared.all()


def test_subjects_of_the_splits_are_different_people() -> None:
    people = {split: {person for person, _, _ in WORLD._events(split)} for split in ("train", "valid", "test", "lab")}
    assert len(set().union(*people.values())) == sum(map(len, people.values()))
    bodies = {
        (who.height, who.arm, who.tempo) for person in set().union(*people.values()) for who in [subject(0, person)]
    }
    assert len(bodies) == 27


@pytest.mark.usefixtures("unfilmed")
def test_each_view_labels_its_own_share() -> None:
    world = replace(SMALL, labels=0.1, train_subjects=5, train_trials=2, modalities=("skeleton",))  # 120 clips
    one, two, again = world.view("v01", 0), world.view("v02", 0), world.view("v01", 1)
    known = [view.train.labels != UNKNOWN for view in (one, two, again)]
    assert [k.sum().item() for k in known] == [12, 12, 12]
    assert not torch.equal(known[0], known[1]) and not torch.equal(known[0], known[2])
    assert torch.equal(one.train.labels, world.view("v01", 0).train.labels)
    truth = replace(world, labels=1.0).view("v01", 0).train.labels
    assert torch.equal(truth.bincount(), torch.full((12,), 10))
    assert torch.equal(one.train.labels[known[0]], truth[known[0]])
    assert (one.test.labels != UNKNOWN).all() and (one.valid.labels != UNKNOWN).all()


@pytest.mark.usefixtures("unfilmed")
def test_an_id_does_not_tell_the_class() -> None:
    test = WORLD.view("v01", 0).test  # sorted by id
    assert not torch.equal(test.labels, test.labels.sort().values)
    assert abs(np.corrcoef(test.ids.numpy(), test.labels.numpy())[0, 1]) < 0.35


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: WORLD.view("v09", 0), "v01, v02, v03, v04"),
        (lambda: Synthetic(modalities=("sound",)), "rgb, skeleton, pose2d, imu"),
        (lambda: Synthetic(labels=0.0), "labels"),
        (lambda: Synthetic(test_subjects=0), "test_subjects"),
    ],
)
def test_errors_say_what_there_is(ask: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        ask()  # type: ignore[operator]


def test_the_yaml_is_the_default() -> None:
    assert instantiate(OmegaConf.load(CONF)) == Synthetic()


# Chance and angles


def test_sine_is_the_sine() -> None:
    turns = np.linspace(-3, 3, 1001)
    assert np.abs(sine(turns) - np.sin(2 * np.pi * turns)).max() < 1e-9
    assert np.abs(cosine(turns) - np.cos(2 * np.pi * turns)).max() < 1e-9


def test_draws_have_their_moments() -> None:
    chance = Chance(0, "test")
    normals, grain = chance.normals(2.0, 20_000), chance.grain(200, 101)
    assert (normals.mean(), normals.std()) == pytest.approx((0, 2), abs=0.06)
    assert (grain.mean(), grain.std()) == pytest.approx((0, 148), abs=4)
    assert Chance(0, "a").uniform() != Chance(0, "b").uniform()


# Bodies, cameras, sensors


@pytest.mark.parametrize("action", range(len(ACTIONS)), ids=[action.name for action in ACTIONS])
def test_limbs_keep_their_length_and_feet_stay_above_the_floor(action: int) -> None:
    for person in (1, 2, 3):
        event = perform(0, person, action, 1)
        who, j = event.performer, event.joints
        for one, two, length in ((4, 5, who.upper_arm), (9, 10, who.forearm), (12, 13, who.thigh), (17, 18, who.shin)):
            assert np.abs(np.linalg.norm(j[:, one] - j[:, two], axis=-1) - length).max() < 1e-6
        assert j[..., 2].min() > -0.02
        assert np.abs(j[:, 0, :2]).max() < 1.0  # on the stage


def test_a_left_handed_body_is_the_mirror_image() -> None:
    pose = standing(2)
    pose[:, 9:12] = (0.3, 0.2, 0.6)
    right, left = (joints_of(replace(subject(0, 1), left_handed=side), pose) for side in (False, True))
    assert right[0, 10, 2] > right[0, 6, 2] + 0.5 and left[0, 6, 2] > left[0, 10, 2] + 0.5
    assert np.allclose(left[:, 6], right[:, 10] * [-1, 1, 1])


def test_projection_agrees_with_the_camera() -> None:
    aim = np.array([0.0, 0.0, 1.0])
    centre, axes = looking(0.0, 4.0, 1.0, aim)
    assert np.allclose(axes @ axes.T, np.eye(3)) and np.linalg.det(axes) == pytest.approx(1)
    assert np.allclose(project(2.0, seen_from(centre, axes, aim), 48), [24, 24])
    his_right_hand = seen_from(centre, axes, np.array([0.5, 0.0, 1.5]))  # he faces the camera
    assert np.allclose(his_right_hand, [0.5, 0.5, 4.0])
    assert np.allclose(project(2.0, his_right_hand, 48), [24 - 12, 24 - 12])


def test_the_person_is_drawn_where_the_joints_are(monkeypatch: pytest.MonkeyPatch) -> None:
    world = replace(SMALL, modalities=("rgb",))
    with_person = filmed(world, 1, [(1, 0, 1)])
    remove_people(monkeypatch)
    without = filmed(world, 1, [(1, 0, 1)])
    changed = (with_person.float() - without.float()).abs().amax(-1)[0] > 25  # T H W
    event, eye = perform(0, 1, 0, 1), camera(0, 1)
    pixels = project(eye.focal, seen_from(eye.centre, eye.axes, event.joints[6::12]), world.size)
    rows, columns = np.nonzero(changed.any(0).numpy())
    assert changed.float().mean() < 0.35
    for joint in (0, 3, 13):  # hips, head, knee
        distance = np.hypot(rows + 0.5 - pixels[:, joint, 1].mean(), columns + 0.5 - pixels[:, joint, 0].mean())
        assert distance.min() < 2.5


def test_imu_at_rest_shows_gravity() -> None:
    place, axes = np.tile([0.3, 0.1, 1.2], (20, 1)), np.tile(np.eye(3), (20, 1, 1))
    assert np.allclose(acceleration(place, axes), [0, 0, GRAVITY]) and not turning(axes).any()
    imu = SMALL.view("v01", 0).train.streams["imu"].numpy()
    still = np.linalg.norm(imu[:, :, 6:9], axis=-1)  # the thigh rests in most frames
    assert np.median(still) == pytest.approx(GRAVITY, abs=0.5)


def test_a_gyroscope_tells_the_rate() -> None:
    angle = 2 * np.pi * 0.25 * np.arange(40) / RATE  # a quarter turn a second about its third axis
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros(40), np.ones(40)
    axes = np.stack([np.stack(row, -1) for row in ((c, s, zero), (-s, c, zero), (zero, zero, one))], axis=1)
    assert np.allclose(turning(axes), [0, 0, math.pi / 2], atol=3e-3)


# No short cut


def remove_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Film the same rooms, stools, occluders, light and noise with nobody in them."""
    monkeypatch.setattr(renderer, "body", lambda who, joints: [])
    monkeypatch.setattr(renderer, "cast_shadows", lambda pictures, depth, room, joints: None)


def filmed(world: Synthetic, number: int, keys: list[tuple[int, int, int]]) -> Tensor:
    return world._recorded(number, sorted(keys, key=world._id)).streams["rgb"]


def probe(train: Clips, test: Clips) -> float:
    """Accuracy of a linear classifier (ridge) on where a clip is bright, and where it changes."""

    def features(clips: Clips) -> Tensor:
        x = clips.streams["rgb"].float().mean(-1)  # N T H W
        maps = torch.stack([x.mean(1), x.std(1), (x[:, 1:] - x[:, :-1]).abs().mean(1)], dim=1)
        return torch.nn.functional.avg_pool2d(maps, 4).flatten(1)

    x, z = features(train), features(test)
    mean, spread = x.mean(0), x.std(0) + 1e-3
    x, z = (x - mean) / spread, (z - mean) / spread
    targets = torch.nn.functional.one_hot(train.labels, 12).float() - 1 / 12
    dual = torch.linalg.solve(x @ x.T + 300 * torch.eye(len(x)), targets)
    return ((z @ x.T @ dual).argmax(1) == test.labels).float().mean().item()


@pytest.mark.slow
def test_backgrounds_alone_are_worth_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = replace(WORLD, train_subjects=8, modalities=("rgb",))
    train, test = world._events("train"), world._events("test")
    people = world._recorded(0, train), world._recorded(0, test)
    with monkeypatch.context() as patch:
        remove_people(patch)
        empty = world._recorded(0, train), world._recorded(0, test)
    chance, spread = 1 / 12, math.sqrt(1 / 12 * 11 / 12 / len(test))
    assert probe(*empty) < chance + 3 * spread
    assert probe(*people) > chance + 6 * spread


# Augmentation, contact sheet


def test_augmentation_is_a_function_of_its_generator() -> None:
    x = SMALL.view("v01", 0).train.streams["rgb"][:4]
    augment = RgbAugment()
    one, two, three = (augment(x, generator(seed, "augment")) for seed in (0, 0, 1))
    assert one.dtype == torch.uint8 and one.shape == x.shape
    assert torch.equal(one, two) and not torch.equal(one, three)
    assert torch.equal(RgbAugment(flip=0.0, shift=0, contrast=0.0, light=0.0)(x, generator(0)), x)
    assert torch.equal(RgbAugment(flip=1.0, shift=0, contrast=0.0, light=0.0)(x, generator(0)), x.flip(3))


def test_augmentation_moves_all_frames_alike() -> None:
    x = torch.randint(0, 256, (3, 1, 12, 12, 3), dtype=torch.uint8, generator=generator(0)).repeat(1, 5, 1, 1, 1)
    moved = RgbAugment()(x, generator(1))
    assert torch.equal(moved, moved[:, :1].repeat(1, 5, 1, 1, 1))


def test_contact_sheet_is_written(tmp_path: Path) -> None:
    replace(SMALL, views=2).contact_sheet(tmp_path / "sheets" / "sheet.png", size=32)
    with Image.open(tmp_path / "sheets" / "sheet.png") as sheet:
        assert sheet.size[0] > 2 * 4 * 32 and sheet.size[1] > 12 * 32


def test_contact_sheet_takes_short_clips(tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "s.png", ("a",), {"v01": torch.zeros(1, 2, 16, 16, 3, dtype=torch.uint8)})
    assert (tmp_path / "s.png").stat().st_size > 0


def test_rooms_do_not_know_the_action() -> None:
    eye = camera(0, 0)
    assert np.array_equal(room(0, 0, eye, 24).picture, room(0, 0, eye, 24).picture)
