"""Zeros that a bundle says it has: 2:4 layer by layer, a share over all weights; and which layers 2:4 can serve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, shape_inference

from edgexfer.train.dialects.finding import DEQUANTIZE, Finding
from edgexfer.train.dialects.onnx_graph import Graph, layer_name, read_graph
from edgexfer.train.sparse.asked import TWO_FOUR
from edgexfer.train.sparse.two_four import broken_groups, is_eligible

_REMEDY = "compress the RUN again with --sparsity"


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer of a graph.

    Attributes:
        name: of its module.
        weights: [outputs, inputs of a group, ...], int8, float16 or float32.
        macs: of one image.
    """

    name: str
    weights: NDArray[Any]
    macs: int


def sparsity_findings(graph: Graph, record: dict[str, Any], *, sparse_weights: bool) -> Iterator[Finding]:
    """Gives where a graph has not the zeros that its bundle says it has.

    Args:
        graph: of any candidate.
        record: `sparsity` of the bundle's manifest; {} where it has none.
        sparse_weights: whether the target's options tell the engine that it is 2:4.
    """
    layers = list(weighted_layers(graph))
    asked = record.get("asked")
    if asked == TWO_FOUR or sparse_weights:
        eligible = [layer for layer in layers if is_eligible(layer.weights.shape)]
        if not eligible:
            message = "found no layer whose input channels are a multiple of 4, expected one at least"
            yield Finding("two-four", graph.model.graph.name, message, "export without --sparsity 2:4")
        for layer in eligible:
            broken, groups = broken_groups(layer.weights)
            if broken:
                message = (
                    f"found {broken} of {groups} groups of 4 input channels with more than 2 weights that are not "
                    "zero, expected none"
                )
                yield Finding("two-four", layer.name, message, f"{_REMEDY} 2:4")
    elif asked is not None:
        zeros = sum(int((layer.weights == 0).sum()) for layer in layers)
        weights = sum(layer.weights.size for layer in layers)
        if zeros < float(asked) * weights:
            message = f"found {zeros} of {weights} weights zero ({zeros / weights:.3f}), expected {asked} of them"
            yield Finding("sparse-weights", graph.model.graph.name, message, f"{_REMEDY} {asked}")


def eligible_macs(model: bytes) -> dict[str, Any]:
    """Returns {"layers": those that 2:4 fits, "of": all, "macs_share": their share of the multiply-accumulates}.

    Args:
        model: content of the ONNX file.
    """
    layers = list(weighted_layers(read_graph(onnx.load_from_string(model))))
    fitting = [layer for layer in layers if is_eligible(layer.weights.shape)]
    whole = sum(layer.macs for layer in layers)
    return {
        "layers": len(fitting),
        "of": len(layers),
        "macs_share": sum(layer.macs for layer in fitting) / whole if whole else 0.0,
    }


def weighted_layers(graph: Graph) -> Iterator[Layer]:
    """Gives every Conv, Gemm and MatMul with constant weights."""
    inferred = shape_inference.infer_shapes(graph.model).graph
    places = {
        value.name: [part.dim_value or 1 for part in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    for node in graph.nodes:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        weights = _weights(graph, node)
        if weights is not None:
            shown = places.get(node.output[0], [])
            yield Layer(layer_name(node), weights, int(weights.size * np.prod(shown[2:] or [1])))


def _weights(graph: Graph, node: NodeProto) -> NDArray[Any] | None:
    """Returns [outputs, inputs, ...] of a layer's constant weights, None where they are computed."""
    name = node.input[1]
    while (made_by := graph.producer(name)) is not None and made_by.op_type in (DEQUANTIZE, "Cast"):
        name = made_by.input[0]
    if name not in graph.constants:
        return None
    weights = graph.constants[name]
    transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
    return weights if node.op_type == "Conv" or transposed else weights.T
