"""Where quantizers cost speed on TensorRT instead of gaining it, and where one is missing: the rules of placement.py.

SE blocks are fine in float: they compute on one value a channel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from onnx import NodeProto

from edgexfer.train.dialects.finding import DEQUANTIZE, QUANTIZE, Finding, is_quantized
from edgexfer.train.dialects.onnx_graph import Graph, layer_name
from edgexfer.train.quantize.placement import convolution_stays_float, is_depthwise, linear_stays_float

_POOLS = {"GlobalAveragePool", "ReduceMean", "AveragePool"}
_LAYERS = {"Conv", "Gemm", "MatMul"}


def placement_findings(graph: Graph, *, float_depthwise: bool, float_layers: Collection[str] = ()) -> Iterator[Finding]:
    """Gives the quantizers of an INT8 graph that TensorRT does not gain from, and the layers left out by mistake.

    Args:
        graph: of a form that holds INT8.
        float_depthwise: whether its depthwise convolutions are meant to be float.
        float_layers: names of further layers that are meant to be; one that is not is a finding too.
    """
    names = {layer_name(node): node for node in graph.nodes}
    for name in float_layers:
        if name not in names or any(is_quantized(graph, source) for source in names[name].input[1:2]):
            message = "the bundle says that this layer computes in float, and it is in 8 bits"
            yield Finding("float-layers", name, message, "export the bundle again")
    for node in (n for n in graph.nodes if n.op_type in _LAYERS and layer_name(n) not in float_layers):
        weight = _weight_shape(graph, node)
        if weight is None:
            continue
        if is_quantized(graph, node.input[1]):
            yield from _in_8_bits(graph, node, weight, float_depthwise=float_depthwise)
        elif node.op_type == "Conv" and not (float_depthwise and is_depthwise(weight, _groups(node))):
            yield from _in_float(graph, node, weight)
    for node in graph.nodes:
        inputs = [name for name in node.input if name not in graph.constants]
        if node.op_type == "Add" and len(inputs) == 2 and layer_name(node) not in float_layers:
            yield from _one_branch(graph, node)
        if node.op_type == "Mul" and len(inputs) == 2 and sum(is_quantized(graph, name) for name in inputs) == 1:
            message = "one of its inputs is quantized, the other is not"
            yield Finding("gate", node.name, message, "quantize both inputs of a gate, or none")


def _in_8_bits(graph: Graph, node: NodeProto, weight: tuple[int, ...], *, float_depthwise: bool) -> Iterator[Finding]:
    if not _reads_8_bits(graph, node.input[0]):
        message = "its weights are in 8 bits, its input is not: it computes in float all the same"
        yield Finding("both-inputs", node.name, message, "quantize the input too, or leave both in float")
    remedy = "leave it in float: compress the float RUN again"
    if node.op_type != "Conv":
        reason = linear_stays_float(weight, rows=1)
        if reason is not None:
            yield Finding("classifier", node.name, f"{reason}: slower in 8 bits than in FP16", remedy)
        return
    depthwise = is_depthwise(weight, _groups(node))
    if depthwise and float_depthwise:
        yield Finding("depthwise", node.name, "this candidate leaves depthwise convolutions in float", remedy)
    reason = convolution_stays_float(weight, _groups(node), first=_reads_pixels(graph, node.input[0]))
    if reason is not None:
        rule = "depthwise" if depthwise else "small-channels"
        yield Finding(rule, node.name, f"{reason}: slower in 8 bits than in FP16", remedy)


def _in_float(graph: Graph, node: NodeProto, weight: tuple[int, ...]) -> Iterator[Finding]:
    first = _reads_pixels(graph, node.input[0])
    if convolution_stays_float(weight, _groups(node), first=first) is not None:
        return
    if _comes_from_8_bits(graph, node.input[0]) and _goes_to_8_bits(graph, node.output[0]):
        message = "this convolution is left in float between quantized neighbours"
        yield Finding("float-between", node.name, message, "quantize it too: compress the float RUN again")


def _one_branch(graph: Graph, add: NodeProto) -> Iterator[Finding]:
    quantized = sum(is_quantized(graph, name) for name in add.input)
    branches = [graph.producer(name) for name in add.input]
    convolutions = [n for n in branches if n is not None and n.op_type == "Conv"]
    in_float = convolutions and not any(is_quantized(graph, n.input[1]) for n in convolutions)
    if quantized == 1 or (quantized == 0 and in_float):
        return
    message = f"{quantized} of its branches are quantized, expected the identity branch alone"
    yield Finding("one-branch-at-add", add.name, message, "leave the convolution's branch unquantized")


def _reads_8_bits(graph: Graph, name: str) -> bool:
    # TensorRT moves a quantizer through a MaxPool, which only chooses values.
    producer = graph.producer(name)
    if producer is not None and producer.op_type == "MaxPool":
        return _reads_8_bits(graph, producer.input[0])
    return is_quantized(graph, name)


def _comes_from_8_bits(graph: Graph, name: str) -> bool:
    producer = graph.producer(name)
    if producer is None or producer.op_type in _POOLS:
        return False
    if producer.op_type in _LAYERS:
        return len(producer.input) > 1 and is_quantized(graph, producer.input[1])
    return producer.op_type == DEQUANTIZE or any(_comes_from_8_bits(graph, n) for n in producer.input)


def _goes_to_8_bits(graph: Graph, name: str) -> bool:
    readers = graph.consumers(name)
    if any(node.op_type == QUANTIZE for node in readers):
        return True
    further = [node for node in readers if node.op_type not in _LAYERS | _POOLS]
    return any(_goes_to_8_bits(graph, node.output[0]) for node in further)


def _reads_pixels(graph: Graph, name: str) -> bool:
    producer = graph.producer(name)
    if producer is None:
        return any(value.name == name for value in graph.model.graph.input)
    return producer.op_type not in _LAYERS and any(_reads_pixels(graph, n) for n in producer.input[:1])


def _weight_shape(graph: Graph, node: NodeProto) -> tuple[int, ...] | None:
    """Returns [outputs, inputs, ...] of a layer's constant weights, None where they are computed."""
    dequantize = graph.producer(node.input[1])
    name = dequantize.input[0] if dequantize is not None and dequantize.op_type == DEQUANTIZE else node.input[1]
    if name not in graph.constants:
        return None
    shape = graph.constants[name].shape
    transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
    return shape if node.op_type == "Conv" or transposed else shape[::-1]


def _groups(node: NodeProto) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)
