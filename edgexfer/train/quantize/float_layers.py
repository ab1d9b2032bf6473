"""Layers of a quantized network that go back to float: which quantizers go with each, and who else is drawn along.

An engine computes a layer in 8 bits where all that it asks for is quantized, so that one quantizer less makes more than
one layer float:
- "ort": ONNX Runtime fuses an operator whose inputs and output are quantized. Without the quantizer behind a layer,
  that layer and those that read it are float.
- "tensorrt": an operator's inputs decide. Without the quantizer in front of a layer, it is float, and so are the others
  that read the same tensor; who wrote that stays in 8 bits.

A layer is named as in `layers.json`: by its module, such as "blocks.1.0.conv_dw"; an Add or a Mul has that behind it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection

from torch import Tensor

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.quantize.needless import needless_quantizers
from edgexfer.train.quantize.quantized_graph import (
    ADDS,
    COMPUTING,
    GATES,
    Operator,
    QuantizedGraph,
    remove_quantizers,
)
from edgexfer.train.quantize.quantizers import quiet_nncf


def graph_of(quantized: DeployNetwork, example: Tensor) -> QuantizedGraph:
    """Reads the graph of a network with NNCF's quantizers.

    Args:
        quantized: in evaluation mode.
        example: float32 [1, 3, H, W], an input of `quantized.network`.
    """
    with quiet_nncf():
        return QuantizedGraph(quantized.network, example)


def own_quantizers(graph: QuantizedGraph, dialect: str) -> dict[str, set[str]]:
    """Returns, for each layer in the network's order that has some, the quantizers that are there for its sake.

    Those of its weights; and of what it writes ("ort") or reads ("tensorrt"). What no layer has written belongs to
    those who read it.
    """
    found: dict[str, set[str]] = {
        layer_name(operator): set(graph.weight_quantizers(operator))
        for operator in graph.operators
        if operator.kind in COMPUTING
    }
    for name in graph.activation_quantizers:
        writers = [source for source in graph.sources(name) if source.kind in COMPUTING]
        owners = writers if dialect == "ort" and writers else graph.computing_readers(name)
        for operator in owners:
            found[layer_name(operator)].add(name)
    return {layer: quantizers for layer, quantizers in found.items() if quantizers}


def island_of(graph: QuantizedGraph, layer: str, own: Collection[str]) -> set[str]:
    """Returns `layer` and the layers that are float where it is: those that read the tensors of its own quantizers."""
    tensors = set(own).intersection(graph.activation_quantizers)
    return {layer} | {layer_name(reader) for name in tensors for reader in graph.computing_readers(name)}


def with_float_layers(
    quantized: DeployNetwork, graph: QuantizedGraph, layers: Collection[str], dialect: str
) -> DeployNetwork:
    """Returns a copy of a quantized network in which `layers` compute in float.

    Args:
        quantized: in evaluation mode; it is not changed.
        graph: of `quantized`, as it is.
        layers: names of layers.
        dialect: "ort" or "tensorrt".
    """
    own = copy.deepcopy(quantized)
    remove_quantizers(own.network, _of_float_layers(graph, layers, dialect))
    return own


def bare_layers(graph: QuantizedGraph, layers: Collection[str]) -> set[str]:
    """Returns those of `layers` with a quantizer on every side, which ONNX Runtime would put into 8 bits all the same.

    Its WeightBiasQuantization quantizes the weights of a convolution or a Gemm that stands between quantizers, one
    scale a tensor; other operators have no weights, and are in 8 bits by what stands around them.
    """
    gone = _of_float_layers(graph, layers, "ort")
    open_sides = set(layers)
    closed = set()
    for name in graph.activation_quantizers:
        before = {layer_name(o) for o in graph.sources(name) if o.kind in COMPUTING}
        if name in gone:
            open_sides -= before
            open_sides -= {layer_name(o) for o in graph.computing_readers(name)}
        else:
            closed |= before
    return open_sides & closed


def layer_name(operator: Operator) -> str:
    """Returns the name that the layer has in `layers.json`."""
    *modules, _, number = operator.name.split("/")
    kind = "Add" if operator.kind in ADDS else "Mul" if operator.kind in GATES else ""
    again = f"_{number}" if number != "0" else ""
    return ".".join(part for part in (*modules, kind + again) if part)


def _of_float_layers(graph: QuantizedGraph, layers: Collection[str], dialect: str) -> set[str]:
    if dialect == "tensorrt":
        return needless_quantizers(graph, {o.name for o in graph.operators if _in(o, layers)})
    gone = {q for o in graph.operators if _in(o, layers) for q in graph.weight_quantizers(o)}
    for name in graph.activation_quantizers:
        if all(_in(operator, layers) for operator in (*graph.sources(name), *graph.computing_readers(name))):
            gone.add(name)
    return gone


def _in(operator: Operator, layers: Collection[str]) -> bool:
    return operator.kind in COMPUTING and layer_name(operator) in layers
