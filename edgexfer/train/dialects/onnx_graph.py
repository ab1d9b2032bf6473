"""Edits of an ONNX graph that every dialect shares: constants folded, identities dropped, paddings static.

A `Graph` holds the nodes and the constants of a model while it is rewritten; `to_model` writes them back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_NUMBERS = {
    "value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


@dataclass
class Graph:
    """An ONNX graph under edit.

    Attributes:
        nodes: in topological order.
        constants: initializers by name.
        model: the model it was read from; inputs, outputs and opset are taken from there.
    """

    nodes: list[NodeProto]
    constants: dict[str, NDArray[Any]]
    model: ModelProto
    _fresh: Counter[str] = field(default_factory=Counter)

    @property
    def outputs(self) -> set[str]:
        """The names of what the graph gives."""
        return {value.name for value in self.model.graph.output}

    def producer(self, name: str) -> NodeProto | None:
        """Returns the node that computes `name`, None for inputs and constants."""
        return next((node for node in self.nodes if name in node.output), None)

    def consumers(self, name: str) -> list[NodeProto]:
        """Returns the nodes that read `name`."""
        return [node for node in self.nodes if name in node.input]

    def constant(self, stem: str, value: NDArray[Any]) -> str:
        """Adds a constant under a fresh name made from `stem` and returns that name."""
        name = self.fresh(stem)
        self.constants[name] = value
        return name

    def fresh(self, stem: str) -> str:
        """Returns a name that nothing in the graph has yet."""
        while True:
            self._fresh[stem] += 1
            name = f"{stem}_{self._fresh[stem]}"
            is_input = any(value.name == name for value in self.model.graph.input)
            if name not in self.constants and self.producer(name) is None and not is_input:
                return name

    def replace_input(self, old: str, new: str) -> None:
        """Lets every node read `new` where it read `old`."""
        for node in self.nodes:
            for position, name in enumerate(node.input):
                if name == old:
                    node.input[position] = new

    def insert_before(self, anchor: NodeProto, *nodes: NodeProto) -> None:
        """Inserts `nodes` in front of `anchor`."""
        position = next(i for i, node in enumerate(self.nodes) if node is anchor)
        self.nodes[position:position] = nodes

    def insert_after(self, anchor: NodeProto, *nodes: NodeProto) -> None:
        """Inserts `nodes` behind `anchor`."""
        position = next(i for i, node in enumerate(self.nodes) if node is anchor)
        self.nodes[position + 1 : position + 1] = nodes

    def remove(self, node: NodeProto) -> None:
        """Takes `node` out; its consumers are left as they are."""
        self.nodes = [other for other in self.nodes if other is not node]

    def bypass(self, node: NodeProto) -> None:
        """Takes out `node`, which gives its first input on unchanged; the graph's outputs keep their names.

        It stays where it alone connects an output with an input, a constant or another output.
        """
        given, result = node.input[0], node.output[0]
        if result not in self.outputs:
            self.replace_input(result, given)
            self.remove(node)
            return
        producer = self.producer(given)
        if producer is None or given in self.outputs:
            return
        self.remove(node)
        self.replace_input(given, result)
        producer.output[list(producer.output).index(given)] = result


def read_graph(model: ModelProto) -> Graph:
    """Reads a model's main graph, to be edited apart from it; `Constant` nodes with numbers become constants."""
    own = ModelProto()
    own.CopyFrom(model)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in own.graph.initializer}
    nodes = []
    for node in own.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name in _NUMBERS:
            value = helper.get_attribute_value(node.attribute[0])
            dtype = _NUMBERS[node.attribute[0].name]
            constants[node.output[0]] = numpy_helper.to_array(value) if dtype is None else np.array(value, dtype)
        else:
            nodes.append(node)
    return Graph(nodes, constants, own)


def to_model(graph: Graph, *, name: str, producer: str) -> ModelProto:
    """Returns a checked model with the graph's nodes and those constants that are still read."""
    drop_dead_nodes(graph)
    read = {name for node in graph.nodes for name in node.input}
    initializers = [
        numpy_helper.from_array(np.asarray(v, order="C"), k) for k, v in graph.constants.items() if k in read
    ]
    source = graph.model
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, list(source.graph.input), list(source.graph.output), initializers),
        opset_imports=list(source.opset_import),
        ir_version=min(source.ir_version, 9),
        producer_name=producer,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def drop_dead_nodes(graph: Graph) -> None:
    """Removes nodes whose outputs nobody reads."""
    while True:
        read = graph.outputs | {name for node in graph.nodes for name in node.input}
        alive = [node for node in graph.nodes if any(name in read for name in node.output)]
        if len(alive) == len(graph.nodes):
            return
        graph.nodes = alive


def simplify(graph: Graph) -> None:
    """Folds constants, drops identities, merges zero paddings into convolutions, makes lone scales scalars."""
    _fold_constants(graph)
    _drop_identities(graph)
    _merge_paddings(graph)
    _make_lone_scales_scalars(graph)
    drop_dead_nodes(graph)


def _fold_constants(graph: Graph) -> None:
    opset = graph.model.opset_import
    for node in list(graph.nodes):
        known = all(name == "" or name in graph.constants for name in node.input)
        if node.op_type in QUANTIZERS or not known or not graph.outputs.isdisjoint(node.output):
            continue
        inputs = {name: graph.constants[name] for name in node.input if name}
        values = ReferenceEvaluator(_model_of(node, inputs, list(opset))).run(None, inputs)
        graph.constants.update(zip(node.output, values, strict=True))
        graph.remove(node)


def _model_of(node: NodeProto, inputs: dict[str, NDArray[Any]], opset: list[onnx.OperatorSetIdProto]) -> ModelProto:
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in inputs.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    return helper.make_model(helper.make_graph([node], "one", infos, outputs), opset_imports=opset)


def _drop_identities(graph: Graph) -> None:
    for node in [n for n in graph.nodes if n.op_type in ("Identity", "Dropout")]:
        graph.bypass(node)


def _merge_paddings(graph: Graph) -> None:
    for pad in [n for n in graph.nodes if n.op_type == "Pad"]:
        convolutions = graph.consumers(pad.output[0])
        pads = _plain_zeros(graph, pad)
        readers_are_convolutions = all(n.op_type == "Conv" for n in convolutions)
        if pads is None or not readers_are_convolutions or pad.output[0] in graph.outputs:
            continue
        for conv in convolutions:
            own = next((a for a in conv.attribute if a.name == "pads"), None)
            total = pads
            if own is not None:
                total = [a + b for a, b in zip(pads, own.ints, strict=True)]
                conv.attribute.remove(own)
            conv.attribute.append(helper.make_attribute("pads", total))
            conv.input[0] = pad.input[0]
        graph.remove(pad)


def _plain_zeros(graph: Graph, pad: NodeProto) -> list[int] | None:
    """Returns top, left, bottom and right where `pad` does what a convolution's own padding does, else None."""
    mode = next((a.s for a in pad.attribute if a.name == "mode"), b"constant")
    if mode != b"constant" or len(pad.input) < 2 or any(pad.input[3:]):
        return None
    pads = graph.constants.get(pad.input[1])
    value = graph.constants.get(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else np.zeros(())
    if pads is None or value is None or value.any() or pads.shape != (8,):
        return None
    if pads[[0, 1, 4, 5]].any() or pads.min() < 0:
        return None
    return [int(p) for p in pads[[2, 3, 6, 7]]]


def _make_lone_scales_scalars(graph: Graph) -> None:
    # A one-element vector means "per channel" to the engines; QLinearAdd and TensorRT then refuse it.
    for node in [n for n in graph.nodes if n.op_type in QUANTIZERS]:
        for position, name in enumerate(node.input):
            value = graph.constants.get(name)
            if position == 0 or value is None or value.shape != (1,):
                continue
            if all(reader.op_type in QUANTIZERS for reader in graph.consumers(name)):
                graph.constants[name] = value.reshape(())
            else:
                node.input[position] = graph.constant(name, value.reshape(()))


def shape_along_axis(node: NodeProto, weight: NDArray[Any], scale: NDArray[Any]) -> list[int]:
    """Returns the shape in which `scale` is multiplied with `weight`."""
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    shape = [1] * weight.ndim
    if scale.ndim == 1 and scale.size > 1:
        shape[axis] = scale.size
    return shape


def layer_name(layer: NodeProto) -> str:
    """Returns the name of a layer's module, of an Add with ".Add" behind it; other nodes keep their operator likewise.

    The exporter writes "/blocks/blocks.0/blocks.0.1/conv/Conv" for blocks.0.1.conv.
    """
    *modules, operator = layer.name.strip("/").split("/")
    parts: list[str] = []
    for module in modules:
        if parts and module.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(module)
    if layer.op_type == "Add" or operator != layer.op_type or not parts:
        parts.append(operator)
    return ".".join(parts)
