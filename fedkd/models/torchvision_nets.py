"""Nets for pictures in motion, from torchvision: clips uint8 [B T H W 3] -> logits [B K].

    VideoNet, "r2plus1d_18"                Tran et al. CVPR 2018, https://arxiv.org/abs/1711.11248
    VideoNet, "s3d"                        Xie et al. ECCV 2018, https://arxiv.org/abs/1712.04851
    VideoNet, "swin3d_t"                   Liu et al. CVPR 2022, https://arxiv.org/abs/2106.13230
    MobileNetTsm                           Howard et al. ICCV 2019, https://arxiv.org/abs/1905.02244, with the temporal
                                           shift of Lin, Gan, Han. ICCV 2019, https://arxiv.org/abs/1811.08383

Pictures are normalised inside, to the statistics that the published weights were trained with. `weights: DEFAULT`
downloads those weights; null starts afresh. A batch of one trains as long as the last feature map, over frames and
pixels, has more than one cell (BatchNorm needs two values): for s3d 16 frames or 64 pixels, for R(2+1)D 32 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from fedkd.models._temporal_shift import shifted
from fedkd.models._torchvision import torchvision
from fedkd.models.shows_maps import ShowsMaps

HEADS = {"r2plus1d_18": "fc", "s3d": "classifier.1", "swin3d_t": "head"}
"""Where each net keeps the layer that names the classes."""


class VideoNet(ShowsMaps):
    """A torchvision video classifier, chosen by its torchvision name."""

    def __init__(self, num_classes: int, sample_shape: Sequence[int], *, name: str, weights: str | None = None) -> None:
        super().__init__()
        if name not in HEADS:
            raise ValueError(f"VideoNet needs a name among {sorted(HEADS)}, got {name!r}.")
        if name == "s3d" and (sample_shape[0] < 5 or min(sample_shape[1:3]) < 17):
            raise ValueError(f"s3d needs clips of 5 frames and 17 pixels at least, got {tuple(sample_shape)}.")
        models = torchvision().models
        self.normalise = Normalise(models.get_model_weights(name).DEFAULT)
        self.net: Any = models.get_model(name, weights=weights)
        head = self.net.get_submodule(HEADS[name])
        self.net.set_submodule(HEADS[name], _same_layer(head, num_classes))
        self.num_maps = head.in_features if isinstance(head, nn.Linear) else head.in_channels
        self.trunk, self.head = _PARTS[name]

    def maps(self, x: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B C U"]:
        """What every channel makes of every moment: the last features, averaged over pixels but not over time."""
        return self.trunk(self.net, self.normalise(x).permute(0, 4, 1, 2, 3)).mean((3, 4))  # B 3 T H W -> B C U

    def read(self, maps: Float[Tensor, "B C U"]) -> Float[Tensor, "B K"]:
        """Logits from the maps."""
        return self.head(self.net, maps.mean(2))


Layer = Callable[[Any, Tensor], Tensor]


def _residual_trunk(net: Any, x: Tensor) -> Tensor:
    return net.layer4(net.layer3(net.layer2(net.layer1(net.stem(x)))))


def _s3d_trunk(net: Any, x: Tensor) -> Tensor:
    return net.features(x)


def _s3d_head(net: Any, x: Tensor) -> Tensor:
    """Its own pooling window wants 224 pixels and 16 frames; over those it equals the mean."""
    return net.classifier(x[..., None, None, None]).flatten(1)


def _swin_trunk(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.features(net.pos_drop(net.patch_embed(x)))).permute(0, 4, 1, 2, 3)


_PARTS: dict[str, tuple[Layer, Layer]] = {
    "r2plus1d_18": (_residual_trunk, lambda net, x: net.fc(x)),
    "s3d": (_s3d_trunk, _s3d_head),
    "swin3d_t": (_swin_trunk, lambda net, x: net.head(x)),
}
"""What each net does before and after it pools its features [B C U h w]."""


class MobileNetTsm(ShowsMaps):
    """MobileNetV3-small on every frame, with a glance at the frames beside it; logits are averaged over frames."""

    def __init__(self, num_classes: int, sample_shape: Sequence[int], *, weights: str | None = None) -> None:
        super().__init__()
        models = torchvision().models
        self.normalise = Normalise(models.get_model_weights("mobilenet_v3_small").DEFAULT)
        self.net = models.mobilenet_v3_small(weights=weights)
        self.net.classifier[3] = _same_layer(self.net.classifier[3], num_classes)
        for block in self.net.features:
            if getattr(block, "use_res_connect", False):
                block.block.insert(0, TemporalShift(num_frames=sample_shape[0]))
        self.num_maps = self.net.classifier[0].in_features

    def maps(self, x: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B C T"]:
        """What every channel makes of every frame: the last features, averaged over pixels."""
        frames = self.normalise(x).flatten(0, 1).permute(0, 3, 1, 2)  # BT 3 H W
        return self.net.features(frames).mean((2, 3)).unflatten(0, (len(x), -1)).transpose(1, 2)

    def read(self, maps: Float[Tensor, "B C T"]) -> Float[Tensor, "B K"]:
        """Logits from the maps."""
        return self.net.classifier(maps.transpose(1, 2)).mean(1)


class TemporalShift(nn.Module):
    """`shifted`, as a layer."""

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames

    def forward(self, x: Float[Tensor, "BT C H W"]) -> Float[Tensor, "BT C H W"]:
        """The frames of clips laid end to end, each clip shifted within itself."""
        return shifted(x, self.num_frames)


class Normalise(nn.Module):
    """Bytes to the mean and deviation, per colour, that published weights expect."""

    mean: Tensor
    std: Tensor

    def __init__(self, published: object) -> None:
        super().__init__()
        preset = published.transforms()  # type: ignore[attr-defined]
        self.register_buffer("mean", torch.tensor(preset.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preset.std), persistent=False)

    def forward(self, x: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B T H W 3"]:
        """Colours of about zero mean and unit deviation."""
        return (x / 255 - self.mean) / self.std


def _same_layer(layer: nn.Module, num_classes: int) -> nn.Module:
    """A new layer of the same kind, for another number of classes."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, num_classes)
    assert isinstance(layer, nn.Conv3d)
    return nn.Conv3d(layer.in_channels, num_classes, kernel_size=1)
