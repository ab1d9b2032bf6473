"""The precisions that one network is written in, from which `export` and the device choose the fastest.

Which layers an engine runs faster in 8 bits is known only on the device: TensorRT has slow INT8 kernels for many
depthwise convolutions. So a bundle holds every form, each with the network in PyTorch that it must agree with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto

from edgexfer.core.target import Target
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.pixels_in import PixelType
from edgexfer.train.dialects.to_onnx import example_for, load_network, to_onnx

_EIGHT_BIT, _HALF, _FLOAT = 0.1, 0.02, 1e-3
"""Largest difference of a probability between PyTorch and the file. In INT8 the engine accumulates in integers and
rounds once where PyTorch's simulation rounds twice: single activations differ by one step. In float16 constants and
activations are rounded to 11 bits."""


@dataclass(frozen=True)
class Candidate:
    """One form of the network.

    Attributes:
        precision: its name in the bundle.
        network: what it must compute, in PyTorch.
        model: the ONNX file.
        tolerance: largest difference of a probability between the two.
    """

    precision: str
    network: DeployNetwork
    model: ModelProto
    tolerance: float


def float_precision(target: Target) -> str:
    """Returns what the float network is called for `target`: "float16" where its engine shall compute in that."""
    return "float16" if target.dialect == "tensorrt" and target.precision != "float32" else "float32"


def candidates_of(checkpoint: Checkpoint, target: Target, beside: Checkpoint | None = None) -> list[Candidate]:
    """Returns the forms of a checkpoint's network for a target, that of the checkpoint itself first.

    Args:
        checkpoint: float or quantized.
        target: decides dialect, opset and float type.
        beside: the float checkpoint it was quantized from; without it there is but the first form.

    Raises:
        EdgexferError: the checkpoint learned another dialect, or its values do not fit the target's float type.
    """
    network = load_network(checkpoint, target)
    if checkpoint.quantization is None:
        return [_float(checkpoint, network, target)]
    forms = [quantized_form(checkpoint, network, target)]
    if beside is None:
        return forms
    if target.dialect == "tensorrt":
        from edgexfer.train.quantize.quantizers import with_float_depthwise  # noqa: PLC0415 - NNCF, not needed for float

        mixed = with_float_depthwise(network, example_for(checkpoint, network))
        if mixed is not None:
            forms.append(quantized_form(checkpoint, mixed, target, "int8-depthwise-float16"))
    if beside.quantization is None and beside.digest != checkpoint.digest:
        forms.append(_float(beside, beside.float_network(), target))
    return forms


def float_reference(checkpoint: Checkpoint, target: Target, candidates: Sequence[Candidate]) -> Candidate:
    """Returns what a quantized network is held to, layer by layer: the float candidate beside it.

    Where there is none, because the checkpoint is exported by itself, it is the same network without its quantizers,
    under the precision "unquantized".

    Args:
        checkpoint: a quantized one.
        target: the one the candidates were made for.
        candidates: those that `candidates_of` gave.
    """
    for candidate in candidates:
        if not candidate.precision.startswith("int8"):
            return candidate
    from edgexfer.train.quantize.quantizers import without_quantizers  # noqa: PLC0415 - NNCF, not needed for float

    network = without_quantizers(candidates[0].network)
    return Candidate("unquantized", network, _model(checkpoint, network, target, "int8"), _FLOAT)


def with_float_pixels(candidate: Candidate, checkpoint: Checkpoint, target: Target) -> ModelProto:
    """Returns the candidate's network with pixels float32 [N, H, W, 3], 0 to 255, for engines that cannot read uint8.

    Args:
        candidate: one of those that `candidates_of` gave.
        checkpoint: the one it was made from.
        target: the one it was made for.
    """
    return _model(checkpoint, candidate.network, target, candidate.precision, pixel_type="float32")


def quantized_form(
    checkpoint: Checkpoint, network: DeployNetwork, target: Target, precision: str = "int8"
) -> Candidate:
    """Returns a network with quantizers as it is written for a target.

    Args:
        checkpoint: a quantized one, of which labels and input size are taken.
        network: in evaluation mode.
        target: decides dialect, opset and float type.
        precision: what the bundle calls it.
    """
    return Candidate(precision, network, _model(checkpoint, network, target, precision), _EIGHT_BIT)


def _float(checkpoint: Checkpoint, network: DeployNetwork, target: Target) -> Candidate:
    precision = float_precision(target)
    half = precision == target.float_type == "float16"
    return Candidate(precision, network, _model(checkpoint, network, target, precision), _HALF if half else _FLOAT)


def _model(
    checkpoint: Checkpoint,
    network: DeployNetwork,
    target: Target,
    precision: str,
    pixel_type: PixelType = "uint8",
) -> ModelProto:
    quantized = precision.startswith("int8")
    half = target.float_type == "float16" and precision != "float32"
    return to_onnx(checkpoint, network, target, quantized=quantized, half=half, pixel_type=pixel_type)
