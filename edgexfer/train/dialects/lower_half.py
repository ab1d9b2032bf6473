"""The float rest of a network as float16, for engines that take every type from the file (TensorRT 11).

In: a lowered graph in float32, without its softmax. Out: float16 between the Cast that reads the pixels and one
more in front of the logits, which stay float32, as the probabilities do. Scales of quantizers are float16 too: the
importer wants them in the type of what is quantized (ONNX says so from opset 19 on).

float16 holds 11 bits from 6.1e-5 to 65504, and fewer below (subnormal numbers, steps of 6e-8). Weights that nearly
vanish have scales down there. A scale is rounded upwards, and its steps are counted anew, so that no weight moves
by more than half a step and none is cut off; what rounds to nothing becomes the smallest number there is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from edgexfer.core.errors import EdgexferError
from edgexfer.train.dialects.onnx_graph import QUANTIZERS, Graph, shape_along_axis

_HALF = np.finfo(np.float16)
_LEAST_OPSET = 19
_HALF_A_STEP = 1 / 256  # of the range


def lower_half(graph: Graph) -> None:
    """Rewrites `graph` in place; see the module's docstring.

    Raises:
        EdgexferError: its opset knows no quantizer of float16, a constant is beyond float16's range, or the scale of
            an activation so small that float16 would change the range it stands for.
    """
    opset = next(entry.version for entry in graph.model.opset_import if entry.domain in ("", "ai.onnx"))
    quantizers = [node for node in graph.nodes if node.op_type in QUANTIZERS]
    if quantizers and opset < _LEAST_OPSET:
        raise EdgexferError(
            f"opset {opset} has no quantizer of float16, it takes {_LEAST_OPSET} or later",
            'set opset = 19 in the target, or float_type = "float32" for TensorRT up to 10',
        )
    for node in quantizers:
        if node.input[0] in graph.constants:
            _round_weight_scale(graph, node)
        else:
            _check_activation_scale(node.output[0], graph.constants[node.input[1]])
    for name, value in graph.constants.items():
        if value.dtype == np.float32:
            graph.constants[name] = _halved(name, value)
    for node in (n for n in graph.nodes if n.op_type == "Cast"):
        for attribute in (a for a in node.attribute if a.name == "to" and a.i == TensorProto.FLOAT):
            attribute.i = TensorProto.FLOAT16
    _end_in_float32(graph)


def _round_weight_scale(graph: Graph, dequantize: NodeProto) -> None:
    steps, scale, zero = (graph.constants[name] for name in dequantize.input)
    nearest = scale.astype(np.float16)
    # Upwards: a smaller scale would cut off the largest weights.
    rounded = np.where(nearest < scale, np.nextafter(nearest, np.float16(np.inf)), nearest).astype(np.float16)
    ratio = (scale.astype(np.float64) / rounded.astype(np.float64)).reshape(shape_along_axis(dequantize, steps, scale))
    limits = np.iinfo(steps.dtype)
    counted = np.clip(np.rint(steps * ratio), limits.min, limits.max).astype(steps.dtype)
    dequantize.input[0] = graph.constant(dequantize.input[0], counted)
    dequantize.input[1] = graph.constant(dequantize.input[1], rounded)
    dequantize.input[2] = graph.constant(dequantize.input[2], zero)


def _check_activation_scale(name: str, scale: NDArray[Any]) -> None:
    # Both quantizers of a pair take the rounded scale: the range moves, here by half a step at most, and no value else.
    off = np.abs(scale.astype(np.float16).astype(np.float64) / scale - 1)
    if not (off <= _HALF_A_STEP).all():
        raise EdgexferError(
            f"the activations at {name} are quantized in steps of {float(scale.min()):.3g}, too small for float16",
            'export for a target with float_type = "float32", or fine-tune again: this layer gives next to nothing',
        )


def _halved(name: str, value: NDArray[Any]) -> NDArray[np.float16]:
    largest = float(np.abs(value).max(initial=0))
    if not largest <= float(_HALF.max):
        raise EdgexferError(
            f"{name} holds {largest:.3g}, float16 ends at {float(_HALF.max):.0f}",
            'export for a target with float_type = "float32", or fine-tune again',
        )
    return value.astype(np.float16)


def _end_in_float32(graph: Graph) -> None:
    """Casts the logits, the graph's only output, to float32."""
    logits = graph.model.graph.output[0].name
    half = graph.fresh(f"{logits}_half")
    for node in graph.nodes:
        for names in (node.input, node.output):
            for position in (i for i, name in enumerate(names) if name == logits):
                names[position] = half
    graph.nodes.append(helper.make_node("Cast", [half], [logits], name="logits_to_float32", to=TensorProto.FLOAT))
