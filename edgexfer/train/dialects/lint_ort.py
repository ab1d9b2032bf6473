"""The rules of ONNX Runtime's CPU kernels: uint8 activations, and nothing left in float after its own fusion.

But for the layers that accuracy control left in float: those are, and no others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto

from edgexfer.core.errors import ArtifactError
from edgexfer.train.dialects.finding import (
    Finding,
    constant_scales,
    is_weight,
    quantizers_in,
    scales_in,
    weights_stored,
)
from edgexfer.train.dialects.onnx_graph import QUANTIZERS, Graph, layer_name

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
_ACTIVATIONS = {"Clip", "Relu"}
_EIGHT_BIT_PREFIXES = ("QLinear", "QGemm", "QConv")


def ort_findings(graph: Graph, float_layers: Collection[str] = ()) -> Iterator[Finding]:
    """Gives what in an INT8 graph ONNX Runtime does not run in 8 bits.

    Args:
        graph: as it was written.
        float_layers: names of the layers that compute in float on purpose; one that does not is a finding too.
    """
    yield from constant_scales(graph)
    yield from _zero_points(graph)
    yield from weights_stored(graph)
    yield from _types(graph)
    yield from _float_left(graph, float_layers)


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
    allowed = {*_HARMLESS, *QUANTIZERS}
    return [n for n in nodes if n.op_type not in allowed and not n.op_type.startswith(_EIGHT_BIT_PREFIXES)]


def _zero_points(graph: Graph) -> Iterator[Finding]:
    for node in quantizers_in(graph):
        if len(node.input) < 3:
            yield Finding("constant-scales", node.name, "it has no zero point", "give it as an initializer")


def _types(graph: Graph) -> Iterator[Finding]:
    for node, scale, zero in scales_in(graph):
        if is_weight(graph, node):
            if zero.dtype not in (np.int8, np.int32) or zero.any():
                yield Finding("symmetric-weights", node.name, f"zero point {zero.dtype}", "int8 weights, zero point 0")
            elif _has_lowest(graph, node):
                remedy = "cut it off at -127: on Arm without dot product, and in depthwise layers there, -128 overflows"
                yield Finding("narrow-weights", node.name, "a weight is -128, expected -127 to 127", remedy)
        elif zero.dtype != np.uint8 or scale.ndim:
            found = f"{zero.dtype}, {'per channel' if scale.ndim else 'per tensor'}"
            yield Finding(
                "u8-activations", node.name, f"activation is {found}", "uint8 per tensor fuses, others do not"
            )


def _has_lowest(graph: Graph, node: NodeProto) -> bool:
    weight = graph.constants.get(node.input[0])
    return weight is not None and weight.dtype == np.int8 and bool((weight == np.iinfo(np.int8).min).any())


def _float_left(graph: Graph, float_layers: Collection[str]) -> Iterator[Finding]:
    try:
        nodes = float_operators(graph.model)
    except ArtifactError as error:
        yield Finding("engine-opens", "model", error.message, error.hint)
        return
    # Fusing changes a node's operator and keeps its name.
    names = {node.name: layer_name(node) for node in graph.nodes}
    meant: set[str] = set()
    seen = set()
    for node in nodes:
        name = names.get(node.name, node.name)
        if name in float_layers or (node.op_type in _ACTIVATIONS and node.input[0] in meant):
            seen.add(name)
            meant.update(node.output)
            continue
        remedy = "a quantizer on each side lets it fuse; see `edgexfer backbones` for networks whose layers all do"
        yield Finding("float-operator", node.name, f"ONNX Runtime computes this {node.op_type} in float", remedy)
    for name in float_layers:
        if name not in seen:
            message = "the bundle says that this layer computes in float, and ONNX Runtime computes it in 8 bits"
            yield Finding("float-layers", name, message, "export the bundle again")
