"""lint: Bundle -> Findings. Proves that an INT8 graph is written in its target's dialect; runs nowhere but here.

The rules, with the engine's own document or source behind each, are in docs/architecture.md, "Dialects".
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import ArtifactError
from edgexfer.train.onnx_graph import Graph, read_graph

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# What ONNX Runtime may leave beside its 8-bit kernels: it moves values, or stands at the two ends.
_HARMLESS = {
    "Transpose",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Softmax",
    "Slice",
    "Split",
    "Gather",
    "MaxPool",
}
_EIGHT_BIT_PREFIXES = ("QLinear", "QGemm", "QConv")
_TENSORRT_OPSETS = range(9, 18)  # what 8.6 reads; later versions read these too


@dataclass(frozen=True)
class Finding:
    """One breach of a dialect.

    Attributes:
        rule: its short name.
        node: name of the node in the ONNX graph.
        message: what was found and what was expected.
        remedy: what mends it.
    """

    rule: str
    node: str
    message: str
    remedy: str


def lint(folder: str | Path) -> list[Finding]:
    """Returns what in a bundle's graph its target's engine will not run in 8 bits; empty where all is well.

    A float bundle is only checked for its two ends, uint8 pixels and float32 probabilities.

    Raises:
        ArtifactError: not a bundle, or its model is no valid ONNX.
    """
    bundle = open_bundle(folder)
    try:
        model = onnx.load(bundle.model)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx raises protobuf's, checker's and inference's own kinds
        raise ArtifactError(f"{bundle.model} is not a valid ONNX file: {error}", "export the bundle again") from error
    graph = read_graph(model)
    rules: list[Callable[[Graph], Iterator[Finding]]] = [_ends]
    if bundle.precision == "int8":
        rules += [_constant_scales, _weights_stored]
        rules += (
            [_ort_types, _float_left] if bundle.target.dialect == "ort" else [_tensorrt_types, _tensorrt_adds, _opset]
        )
    return [finding for rule in rules for finding in rule(graph)]


def float_operators(model: ModelProto) -> list[NodeProto]:
    """Returns the operators that ONNX Runtime still computes in float after fusing, softmax aside.

    Raises:
        ArtifactError: ONNX Runtime refuses to open the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        options.log_severity_level = 3
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class of its own for each kind of refusal
            raise ArtifactError(f"ONNX Runtime does not take this file: {error}", "export the bundle again") from error
        nodes = onnx.load(options.optimized_model_filepath).graph.node
    allowed = {*_HARMLESS, _QUANTIZE, _DEQUANTIZE}
    return [n for n in nodes if n.op_type not in allowed and not n.op_type.startswith(_EIGHT_BIT_PREFIXES)]


def _ends(graph: Graph) -> Iterator[Finding]:
    source, result = graph.model.graph.input[0], graph.model.graph.output[0]
    pixels, probabilities = source.type.tensor_type, result.type.tensor_type
    if pixels.elem_type != onnx.TensorProto.UINT8 or len(pixels.shape.dim) != 4 or pixels.shape.dim[3].dim_value != 3:
        yield Finding("pixels-in", source.name, "expected uint8 [N, H, W, 3]", "export the bundle again")
    if probabilities.elem_type != onnx.TensorProto.FLOAT or len(probabilities.shape.dim) != 2:
        yield Finding("probabilities-out", result.name, "expected float32 [N, classes]", "export the bundle again")


def _quantizers(graph: Graph) -> Iterator[NodeProto]:
    return (node for node in graph.nodes if node.op_type in (_QUANTIZE, _DEQUANTIZE))


def _constant_scales(graph: Graph) -> Iterator[Finding]:
    for node in _quantizers(graph):
        if len(node.input) < 3 or any(name not in graph.constants for name in node.input[1:]):
            message = "scale or zero point is not a direct initializer"
            yield Finding("constant-scales", node.name, message, "fold constants and give both as initializers")


def _weights_stored(graph: Graph) -> Iterator[Finding]:
    for node in graph.nodes:
        if node.op_type == _QUANTIZE and node.input[0] in graph.constants:
            yield Finding("int8-weights", node.name, "a float weight is quantized at run time", "store it as int8")


def _is_weight(graph: Graph, node: NodeProto) -> bool:
    behind = graph.producer(node.input[0])
    source = behind.input[0] if behind is not None and behind.op_type == _QUANTIZE else node.input[0]
    return source in graph.constants


def _scales(graph: Graph) -> Iterator[tuple[NodeProto, NDArray[Any], NDArray[Any]]]:
    """Gives every quantizer with its scale and zero point; those that are not constant have been found already."""
    for node in _quantizers(graph):
        if len(node.input) == 3 and node.input[1] in graph.constants and node.input[2] in graph.constants:
            yield node, graph.constants[node.input[1]], graph.constants[node.input[2]]


def _ort_types(graph: Graph) -> Iterator[Finding]:
    for node, scale, zero in _scales(graph):
        if _is_weight(graph, node):
            if zero.dtype not in (np.int8, np.int32) or zero.any():
                yield Finding("symmetric-weights", node.name, f"zero point {zero.dtype}", "int8 weights, zero point 0")
        elif zero.dtype != np.uint8 or scale.ndim:
            found = f"{zero.dtype}, {'per channel' if scale.ndim else 'per tensor'}"
            yield Finding(
                "u8-activations", node.name, f"activation is {found}", "uint8 per tensor fuses, others do not"
            )


def _float_left(graph: Graph) -> Iterator[Finding]:
    try:
        nodes = float_operators(graph.model)
    except ArtifactError as error:
        yield Finding("engine-opens", "model", error.message, error.hint)
        return
    for node in nodes:
        remedy = "a quantizer on each side lets it fuse; see `edgexfer backbones` for networks whose layers all do"
        yield Finding("float-operator", node.name, f"ONNX Runtime computes this {node.op_type} in float", remedy)


def _tensorrt_types(graph: Graph) -> Iterator[Finding]:
    for node in graph.nodes:
        if node.op_type.startswith(("QLinear", "Dynamic")) or node.op_type in ("ConvInteger", "Identity"):
            yield Finding("explicit-qdq", node.name, f"TensorRT does not take {node.op_type}", "write Q/DQ pairs")
    for node, scale, zero in _scales(graph):
        if zero.dtype != np.int8 or zero.any() or zero.shape != scale.shape:
            yield Finding(
                "signed-symmetric", node.name, f"zero point is {zero.dtype}", "int8, 0, shaped like the scale"
            )
        if not (scale > 0).all():
            yield Finding("positive-scales", node.name, "a scale is not above 0", "calibrate again")
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if _is_weight(graph, node) and (scale.ndim != 1 or axis != 0):
            yield Finding(
                "per-channel-weights", node.name, "weight scales are not one a channel on axis 0", "quantize axis 0"
            )
        if not _is_weight(graph, node) and scale.ndim:
            yield Finding(
                "per-tensor-activations", node.name, "activation scales are per channel", "one scale a tensor"
            )
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm") and len(node.input) == 3 and node.input[2] not in graph.constants:
            yield Finding("float-bias", node.name, "its bias is quantized", "keep the bias in float")


def _tensorrt_adds(graph: Graph) -> Iterator[Finding]:
    for node in (n for n in graph.nodes if n.op_type == "Add"):
        sources = [graph.producer(name) for name in node.input]
        quantized = sum(source is not None and source.op_type == _DEQUANTIZE for source in sources)
        if quantized != 1:
            message = f"{quantized} of its branches are quantized, expected the identity branch alone"
            yield Finding("one-branch-at-add", node.name, message, "leave the convolution's branch unquantized")


def _opset(graph: Graph) -> Iterator[Finding]:
    version = next(o.version for o in graph.model.opset_import if o.domain in ("", "ai.onnx"))
    if version not in _TENSORRT_OPSETS:
        wanted = f"{_TENSORRT_OPSETS.start} to {_TENSORRT_OPSETS.stop - 1}"
        yield Finding("opset", "model", f"opset {version}, TensorRT 8.6 reads {wanted}", "set opset in the target")
