"""The quantizers that TensorRT gains nothing from: found in a network, so that they go before the others learn.

NNCF quantizes whatever an engine might run in 8 bits. TensorRT runs some of it slower than FP16, or has no kernel
for it, and fuses a residual Add only where the convolution's branch enters it in float.
Rules: placement.py for layers; NVIDIA's tensorflow-quantization toolkit (custom_qdq_cases) for what stands between.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from edgexfer.train.quantize.placement import convolution_stays_float, is_depthwise, linear_stays_float
from edgexfer.train.quantize.quantized_graph import ADDS, CONVOLUTIONS, GATES, LINEARS, POOLS, Operator, QuantizedGraph


def needless_quantizers(graph: QuantizedGraph, left: Collection[str] = ()) -> set[str]:
    """Returns the names of the quantizers that TensorRT does not gain from.

    Args:
        graph: of the network.
        left: names of operators that are to compute in float, whatever TensorRT would gain.
    """
    needless = {
        quantizer
        for layer in graph.operators
        if layer.kind in CONVOLUTIONS | LINEARS and (layer.name in left or _stays_float(graph, layer))
        for quantizer in graph.weight_quantizers(layer)
    }
    for add in (operator for operator in graph.operators if operator.kind in ADDS):
        needless |= _on_convolution_branch(graph, add)
    # From the output backwards: whether a pool or a gate runs in 8 bits depends on the quantizer behind it.
    for name in reversed(graph.activation_quantizers):
        readers = [reader for reader in graph.readers(name) if reader.name not in left]
        if name not in needless and not any(_gains(graph, reader, needless) for reader in readers):
            needless.add(name)
    return needless


def depthwise_quantizers(graph: QuantizedGraph) -> set[str]:
    """Returns the quantizers around depthwise convolutions: of their weights, and of inputs that no other layer reads.

    Such a convolution can be slower in 8 bits than in FP16 on TensorRT (TensorRT#4529, #2067, #4060).
    """
    layers = [o for o in graph.operators if o.kind in CONVOLUTIONS and is_depthwise(o.weight, o.groups)]
    names = {name for name in graph.activation_quantizers if (r := graph.readers(name)) and all(o in layers for o in r)}
    weights = {name for layer in layers for name in graph.weight_quantizers(layer)}
    return names | weights if weights else set()


def _stays_float(graph: QuantizedGraph, layer: Operator) -> str | None:
    if layer.kind in LINEARS:
        return linear_stays_float(layer.weight, math.prod(layer.input_shape[:-1]))
    return convolution_stays_float(layer.weight, layer.groups, first=graph.reads_input(layer))


def _on_convolution_branch(graph: QuantizedGraph, add: Operator) -> set[str]:
    """Returns the quantizer between a convolution and an Add: without it the Add is that convolution's epilogue.

    Where both branches end in a convolution, the later one is the epilogue; where another layer reads the
    convolution's quantized output too, that branch is the identity.
    """
    branches = [
        (graph.operators.index(source), name)
        for source, name in graph.quantized_inputs(add)
        if source.kind in CONVOLUTIONS and graph.readers(name) == [add]
    ]
    return {max(branches)[1]} if branches else set()


def _gains(graph: QuantizedGraph, reader: Operator, needless: set[str]) -> bool:
    """Whether `reader` runs in 8 bits, or faster, because its input is quantized."""
    if reader.kind in CONVOLUTIONS | LINEARS:
        return not needless.issuperset(graph.weight_quantizers(reader))
    if reader.kind in ADDS:
        return True  # the identity branch: the Add's epilogue reads a quarter of the bytes
    if reader.kind in POOLS | GATES:
        return any(name not in needless for name in graph.quantizers_behind(reader))
    return False
