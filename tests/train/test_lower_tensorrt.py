"""The dialect of TensorRT: int8 around zero, float biases, and one branch of a residual Add left in float."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgexfer.train.dialects.lower_tensorrt import lower_tensorrt
from edgexfer.train.dialects.onnx_graph import read_graph
from tests.train.onnx_models import computed, kinds, model, pair, written

pytestmark = pytest.mark.train

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32)
ZERO = np.int8(0)


def conv(name: str, source: str, constants: dict[str, Any]) -> list[onnx.NodeProto]:
    weight = RNG.normal(size=(3, 3, 1, 1)).astype(np.float32) / 3
    scale = np.abs(weight).reshape(3, -1).max(1) / 127
    constants |= {f"{name}_w": weight, f"{name}_b": RNG.normal(size=3).astype(np.float32) / 10}
    return [
        *pair(f"{name}_wd", f"{name}_w", constants, scale=scale, zero=np.zeros(3, np.int8), axis=0),
        helper.make_node("Conv", [source, f"{name}_wd", f"{name}_b"], [name]),
    ]


def block(*, first_is_conv: bool = False, swap: bool = False) -> onnx.ModelProto:
    """x -> Q/DQ (-> Conv) -> Q/DQ -> identity branch; and a Conv -> Q/DQ branch; Add; Q/DQ."""
    constants: dict[str, Any] = {}
    nodes = pair("xd", "x", constants, scale=1 / 127, zero=ZERO)
    identity = "xd"
    if first_is_conv:
        nodes += [*conv("first", "xd", constants), *pair("firstd", "first", constants, scale=0.02, zero=ZERO)]
        identity = "firstd"
    nodes += [*conv("second", identity, constants), *pair("secondd", "second", constants, scale=0.02, zero=ZERO)]
    inputs = ["secondd", identity] if swap else [identity, "secondd"]
    nodes += [helper.make_node("Add", inputs, ["sum"]), *pair("y", "sum", constants, scale=0.03, zero=ZERO)]
    return model(nodes, constants, input_shape=["N", 3, 8, 8], output="y")


def lowered(made: onnx.ModelProto, tolerance: float = 0.06) -> onnx.ModelProto:
    graph = read_graph(made)
    lower_tensorrt(graph)
    result = written(graph)
    # Two steps of the output: one branch is no longer rounded before the Add.
    assert np.abs(computed(result, X) - computed(made, X)).max() <= tolerance + 1e-6
    return result


def maker(made: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in made.graph.node if name in node.output)


@pytest.mark.parametrize("first_is_conv", [False, True])
@pytest.mark.parametrize("swap", [False, True])
def test_of_an_add_the_later_convolution_is_in_float_and_the_other_branch_quantized(
    first_is_conv: bool, swap: bool
) -> None:
    made = lowered(block(first_is_conv=first_is_conv, swap=swap))
    add = next(node for node in made.graph.node if node.op_type == "Add")
    sources = {position: maker(made, name) for position, name in enumerate(add.input)}
    fused, kept = (0, 1) if swap else (1, 0)
    assert sources[fused].op_type == "Conv"
    assert sources[fused].output[0] == "second"
    assert sources[kept].op_type == "DequantizeLinear"
    # One pair less than before: nobody reads the convolution's own quantizer any more.
    assert kinds(made).count("QuantizeLinear") == kinds(block(first_is_conv=first_is_conv)).count("QuantizeLinear") - (
        3 if first_is_conv else 2
    )


def test_an_add_of_two_identities_keeps_both_quantizers() -> None:
    constants: dict[str, Any] = {}
    nodes = [
        *pair("xd", "x", constants, scale=1 / 127, zero=ZERO),
        helper.make_node("MaxPool", ["xd"], ["m"], kernel_shape=[1, 1]),
        *pair("md", "m", constants, scale=1 / 127, zero=ZERO),
        helper.make_node("Add", ["xd", "md"], ["y"]),
    ]
    made = lowered(model(nodes, constants, input_shape=["N", 3, 8, 8], output="y"), tolerance=0)
    add = next(node for node in made.graph.node if node.op_type == "Add")
    assert [maker(made, name).op_type for name in add.input] == ["DequantizeLinear"] * 2


def test_weights_are_int8_biases_float_and_every_zero_point_is_zero() -> None:
    made = lowered(block())
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    convolution = next(node for node in made.graph.node if node.op_type == "Conv")
    assert values[convolution.input[2]].dtype == np.float32
    weight = maker(made, convolution.input[1])
    assert weight.op_type == "DequantizeLinear"
    assert values[weight.input[0]].dtype == np.int8
    assert np.abs(values[weight.input[0]]).max() == 127
    for node in made.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = values[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()


def test_quantizers_share_no_constants() -> None:
    constants: dict[str, Any] = {"s": np.float32(1 / 127), "z": ZERO}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Neg", ["d"], ["n"]),
        helper.make_node("QuantizeLinear", ["n", "s", "z"], ["nq"]),
        helper.make_node("DequantizeLinear", ["nq", "s", "z"], ["y"]),
    ]
    made = lowered(model(nodes, constants, input_shape=["N", 3, 8, 8], output="y"), tolerance=0)
    names = [name for node in made.graph.node if "Linear" in node.op_type for name in node.input[1:]]
    assert len(names) == len(set(names)) == 8
    assert set(names) == {tensor.name for tensor in made.graph.initializer}


def test_behind_a_pool_the_identity_branch_gets_the_pools_own_quantizer() -> None:
    constants: dict[str, Any] = {}
    pool = helper.make_node("MaxPool", ["xd"], ["pooled"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    made = model(
        [
            *pair("xd", "x", constants, scale=1 / 127, zero=ZERO),
            pool,
            *conv("second", "pooled", constants),
            *pair("secondd", "second", constants, scale=0.02, zero=ZERO),
            helper.make_node("Add", ["secondd", "pooled"], ["sum"]),
            *pair("y", "sum", constants, scale=0.03, zero=ZERO),
        ],
        constants,
        input_shape=["N", 3, 8, 8],
        output="y",
    )
    result = lowered(made)
    add = next(node for node in result.graph.node if node.op_type == "Add")
    assert sorted(maker(result, name).op_type for name in add.input) == ["Conv", "DequantizeLinear"]
