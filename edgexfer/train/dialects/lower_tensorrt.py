"""The dialect of TensorRT: explicit Q/DQ, int8 with zero point 0, bias in float, one quantized branch at an Add.

In: the graph that the exporter wrote for a stripped NNCF network whose quantizers were signed and symmetric
while they learned. Out: the same values, in the form that TensorRT 8.6 to 11 takes and fuses.
Rules: TensorRT's ONNX importer and developer guide ("Explicit quantization"); docs/architecture.md, "Dialects".
"""

from __future__ import annotations

from onnx import NodeProto, helper

from edgexfer.train.dialects.lower_ort import store_weights_as_int8
from edgexfer.train.dialects.onnx_graph import Graph


def lower_tensorrt(graph: Graph) -> None:
    """Rewrites `graph` in place; see the module's docstring."""
    store_weights_as_int8(graph)
    for add in [n for n in graph.nodes if n.op_type == "Add"]:
        _keep_identity_branch_quantized(graph, add)
    _give_every_quantizer_its_own_constants(graph)


def _keep_identity_branch_quantized(graph: Graph, add: NodeProto) -> None:
    """Takes the quantizer off the convolution's branch, so that the Add becomes that convolution's epilogue.

    Networks whose quantizers were placed for TensorRT have none there: nothing is taken off then.
    """
    branches = [(position, _source(graph, add.input[position])) for position in (0, 1)]
    from_conv = [(position, source) for position, source in branches if source and _is_conv_branch(graph, source)]
    in_float = [position for position in (0, 1) if _is_conv_branch(graph, add.input[position])]
    if in_float:
        _quantize_behind_pool(graph, add, 1 - in_float[0])
        return
    if not from_conv:
        return
    # Where both branches end in a convolution (the block before had no Add), the later one is the epilogue.
    order = {name: index for index, node in enumerate(graph.nodes) for name in node.output}
    position, source = max(from_conv, key=lambda item: order[item[1]])
    add.input[position] = source
    _quantize_behind_pool(graph, add, 1 - position)


def _quantize_behind_pool(graph: Graph, add: NodeProto, position: int) -> None:
    """Repeats the quantizer in front of a MaxPool behind it: the pool only chooses values, so that changes none."""
    pool = graph.producer(add.input[position])
    if pool is None or pool.op_type != "MaxPool":
        return
    dequantize = graph.producer(pool.input[0])
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return
    steps, values = graph.fresh(f"{pool.output[0]}_steps"), graph.fresh(f"{pool.output[0]}_values")
    constants = list(dequantize.input[1:])
    graph.insert_before(
        add,
        helper.make_node("QuantizeLinear", [pool.output[0], *constants], [steps], name=steps),
        helper.make_node("DequantizeLinear", [steps, *constants], [values], name=values),
    )
    add.input[position] = values


def _source(graph: Graph, name: str) -> str | None:
    """Returns what enters the Q/DQ pair that makes `name`, None where there is no such pair."""
    dequantize = graph.producer(name)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    quantize = graph.producer(dequantize.input[0])
    return quantize.input[0] if quantize is not None and quantize.op_type == "QuantizeLinear" else None


def _is_conv_branch(graph: Graph, name: str) -> bool:
    producer = graph.producer(name)
    return producer is not None and producer.op_type == "Conv"


def _give_every_quantizer_its_own_constants(graph: Graph) -> None:
    # Shared scales make TensorRT's importer tie tensors together that were calibrated apart.
    for node in graph.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            for position, role in ((1, "scale"), (2, "zero_point")):
                value = graph.constants[node.input[position]]
                node.input[position] = graph.constant(f"{node.output[0]}_{role}", value)
