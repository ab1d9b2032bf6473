"""Small ONNX models put together by hand, and what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgexfer.train.dialects.onnx_graph import Graph, to_model


def model(
    nodes: list[NodeProto],
    constants: dict[str, Any],
    *,
    input_shape: list[int | str],
    output: str,
    output_rank: int = 4,
    opset: int = 17,
) -> ModelProto:
    """A model that reads float32 `x` and gives float32 `output`."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * output_rank)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def written(graph: Graph) -> ModelProto:
    """The graph under edit as a checked model."""
    return to_model(graph, name="small", producer="tests")


def computed(made: ModelProto, x: Any, *, optimized: bool = False) -> Any:
    """What ONNX Runtime gives for `x`; unoptimized it runs the nodes one by one, as they are written."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def simulated(made: ModelProto, x: Any) -> Any:
    """What ONNX Runtime gives for `x` with quantizers as they are written, as edgexfer simulates other engines."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def kinds(made: ModelProto) -> list[str]:
    """The operators in their order."""
    return [node.op_type for node in made.graph.node]


def pair(name: str, source: str, constants: dict[str, Any], *, scale: Any, zero: Any, axis: int = 1) -> list[NodeProto]:
    """QuantizeLinear and DequantizeLinear behind `source`; what comes out is called `name`."""
    constants[f"{name}_s"], constants[f"{name}_z"] = np.asarray(scale, np.float32), np.asarray(zero)
    around = [f"{name}_s", f"{name}_z"]
    return [
        helper.make_node("QuantizeLinear", [source, *around], [f"{name}_q"], axis=axis),
        helper.make_node("DequantizeLinear", [f"{name}_q", *around], [name], axis=axis),
    ]
