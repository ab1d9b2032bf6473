"""A network with NNCF's quantizers as a graph: which operator reads what, and through which quantizer.

NNCF keeps a quantizer as a hook behind the operator that makes a tensor ("post_hooks.OPERATOR__0.0") or in front of
the one that reads it ("pre_hooks.OPERATOR__1.0", the weights). The names here are those of the hooks; one that is
shared, as by the inputs of a concatenation, has the first of its names.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from nncf.common.graph.graph import NNCFGraph, NNCFNode
from nncf.torch.function_hook.nncf_graph.nncf_graph_builder import build_nncf_graph
from nncf.torch.function_hook.wrapper import ATR_HOOK_STORAGE, get_hook_storage
from nncf.torch.quantization.layers import BaseQuantizer
from torch import Tensor, nn

CONVOLUTIONS = frozenset({"conv2d"})
LINEARS = frozenset({"linear"})
ADDS = frozenset({"add", "add_", "__add__", "__iadd__"})
GATES = frozenset({"mul", "mul_", "__mul__", "__imul__"})
POOLS = frozenset({"adaptive_avg_pool2d", "avg_pool2d", "mean"})
COMPUTING = CONVOLUTIONS | LINEARS | ADDS | GATES | POOLS
"""Operators that an engine may run in 8 bits; what else there is stands between them."""
_PASSING = frozenset({"pad", "max_pool2d", "flatten", "dropout", "reshape", "view", "cat"})
"""Operators that give on quantized values as they are: TensorRT moves a quantizer through them."""
_QUANTIZE = frozenset({"symmetric_quantize", "asymmetric_quantize"})
_CONSTANT, _INPUT = "nncf_model_const", "nncf_model_input"


@dataclass(frozen=True)
class Operator:
    """One operator of the network.

    Attributes:
        name: NNCF's, such as "blocks/0/0/conv_pw/conv2d/0".
        kind: PyTorch's function, such as "conv2d".
        input_shape: of its first input at batch 1; empty where it has none.
        weight: shape of its weights; empty where it has none.
        groups: of a convolution, else 1.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    weight: tuple[int, ...]
    groups: int


class QuantizedGraph:
    """Reads the graph of `network` once; later changes of its hooks are not seen.

    Attributes:
        operators: all but quantizers and constants, in the order of computation.
        activation_quantizers: names of the hooks that quantize activations, in the order of computation.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        """Traces `network`, in evaluation mode, on `example`, float32 [1, 3, H, W]."""
        with torch.no_grad():
            self._graph: NNCFGraph = build_nncf_graph(network, example)
        ordered = self._graph.topological_sort()
        self._operators = {
            node.node_id: _operator(self._graph, node)
            for node in ordered
            if node.node_type not in _QUANTIZE and node.node_type != _CONSTANT
        }
        self._nodes = {node.node_name: node for node in ordered}
        self.operators = list(self._operators.values())
        quantizing = [node for node in ordered if node.node_type in _QUANTIZE]
        self._names = {node.node_id: self._hook(node) for node in quantizing}
        self._quantize: dict[str, list[NNCFNode]] = {}
        for node in quantizing:
            self._quantize.setdefault(self._names[node.node_id], []).append(node)
        self.activation_quantizers = [n for n, at in self._quantize.items() if self._source(at[0]) is not None]

    def readers(self, quantizer: str) -> list[Operator]:
        """Returns the operators that read what `quantizer` gives, behind those that only pass values on."""
        found = [operator for node in self._quantize[quantizer] for operator in self._readers(node)]
        return list(dict.fromkeys(found))

    def sources(self, quantizer: str) -> list[Operator]:
        """Returns whose values `quantizer` rounds: the nearest operators of `COMPUTING` before it, or the input."""
        nodes = [n for node in self._quantize[quantizer] for n in self._nearest(node, forward=False)]
        return [self._operators[node_id] for node_id in dict.fromkeys(node.node_id for node in nodes)]

    def computing_readers(self, quantizer: str) -> list[Operator]:
        """Returns the nearest operators of `COMPUTING` that read what `quantizer` gives."""
        nodes = [n for node in self._quantize[quantizer] for n in self._nearest(node, forward=True)]
        return [self._operators[node_id] for node_id in dict.fromkeys(node.node_id for node in nodes)]

    def quantizers_behind(self, operator: Operator) -> list[str]:
        """Returns the quantizers of what `operator` gives, behind those that only pass values on."""
        found: list[str] = []
        for node in self._graph.get_next_nodes(self._nodes[operator.name]):
            if node.node_type in _QUANTIZE:
                found.append(self._names[node.node_id])
            elif node.node_type in _PASSING:
                found += self.quantizers_behind(self._operators[node.node_id])
        return found

    def weight_quantizers(self, layer: Operator) -> list[str]:
        """Returns the quantizer of the layer's weights, none where they are float."""
        before = self._graph.get_previous_nodes(self._nodes[layer.name])
        return [self._names[n.node_id] for n in before if n.node_type in _QUANTIZE and self._source(n) is None]

    def weight_name(self, layer: Operator) -> str:
        """Returns the name of the layer's weights among the network's parameters."""
        node = self._nodes[layer.name]
        while node.node_type != _CONSTANT:
            edges = self._graph.get_input_edges(node)
            at_weight = [e for e in edges if node.node_type in _QUANTIZE or e.input_port_id == 1]
            node = min(at_weight, key=lambda edge: edge.input_port_id).from_node
        return node.node_name

    def quantized_inputs(self, operator: Operator) -> list[tuple[Operator, str]]:
        """Returns, for each input that comes straight from a quantizer, what is quantized and the quantizer."""
        inputs = []
        for node in self._graph.get_previous_nodes(self._nodes[operator.name]):
            source = self._source(node) if node.node_type in _QUANTIZE else None
            if source is not None:
                inputs.append((self._operators[source.node_id], self._names[node.node_id]))
        return inputs

    def reads_input(self, layer: Operator) -> bool:
        """Whether nothing but quantizers and paddings stand between the network's input and `layer`."""
        node: NNCFNode | None = self._nodes[layer.name]
        while node is not None and node.node_type != _INPUT:
            node = next((n for n in self._graph.get_previous_nodes(node) if self._is_data(n)), None)
            if node is not None and node.node_type not in _QUANTIZE | _PASSING | {_INPUT}:
                return False
        return node is not None

    def _is_data(self, node: NNCFNode) -> bool:
        return node.node_type != _CONSTANT and (node.node_type not in _QUANTIZE or self._source(node) is not None)

    def _readers(self, node: NNCFNode) -> list[Operator]:
        found: list[Operator] = []
        for reader in self._graph.get_next_nodes(node):
            further = self._readers(reader) if reader.node_type in _PASSING else [self._operators.get(reader.node_id)]
            found += [operator for operator in further if operator is not None and operator not in found]
        return found

    def _nearest(self, node: NNCFNode, *, forward: bool) -> list[NNCFNode]:
        """Returns the nearest computing nodes, or inputs, with no quantizer between."""
        step = self._graph.get_next_nodes if forward else self._graph.get_previous_nodes
        found: list[NNCFNode] = []
        for near in step(node):
            if near.node_type in COMPUTING or near.node_type == _INPUT:
                found.append(near)
            elif near.node_type not in _QUANTIZE and near.node_type != _CONSTANT:
                found += self._nearest(near, forward=forward)
        return found

    def _source(self, quantize: NNCFNode) -> NNCFNode | None:
        """Returns the node whose output is quantized, None for weights."""
        before = self._graph.get_previous_nodes(quantize)
        return next((n for n in before if n.node_type != _CONSTANT), None)

    def _hook(self, quantize: NNCFNode) -> str:
        """Returns the hook's name, as its learned parameters have it: "PREFIX.HOOK.PARAMETER"."""
        names = [node.node_name for node in self._graph.get_previous_nodes(quantize) if node.node_type == _CONSTANT]
        parameter = next(name for name in names if name.startswith(f"{ATR_HOOK_STORAGE}."))
        return parameter.removeprefix(f"{ATR_HOOK_STORAGE}.").rpartition(".")[0]


def quantizers_of(network: nn.Module) -> dict[str, BaseQuantizer]:
    """Returns NNCF's quantizers by the names of their hooks."""
    return {name: hook for name, hook in get_hook_storage(network).named_hooks() if isinstance(hook, BaseQuantizer)}


def remove_quantizers(network: nn.Module, names: set[str]) -> None:
    """Takes quantizers out of `network`, wherever they stand; the places that are left empty go with them."""
    removed = [hook for name, hook in quantizers_of(network).items() if name in names]
    storage = get_hook_storage(network)
    for places in (storage.pre_hooks, storage.post_hooks):
        for place, hooks in list(places.items()):
            for number in [number for number, hook in hooks.items() if any(hook is gone for gone in removed)]:
                del hooks[number]
            if not hooks:
                del places[place]


def _operator(graph: NNCFGraph, node: NNCFNode) -> Operator:
    shapes = {edge.input_port_id: tuple(edge.tensor_shape) for edge in graph.get_input_edges(node)}
    data = shapes.get(0, ())
    weight = shapes.get(1, ()) if node.node_type in CONVOLUTIONS | LINEARS else ()
    groups = data[1] // weight[1] if node.node_type in CONVOLUTIONS else 1
    return Operator(node.node_name, node.node_type, data, weight, groups)
