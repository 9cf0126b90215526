"""Laws of every net in conf/teacher and conf/student: a new YAML brings its own tests.

A net gives logits [B K]; one gradient step lowers its loss; a batch of one trains; its state round-trips.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from fedkd.models._graph import adjacency
from fedkd.models.branches import Branches
from fedkd.models.ctrgcn import CtrGcn, RefinedGraphConv
from fedkd.models.multistream import STREAMS, MultiStream, stream_of
from fedkd.models.shows_maps import ShowsMaps
from fedkd.models.stgcn import StGcn
from fedkd.models.tcn import Tcn
from fedkd.models.torchvision_nets import HEADS, MobileNetTsm, TemporalShift, VideoNet
from fedkd.skeleton import KINECT_V1, NTU, Skeleton

CONF = Path(__file__).parents[1] / "fedkd" / "conf"
FILES = sorted([*CONF.glob("teacher/*.yaml"), *CONF.glob("student/*.yaml")])
NETS = [path for path in FILES if OmegaConf.select(OmegaConf.load(path), "model")]  # conf/teacher/none.yaml has none
SAMPLE_SHAPES = {
    "skeleton": (8, 20, 3), "pose2d": (8, 20, 2), "imu": (16, 12), "skeleton+imu": (8, 24, 3),
    "rgb": (4, 32, 32, 3), "depth": (4, 32, 32, 1),
}  # fmt: skip
LARGER = {"rgb_s3d": (16, 32, 32, 3)}
"""Nets that need more frames than others of their modality."""

NUM_CLASSES = 5


def clips(sample_shape: tuple[int, ...], batch: int) -> Tensor:
    draw = torch.Generator().manual_seed(batch)
    if len(sample_shape) == 4:
        return torch.randint(0, 256, (batch, *sample_shape), dtype=torch.uint8, generator=draw)
    return torch.randn(batch, *sample_shape, generator=draw)


@pytest.fixture(scope="module", params=NETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def built(request: pytest.FixtureRequest) -> tuple[nn.Module, tuple[int, ...]]:
    config = OmegaConf.load(request.param)
    sample_shape = LARGER.get(request.param.stem, SAMPLE_SHAPES[config.modality])
    if "torchvision" in config.model["_target_"] and importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is an extra: pip install fedkd[rgb]")
    torch.manual_seed(0)
    return instantiate(config.model, num_classes=NUM_CLASSES, sample_shape=sample_shape), sample_shape


def test_logits_have_one_column_a_class(built: tuple[nn.Module, tuple[int, ...]]) -> None:
    net, sample_shape = built
    logits = net.eval()(clips(sample_shape, 3))
    assert logits.shape == (3, NUM_CLASSES) and logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


def test_maps_are_what_the_logits_are_read_from(built: tuple[nn.Module, tuple[int, ...]]) -> None:
    net, sample_shape = built
    assert isinstance(net, ShowsMaps), "no hint could be taken from it, nor could it be taught online"
    x = clips(sample_shape, 3)
    maps = net.eval().maps(x)
    assert maps.ndim == 3 and maps.shape[:2] == (3, net.num_maps)
    torch.testing.assert_close(net.read(maps), net(x))


def test_one_gradient_step_lowers_the_loss(built: tuple[nn.Module, tuple[int, ...]]) -> None:
    net, sample_shape = built
    net = copy.deepcopy(net).train()
    x, labels = clips(sample_shape, 4), torch.tensor([0, 1, 2, 3])
    before = loss_with_fixed_dropout(net, x, labels)
    before.backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    assert not [name for name, gradient in gradients.items() if gradient is None], "unused parameters"
    length = torch.stack([g.norm() for g in gradients.values() if g is not None]).norm()
    with torch.no_grad():
        for parameter in net.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.002 * parameter.grad / length)
    assert loss_with_fixed_dropout(net, x, labels) < before


def test_batch_of_one_trains(built: tuple[nn.Module, tuple[int, ...]]) -> None:
    net, sample_shape = built
    loss = loss_with_fixed_dropout(copy.deepcopy(net).train(), clips(sample_shape, 1), torch.tensor([0]))
    loss.backward()
    assert torch.isfinite(loss)


def test_state_round_trips(built: tuple[nn.Module, tuple[int, ...]]) -> None:
    net, sample_shape = built
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(net.state_dict())
    x = clips(sample_shape, 2)
    assert torch.equal(net.eval()(x), other.eval()(x))


def test_eval_answers_clip_by_clip(built: tuple[nn.Module, tuple[int, ...]]) -> None:
    net, sample_shape = built
    x = clips(sample_shape, 3)
    with torch.no_grad():
        together, alone = net.eval()(x), torch.cat([net(clip) for clip in x.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("net", "published"), [(StGcn, 1.39e6), (CtrGcn, 1.46e6)])
def test_default_arguments_have_the_published_size(net: type[nn.Module], published: float) -> None:
    # 25 joints; 60 classes are assumed. With 120 CTR-GCN has 1.462 M.
    assert num_parameters(net(num_classes=60, sample_shape=(100, 25, 3))) == pytest.approx(published, rel=0.015)


def test_slim_sizes() -> None:
    def slim(net: type[nn.Module]) -> nn.Module:
        return net(num_classes=10, sample_shape=(32, 20, 3), base_channels=24, strides=(2, 1, 2, 1, 2))

    assert num_parameters(slim(StGcn)) == 83_898
    assert num_parameters(slim(CtrGcn)) == 86_271
    assert num_parameters(Tcn(10, (32, 20, 2), velocity=True)) == 78_602


@pytest.mark.parametrize("skeleton", [KINECT_V1, NTU], ids=["kinect_v1", "ntu"])
def test_receivers_average_their_senders(skeleton: Skeleton) -> None:
    itself, from_parent, from_children = adjacency(skeleton)
    assert torch.equal(itself, torch.eye(len(skeleton.joints)))
    has_parent = torch.ones(len(skeleton.joints))
    has_parent[skeleton.centre] = 0
    assert torch.equal(from_parent.sum(0), has_parent)
    assert torch.equal(from_children.sum(0) > 0, torch.tensor([j in skeleton.parents for j in range(len(has_parent))]))


def test_ctr_gcn_starts_from_the_shared_graph() -> None:
    unit = RefinedGraphConv(3, 8, adjacency(KINECT_V1))
    topologies = unit.topologies(torch.randn(2, 3, 8, 20))  # B 3 C2 J J
    expected = adjacency(KINECT_V1).transpose(1, 2)[None, :, None].expand_as(topologies)
    assert torch.equal(topologies, expected)


def test_streams_read_bones_and_motions() -> None:
    x = torch.randn(2, 6, 20, 3)
    parents = KINECT_V1.parents
    bone, motion = stream_of(x, "bone", parents), stream_of(x, "joint_motion", parents)
    assert torch.equal(stream_of(x, "joint", parents), x)
    assert torch.equal(bone[:, :, 3], x[:, :, 3] - x[:, :, 2])  # head minus shoulder centre
    assert not bone[:, :, KINECT_V1.centre].any() and not motion[:, -1].any()
    assert torch.equal(motion[:, 0], x[:, 1] - x[:, 0])
    torch.testing.assert_close(stream_of(x, "bone_motion", parents), stream_of(bone, "joint_motion", parents))


def test_fused_logits_are_the_mean_over_streams() -> None:
    net = MultiStream(4, (8, 20, 3), net=Tcn, streams=STREAMS).eval()
    x = torch.randn(2, 8, 20, 3)
    each = [net.nets[name](stream_of(x, name, KINECT_V1.parents)) for name in STREAMS]
    torch.testing.assert_close(net(x), sum(each) / 4)


def test_temporal_shift_moves_channels_between_frames_of_a_clip_only() -> None:
    x = torch.arange(2 * 3).float().reshape(6, 1, 1, 1).expand(6, 8, 1, 1)  # two clips of three frames: 0 1 2 | 3 4 5
    shifted = TemporalShift(num_frames=3)(x)[:, :3, 0, 0]
    assert shifted[:, 0].tolist() == [0, 0, 1, 0, 3, 4]  # from the frame before
    assert shifted[:, 1].tolist() == [1, 2, 0, 4, 5, 0]  # from the frame after
    assert shifted[:, 2].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("build", "lesson"),
    [
        (lambda: StGcn(4, (8, 17, 3)), "J in"),
        (lambda: StGcn(4, (8, 20, 3), base_channels=4), "at least 6"),
        (lambda: CtrGcn(4, (8, 20, 3), base_channels=6), "divisible by its 4"),
        (lambda: Tcn(4, (8, 12), channels=12), "divisible by 8"),
        (lambda: Branches(4, (8, 20, 3), parts=[20, -1], nets=[Tcn, Tcn]), "a net for each part"),
        (lambda: MultiStream(4, (8, 20, 3), net=Tcn, streams=("optical flow",)), "streams among"),
        (lambda: MultiStream(4, (8, 20, 3), net=Silent), "nets that show their maps, got Silent"),  # type: ignore[arg-type]
        (lambda: VideoNet(4, (8, 32, 32, 3), name="resnet18"), "a name among"),
        (lambda: VideoNet(4, (4, 64, 64, 3), name="s3d"), "5 frames"),
    ],
)
def test_errors_teach(build: Callable[[], nn.Module], lesson: str) -> None:
    with pytest.raises(ValueError, match=lesson):
        build()


class Silent(nn.Module):
    """A net without maps."""

    def __init__(self, num_classes: int, sample_shape: tuple[int, ...]) -> None:
        super().__init__()


@pytest.mark.parametrize("name", sorted(HEADS))
def test_video_nets_answer_as_torchvisions_own(name: str) -> None:
    net = VideoNet(NUM_CLASSES, (16, 32, 32, 3), name=name).eval()
    x = clips((16, 32, 32, 3), 2)
    net.net.avgpool = nn.AdaptiveAvgPool3d(1)  # what s3d's own window is at its own size, and what the others have
    with torch.no_grad():
        torch.testing.assert_close(net(x), net.net(net.normalise(x).permute(0, 4, 1, 2, 3)))


def test_mobilenet_answers_as_the_mean_of_torchvisions_own_over_frames() -> None:
    net = MobileNetTsm(NUM_CLASSES, (4, 32, 32, 3)).eval()
    x = clips((4, 32, 32, 3), 2)
    with torch.no_grad():
        frames = net.normalise(x).flatten(0, 1).permute(0, 3, 1, 2)
        torch.testing.assert_close(net(x), net.net(frames).unflatten(0, (2, 4)).mean(1))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_video_net_trains(name: str) -> None:
    net = VideoNet(NUM_CLASSES, (16, 32, 32, 3), name=name).train()
    loss = loss_with_fixed_dropout(net, clips((16, 32, 32, 3), 1), torch.tensor([0]))
    loss.backward()
    assert torch.isfinite(loss)


def loss_with_fixed_dropout(net: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    torch.manual_seed(1)
    return F.cross_entropy(net(x), labels)


def num_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
