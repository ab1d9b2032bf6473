"""The rules of TensorRT's explicit quantization that hold for every release: what its importer and builder take.

R1 to R10 of NVIDIA's documents: IQuantizeLayer and IDequantizeLayer in NvInfer.h, onnx-tensorrt's importers, and the
developer guide's "Explicit quantization". What differs between releases is in lint_versions.py, what costs speed in
lint_placement.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import shape_inference

from edgexfer.train.dialects.finding import (
    QUANTIZE,
    Finding,
    constant_scales,
    is_weight,
    quantizers_in,
    scales_in,
    weights_stored,
)
from edgexfer.train.dialects.onnx_graph import Graph

_OTHER_QUANTIZATION = {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "DynamicQuantizeLSTM"}


def legality_findings(graph: Graph) -> Iterator[Finding]:
    """Gives what in an INT8 graph no release of TensorRT takes, or takes for something else."""
    yield from constant_scales(graph)
    yield from weights_stored(graph)
    yield from _explicit_pairs(graph)
    yield from _zero_points(graph)
    yield from _granularity(graph)
    yield from _float_biases(graph)
    yield from _no_scalars(graph)


def _explicit_pairs(graph: Graph) -> Iterator[Finding]:
    for node in graph.nodes:
        if node.op_type.startswith("QLinear") or node.op_type in _OTHER_QUANTIZATION:
            yield Finding("explicit-qdq", node.name, f"TensorRT does not take {node.op_type}", "write Q/DQ pairs")
        if node.op_type == "Identity":
            yield Finding("no-identity", node.name, "an Identity hides what it gives on", "take it out")
        if node.op_type == "BatchNormalization":
            message = "a batch norm stands between a convolution and its quantizer"
            yield Finding("folded-batch-norm", node.name, message, "fold it into the convolution before quantizing")


def _zero_points(graph: Graph) -> Iterator[Finding]:
    for node in quantizers_in(graph):
        if node.op_type == QUANTIZE and len(node.input) < 3:
            message = "without a zero point it is uint8, which TensorRT does not take"
            yield Finding("signed-symmetric", node.name, message, "give an int8 zero point of 0, shaped like the scale")
    for node, scale, zero in scales_in(graph):
        if zero.dtype != np.int8 or zero.any() or zero.shape != scale.shape:
            found = f"zero point is {zero.dtype} {list(zero.shape)}{', not 0' if zero.any() else ''}"
            yield Finding("signed-symmetric", node.name, found, "int8, 0, shaped like the scale")
        if not (scale > 0).all():
            yield Finding("positive-scales", node.name, "a scale is not above 0", "calibrate again")


def _granularity(graph: Graph) -> Iterator[Finding]:
    for node, scale, _ in scales_in(graph):
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if is_weight(graph, node) and (scale.ndim != 1 or axis != 0):
            message = "weight scales are not one a channel on axis 0"
            yield Finding("per-channel-weights", node.name, message, "quantize axis 0")
        if not is_weight(graph, node) and scale.ndim:
            message = "activation scales are per channel"
            yield Finding("per-tensor-activations", node.name, message, "one scale a tensor")


def _float_biases(graph: Graph) -> Iterator[Finding]:
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm") and len(node.input) == 3 and node.input[2] not in graph.constants:
            yield Finding("float-bias", node.name, "its bias is quantized", "keep the bias in float")


def _no_scalars(graph: Graph) -> Iterator[Finding]:
    inferred = shape_inference.infer_shapes(graph.model).graph
    known = (*inferred.value_info, *inferred.input)
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in known if value.type.HasField("tensor_type")}
    ranks |= {name: value.ndim for name, value in graph.constants.items()}
    for node in quantizers_in(graph):
        if ranks.get(node.input[0]) == 0:
            yield Finding("no-scalars", node.name, "it quantizes a scalar", "fold the scalar into a constant")
