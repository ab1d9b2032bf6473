"""Two exports of one network, float and INT8, side by side: which tensors correspond, and each INT8 layer by itself.

Both come from the same modules in PyTorch, and lowering leaves the names of the nodes that compute as they were: a
layer of one is the node of that name in the other. In front of a layer and behind it they differ: INT8 has quantizers
there, and no activation where a quantizer cuts off the same.

In: two models. Out: a Probe: the float network with a copy of every INT8 layer that reads the float network's values,
and the INT8 network, both with what their layers give as outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgexfer.train.dialects.onnx_graph import QUANTIZERS, Graph, layer_name, read_graph

_ACTIVATIONS = ("Clip", "Relu")
_QUANTIZE, _DEQUANTIZE = QUANTIZERS


@dataclass(frozen=True)
class LayerPair:
    """One layer in both networks.

    Attributes:
        name: of its module, such as "blocks.1.0.conv_dw"; of an Add with ".Add" behind it.
        operator: ONNX's name of it.
        parameters: its weights and biases.
        reference: what it gives in the float network, the name of a tensor.
        quantized: what it gives in the INT8 network.
        alone: what the INT8 layer gives where it reads the float network's values.
    """

    name: str
    operator: str
    parameters: int
    reference: str
    quantized: str
    alone: str


@dataclass(frozen=True)
class Probe:
    """Two models to be run on the same pixels.

    Attributes:
        pairs: the layers, in the network's order.
        float_model: gives every pair's `reference` and `alone`.
        quantized_model: gives every pair's `quantized`.
    """

    pairs: tuple[LayerPair, ...]
    float_model: ModelProto
    quantized_model: ModelProto


def pair_layers(reference: ModelProto, quantized: ModelProto) -> Probe:
    """Finds the layers that two exports of one network have in common; neither is changed.

    Args:
        reference: in float.
        quantized: in 8 bits, in any dialect.
    """
    given, shipped = read_graph(reference), read_graph(quantized)
    layers = {node.name: node for node in given.nodes if _is_layer(given, node)}
    chains = [_to_what_is_read(shipped, node) for node in shipped.nodes if node.name in layers]
    written = {chain[-1].output[0] for chain in chains}
    pairs = []
    for chain in chains:
        layer = layers[chain[0].name]
        passing = _ACTIVATIONS if len(chain) > 1 else ()
        end = _to_what_is_read(given, layer, passing)[-1].output[0]
        # The copies are appended: they read what is there already.
        alone = _append_alone(given, shipped, chain, layer, written)
        parameters = sum(given.constants[name].size for name in layer.input if name in given.constants)
        pairs.append(LayerPair(layer_name(layer), layer.op_type, parameters, end, chain[-1].output[0], alone))
    return Probe(
        tuple(pairs),
        _giving(given, [name for pair in pairs for name in (pair.reference, pair.alone)]),
        _giving(shipped, [pair.quantized for pair in pairs]),
    )


def _is_layer(graph: Graph, node: NodeProto) -> bool:
    if node.op_type == "Add":
        return not any(name in graph.constants for name in node.input)
    return node.op_type in ("Conv", "Gemm")


def _to_what_is_read(
    graph: Graph, layer: NodeProto, passing: Iterable[str] = (*_ACTIVATIONS, *QUANTIZERS)
) -> list[NodeProto]:
    """Returns the layer and the nodes behind it whose last gives what other layers read."""
    chain = [layer]
    while chain[-1].output[0] not in graph.outputs:
        readers = graph.consumers(chain[-1].output[0])
        if len(readers) != 1 or readers[0].op_type not in passing:
            break
        chain.append(readers[0])
    return chain[:-1] if chain[-1].op_type == _QUANTIZE else chain


def _append_alone(probe: Graph, shipped: Graph, chain: list[NodeProto], layer: NodeProto, written: set[str]) -> str:
    """Appends a copy of an INT8 layer to the float network and returns what it gives.

    Args:
        probe: the float network, changed in place.
        shipped: the INT8 network.
        chain: the layer in it, up to what is read.
        layer: the same in the float network.
        written: what the layers of the INT8 network give: the quantizers behind them are theirs.
    """
    inputs = []
    for name, source in zip(chain[0].input, layer.input, strict=True):
        maker = shipped.producer(name)
        quantizer = maker if maker is not None and maker.op_type == _DEQUANTIZE else None
        if name in shipped.constants:
            inputs.append(_constant(probe, shipped, name))
        elif quantizer is not None and quantizer.input[0] in shipped.constants:
            inputs.append(_append_copy(probe, shipped, quantizer, [quantizer.input[0]]))
        elif quantizer is not None and name not in written:
            inputs.append(_append_rounded(probe, shipped, quantizer, source))
        else:
            inputs.append(source)
    result = _append_copy(probe, shipped, chain[0], inputs)
    for node in chain[1:]:
        result = _append_copy(probe, shipped, node, [result])
    return result


def _append_rounded(probe: Graph, shipped: Graph, quantizer: NodeProto, source: str) -> str:
    """Appends the pair that ends in `quantizer` behind the tensor `source`."""
    constants = [_constant(probe, shipped, name) for name in quantizer.input[1:]]
    steps = probe.fresh(f"alone_{source}")
    probe.nodes.append(helper.make_node(_QUANTIZE, [source, *constants], [steps]))
    values = probe.fresh(f"alone_{source}")
    probe.nodes.append(helper.make_node(_DEQUANTIZE, [steps, *constants], [values]))
    return values


def _append_copy(probe: Graph, shipped: Graph, node: NodeProto, inputs: list[str]) -> str:
    """Appends a copy of `node` that reads `inputs` first; its further inputs, and constants, come along."""
    own = NodeProto()
    own.CopyFrom(node)
    own.name = ""
    read = [*inputs, *node.input[len(inputs) :]]
    del own.input[:]
    own.input.extend(_constant(probe, shipped, n) if n in shipped.constants and n in node.input else n for n in read)
    own.output[0] = probe.fresh(f"alone_{node.output[0]}")
    probe.nodes.append(own)
    return own.output[0]


def _constant(probe: Graph, shipped: Graph, name: str) -> str:
    return probe.constant(f"alone_{name}", shipped.constants[name])


def _giving(graph: Graph, names: list[str]) -> ModelProto:
    """Returns the graph as a model whose outputs are `names`."""
    outputs = [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names)]
    initializers = [numpy_helper.from_array(value, name) for name, value in graph.constants.items()]
    source = graph.model
    made = helper.make_graph(graph.nodes, source.graph.name, list(source.graph.input), outputs, initializers)
    return helper.make_model(made, opset_imports=list(source.opset_import), ir_version=source.ir_version)
