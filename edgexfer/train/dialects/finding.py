"""A breach of a dialect, and what every dialect's rules ask of a graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from onnx import NodeProto

from edgexfer.train.dialects.onnx_graph import QUANTIZERS, Graph

QUANTIZE, DEQUANTIZE = QUANTIZERS


@dataclass(frozen=True)
class Finding:
    """One breach of a dialect.

    Attributes:
        rule: its short name.
        node: name of the node in the ONNX graph.
        message: what was found and what was expected.
        remedy: what mends it.
        file: which of the bundle's files it is in.
    """

    rule: str
    node: str
    message: str
    remedy: str
    file: str = "model.onnx"


def quantizers_in(graph: Graph) -> Iterator[NodeProto]:
    """Gives every QuantizeLinear and DequantizeLinear."""
    return (node for node in graph.nodes if node.op_type in QUANTIZERS)


def is_weight(graph: Graph, node: NodeProto) -> bool:
    """Whether a quantizer's data is a constant."""
    behind = graph.producer(node.input[0])
    source = behind.input[0] if behind is not None and behind.op_type == QUANTIZE else node.input[0]
    return source in graph.constants


def scales_in(graph: Graph) -> Iterator[tuple[NodeProto, NDArray[Any], NDArray[Any]]]:
    """Gives every quantizer with its scale and zero point; those without constants are another rule's findings."""
    for node in quantizers_in(graph):
        if len(node.input) == 3 and node.input[1] in graph.constants and node.input[2] in graph.constants:
            yield node, graph.constants[node.input[1]], graph.constants[node.input[2]]


def is_quantized(graph: Graph, name: str) -> bool:
    """Whether a DequantizeLinear makes the tensor `name`."""
    producer = graph.producer(name)
    return producer is not None and producer.op_type == DEQUANTIZE


def constant_scales(graph: Graph) -> Iterator[Finding]:
    """Scales and zero points are direct initializers."""
    for node in quantizers_in(graph):
        if any(name not in graph.constants for name in node.input[1:]):
            message = "scale or zero point is not a direct initializer"
            yield Finding("constant-scales", node.name, message, "fold constants and give both as initializers")


def weights_stored(graph: Graph) -> Iterator[Finding]:
    """Weights are stored in 8 bits."""
    for node in graph.nodes:
        if node.op_type == QUANTIZE and node.input[0] in graph.constants:
            yield Finding("int8-weights", node.name, "a float weight is quantized at run time", "store it as int8")
