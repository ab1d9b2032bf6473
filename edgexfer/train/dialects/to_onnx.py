"""A checkpoint's network in PyTorch, and the same as an ONNX file in its target's dialect."""

from __future__ import annotations

import io
import warnings

import onnx
import torch
from onnx import ModelProto

from edgexfer.core.errors import EdgexferError
from edgexfer.core.target import Target
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.lower_half import lower_half
from edgexfer.train.dialects.lower_ort import lower_ort
from edgexfer.train.dialects.lower_tensorrt import lower_tensorrt
from edgexfer.train.dialects.onnx_graph import Graph, read_graph, simplify, to_model
from edgexfer.train.dialects.pixels_in import PixelType, give_probabilities, take_pixels


def load_network(checkpoint: Checkpoint, target: Target) -> DeployNetwork:
    """Returns the checkpoint's network in evaluation mode, its quantizers in place.

    Raises:
        EdgexferError: it was quantized for another dialect or another number of weight bits.
    """
    quantization = checkpoint.quantization
    if quantization is None:
        return checkpoint.float_network()
    from edgexfer.train.quantize.quantizers import restore_quantizers  # noqa: PLC0415 - NNCF, not needed for float

    learned = (quantization["dialect"], quantization["weight_bits"])
    if learned != (target.dialect, target.weight_bits):
        raise EdgexferError(
            f"{checkpoint.folder} learned the dialect {learned[0]} with {learned[1]} weight bits, "
            f"{target.name} wants {target.dialect} with {target.weight_bits}",
            "export the float RUN: it is quantized for each target anew",
        )
    network = restore_quantizers(checkpoint.empty_network(), quantization["nncf"])
    network.load_state_dict(checkpoint.state())
    return network.eval()


def example_for(checkpoint: Checkpoint, network: DeployNetwork) -> torch.Tensor:
    """Returns an input of `network.network`, float32 [1, 3, H, W]."""
    return network.centre(torch.zeros(1, 3, checkpoint.preprocess.height, checkpoint.preprocess.width))


def to_onnx(
    checkpoint: Checkpoint,
    network: DeployNetwork,
    target: Target,
    *,
    quantized: bool,
    half: bool = False,
    pixel_type: PixelType = "uint8",
) -> ModelProto:
    """Returns the network as ONNX in the target's dialect: pixels in, probabilities out.

    Args:
        checkpoint: where labels and input size come from.
        network: in evaluation mode.
        target: decides dialect and opset.
        quantized: whether NNCF's quantizers are in the network.
        half: whether what is not in 8 bits is written as float16.
        pixel_type: of the file's input; anything but "uint8" breaks the bundle's contract.

    Raises:
        EdgexferError: `half`, and a constant is beyond what float16 holds.
    """
    preprocess = checkpoint.preprocess
    graph = _exported(checkpoint, network, target.opset, quantized=quantized)
    take_pixels(
        graph,
        preprocess.height,
        preprocess.width,
        network.pixel_scale,
        network.pixel_zero,
        dialect=target.dialect,
        pixel_type=pixel_type,
    )
    if quantized:
        (lower_ort if target.dialect == "ort" else lower_tensorrt)(graph)
    if half:
        lower_half(graph)
    give_probabilities(graph, len(checkpoint.labels))
    return to_model(graph, name=str(checkpoint.manifest["name"]), producer="edgexfer")


def _exported(checkpoint: Checkpoint, network: DeployNetwork, opset: int, *, quantized: bool) -> Graph:
    example = example_for(checkpoint, network)
    module = network.network
    if quantized:
        from edgexfer.train.quantize.quantizers import stripped  # noqa: PLC0415

        module = stripped(network, example)
    written = io.BytesIO()
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated; the new one cannot write FakeQuantize (docs/log.md).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            written,  # type: ignore[arg-type]  # the exporter takes a stream, its annotation only paths
            dynamo=False,
            opset_version=opset,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
        )
    graph = read_graph(onnx.load_from_string(written.getvalue()))
    simplify(graph)
    return graph
