"""The dialect of ONNX Runtime's CPU kernels: a learned Q/DQ graph rewritten so that every layer fuses to 8 bits.

In: the graph that the exporter wrote for a stripped NNCF network (float weights behind QuantizeLinear, float
biases). Out: int8 weights per channel, int32 biases in the scale of their product, uint8 activations, and
every operator between the first and the last quantizer with a quantizer on each side, so that ONNX Runtime
replaces it with QLinearConv, QLinearAdd, QLinearGlobalAveragePool or QGemm.
Rules: ONNX Runtime's qdq_transformer selectors; docs/architecture.md, "Dialects".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from edgexfer.train.dialects.onnx_graph import Graph, shape_along_axis

_LARGEST_STEPS = 2.0**30  # of a bias, in its product's scale: half of int32, the rest is the sum's
_MOVES_NO_VALUES = ("Flatten", "Reshape", "Squeeze", "Transpose")


def lower_ort(graph: Graph) -> None:
    """Rewrites `graph` in place; see the module's docstring."""
    store_weights_as_int8(graph)
    _move_values_in_8_bits(graph)
    _quantize_biases(graph)
    _drop_covered_clips(graph)


def store_weights_as_int8(graph: Graph) -> None:
    """Replaces QuantizeLinear of a constant by the int8 constant it computes, -127 to 127: a quarter of the bytes."""
    for node in [n for n in graph.nodes if n.op_type == "QuantizeLinear" and n.input[0] in graph.constants]:
        weight, scale, zero = (graph.constants[name] for name in node.input[:3])
        shape = shape_along_axis(node, weight, scale)
        limits = np.iinfo(zero.dtype)
        lowest = max(limits.min, -limits.max)  # as NNCF learned it; and on Arm two products of -128 may overflow
        steps = np.rint(weight / scale.reshape(shape)) + zero.reshape(shape).astype(np.float32)
        stored = graph.constant(f"{node.input[0]}_int8", np.clip(steps, lowest, limits.max).astype(zero.dtype))
        graph.replace_input(node.output[0], stored)
        graph.remove(node)


def quantizer_of(graph: Graph, name: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Returns scale and zero point of the DequantizeLinear that makes `name`, None where another node does."""
    node = graph.producer(name)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    return graph.constants[node.input[1]], graph.constants[node.input[2]]


def _quantize_biases(graph: Graph) -> None:
    for node in [n for n in graph.nodes if n.op_type in ("Conv", "Gemm") and len(n.input) == 3]:
        data, weight = quantizer_of(graph, node.input[0]), quantizer_of(graph, node.input[1])
        bias = graph.constants.get(node.input[2])
        if data is None or weight is None or bias is None:
            continue
        weight = _widened(graph, node.input[1], np.abs(bias) / data[0] / _LARGEST_STEPS)
        scale = np.broadcast_to(data[0].reshape(-1) * weight[0].reshape(-1), bias.shape).astype(np.float32)
        limits = np.iinfo(np.int32)
        steps = np.clip(np.rint(bias.astype(np.float64) / scale), limits.min, limits.max).astype(np.int32)
        inputs = [
            graph.constant(f"{node.input[2]}_int32", steps),
            graph.constant(f"{node.input[2]}_scale", np.ascontiguousarray(scale)),
            graph.constant(f"{node.input[2]}_zero", np.zeros(scale.shape, np.int32)),
        ]
        output = graph.fresh(f"{node.input[2]}_dequantized")
        graph.insert_before(node, helper.make_node("DequantizeLinear", inputs, [output], axis=0))
        node.input[2] = output


def _widened(graph: Graph, name: str, least: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Raises weight scales to `least`, below which a channel's bias does not fit int32; returns what is now there.

    It happens to channels whose weights are next to nothing: what they lose is less still, beside their bias.
    """
    dequantize = graph.producer(name)
    assert dequantize is not None  # noqa: S101 - the caller has asked
    steps, scale, zero = (graph.constants[part] for part in dequantize.input)
    wider = np.maximum(scale, least if scale.size > 1 else least.max()).astype(np.float32)
    if zero.any() or (wider == scale).all():
        return scale, zero
    shape = shape_along_axis(dequantize, steps, scale)
    fewer = np.rint(steps * (scale / wider).reshape(shape)).astype(steps.dtype)
    dequantize.input[0] = graph.constant(dequantize.input[0], fewer)
    dequantize.input[1] = graph.constant(dequantize.input[1], wider)
    return wider, zero


def _drop_covered_clips(graph: Graph) -> None:
    """Drops a Relu or Clip whose bounds the quantizer behind it imposes anyway (saturation does the same)."""
    for node in [n for n in graph.nodes if n.op_type in ("Relu", "Clip")]:
        behind = graph.consumers(node.output[0])
        if node.output[0] in graph.outputs or not behind:
            continue
        if all(n.op_type == "QuantizeLinear" and _covers(graph, node, n) for n in behind):
            graph.replace_input(node.output[0], node.input[0])
            graph.remove(node)


def _covers(graph: Graph, clip: NodeProto, quantize: NodeProto) -> bool:
    scale, zero = (graph.constants[name] for name in quantize.input[1:3])
    if scale.size != 1:
        return False
    limits = np.iinfo(zero.dtype)
    lowest = (limits.min - float(zero)) * float(scale)
    highest = (limits.max - float(zero)) * float(scale)
    low, high = _bounds(graph, clip)
    half_step = float(scale) / 2
    return lowest >= low - half_step * 1e-3 and highest <= high + half_step


def _bounds(graph: Graph, clip: NodeProto) -> tuple[float, float]:
    if clip.op_type == "Relu":
        return 0.0, np.inf
    given = [graph.constants[name] if name else None for name in [*clip.input[1:], "", ""][:2]]
    low, high = (None if value is None else float(value) for value in given)
    return (-np.inf if low is None else low), (np.inf if high is None else high)


def _move_values_in_8_bits(graph: Graph) -> None:
    """Lets Flatten and the like run on the 8-bit tensor: Q -> DQ -> Flatten becomes Q -> Flatten -> DQ."""
    for node in [n for n in graph.nodes if n.op_type in _MOVES_NO_VALUES]:
        dequantize = graph.producer(node.input[0])
        if dequantize is None or dequantize.op_type != "DequantizeLinear" or len(graph.consumers(node.input[0])) != 1:
            continue
        if graph.constants[dequantize.input[1]].size != 1:
            continue
        moved = graph.fresh(f"{node.output[0]}_8bit")
        again = helper.make_node("DequantizeLinear", [moved, *dequantize.input[1:]], [node.output[0]])
        node.input[0], node.output[0] = dequantize.input[0], moved
        graph.insert_after(node, again)
        graph.remove(dequantize)
