"""Nets for pictures in motion, from torchvision: clips uint8 [B T H W 3] -> logits [B K].

    VideoNet, "r2plus1d_18" and "mc3_18"   Tran et al. CVPR 2018, https://arxiv.org/abs/1711.11248
    VideoNet, "s3d"                        Xie et al. ECCV 2018, https://arxiv.org/abs/1712.04851
    VideoNet, "swin3d_t"                   Liu et al. CVPR 2022, https://arxiv.org/abs/2106.13230
    MobileNetTsm                           Howard et al. ICCV 2019, https://arxiv.org/abs/1905.02244, with the temporal
                                           shift of Lin, Gan, Han. ICCV 2019, https://arxiv.org/abs/1811.08383

Pictures are normalised inside, to the statistics that the published weights were trained with. `weights: DEFAULT`
downloads those weights; null starts afresh. A batch of one trains as long as the last feature map, over frames and
pixels, has more than one cell (BatchNorm needs two values): for s3d 16 frames or 64 pixels, for the ResNets 32 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from fedkd.models._temporal_shift import shifted
from fedkd.models._torchvision import torchvision

HEADS = {"r2plus1d_18": "fc", "mc3_18": "fc", "s3d": "classifier.1", "swin3d_t": "head"}
"""Where each net keeps the layer that names the classes."""


class VideoNet(nn.Module):
    """A torchvision video classifier, chosen by its torchvision name."""

    def __init__(self, num_classes: int, sample_shape: Sequence[int], *, name: str, weights: str | None = None) -> None:
        super().__init__()
        if name not in HEADS:
            raise ValueError(f"VideoNet needs a name among {sorted(HEADS)}, got {name!r}.")
        if name == "s3d" and (sample_shape[0] < 5 or min(sample_shape[1:3]) < 17):
            raise ValueError(f"s3d needs clips of 5 frames and 17 pixels at least, got {tuple(sample_shape)}.")
        models = torchvision().models
        self.normalise = Normalise(models.get_model_weights(name).DEFAULT)
        self.net = models.get_model(name, weights=weights)
        if name == "s3d":  # its pooling window wants 224 pixels and 16 frames; over those it equals this one
            self.net.avgpool = nn.AdaptiveAvgPool3d(1)
        self.net.set_submodule(HEADS[name], _same_layer(self.net.get_submodule(HEADS[name]), num_classes))

    def forward(self, x: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B K"]:
        """Logits of clips."""
        return self.net(self.normalise(x).permute(0, 4, 1, 2, 3))  # B 3 T H W -> B K


class MobileNetTsm(nn.Module):
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

    def forward(self, x: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B K"]:
        """Logits of clips."""
        batch = x.shape[0]
        frames = self.normalise(x).flatten(0, 1).permute(0, 3, 1, 2)  # BT 3 H W
        return self.net(frames).unflatten(0, (batch, -1)).mean(1)  # B K


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
