"""The float rest as float16: types, scales that float16 hardly holds, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgexfer.core.errors import EdgexferError
from edgexfer.train.dialects.lower_half import lower_half
from edgexfer.train.dialects.lower_tensorrt import lower_tensorrt
from edgexfer.train.dialects.onnx_graph import read_graph
from tests.train.onnx_models import kinds, model, pair, simulated, written

pytestmark = pytest.mark.train

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (4, 3, 6, 6)).astype(np.float32)
ZERO = np.int8(0)
SUBNORMAL = 2.0**-24  # float16's smallest number


def network(
    *, largest: tuple[float, ...] = (0.3, 0.2, 0.1), activation: float = 1 / 127, opset: int = 19
) -> ModelProto:
    """x -> Cast -> Q/DQ -> Conv in 8 bits, whose channels' weights go up to `largest` -> Relu."""
    weight = RNG.uniform(-1, 1, (3, 3, 1, 1))
    weight *= np.array(largest).reshape(3, 1, 1, 1) / np.abs(weight).max((1, 2, 3), keepdims=True)
    constants: dict[str, Any] = {"w": weight.astype(np.float32), "b": RNG.normal(size=3).astype(np.float32) / 10}
    scale = (np.array(largest) / 127).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        *pair("xd", "floats", constants, scale=activation, zero=ZERO),
        *pair("wd", "w", constants, scale=scale, zero=np.zeros(3, np.int8), axis=0),
        helper.make_node("Conv", ["xd", "wd", "b"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["logits"]),
    ]
    return model(nodes, constants, input_shape=["N", 3, 6, 6], output="logits", opset=opset)


def halved(made: ModelProto) -> ModelProto:
    graph = read_graph(made)
    lower_tensorrt(graph)
    lower_half(graph)
    return written(graph)


def values(made: ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}


def maker(made: ModelProto, name: str) -> Any:
    return next(node for node in made.graph.node if name in node.output)


def test_all_but_the_ends_and_the_steps_is_float16() -> None:
    made = halved(network())
    held = values(made)
    assert {value.dtype.name for value in held.values()} == {"float16", "int8"}
    assert [v.type.tensor_type.elem_type for v in (*made.graph.input, *made.graph.output)] == [TensorProto.FLOAT] * 2
    assert [value.name for value in made.graph.output] == ["logits"]
    assert kinds(made)[0] == kinds(made)[-1] == "Cast"
    assert [a.i for n in made.graph.node if n.op_type == "Cast" for a in n.attribute] == [
        TensorProto.FLOAT16,
        TensorProto.FLOAT,
    ]
    for node in made.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert held[node.input[1]].dtype == np.float16
            assert held[node.input[2]].dtype == np.int8


def test_it_computes_what_the_float32_file_does() -> None:
    made = network()
    # Where float16 puts a value on the other side of a step's border, it differs by one step of one input.
    np.testing.assert_allclose(simulated(halved(made), X), simulated(made, X), atol=4e-3)


def test_an_output_that_others_read_stays_one_tensor() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["logits"]),
        helper.make_node("Neg", ["logits"], ["unused"]),
    ]
    made = halved(model(nodes, {}, input_shape=["N", 3, 6, 6], output="logits"))
    assert kinds(made) == ["Relu", "Cast"]


@pytest.mark.parametrize("largest", [1e-3, 1e-4, 2e-5, 4e-6])
def test_weights_that_nearly_vanish_move_by_half_a_step_at_most(largest: float) -> None:
    made = network(largest=(0.3, largest, 0.1))
    half = halved(made)
    dequantize = maker(half, next(n for n in half.graph.node if n.op_type == "Conv").input[1])
    steps, scale, _ = (values(half)[name] for name in dequantize.input)
    learned = np.rint(values(made)["w"] / values(made)["wd_s"].reshape(3, 1, 1, 1)) * values(made)["wd_s"].reshape(
        3, 1, 1, 1
    )
    found = steps.astype(np.float64) * scale.astype(np.float64).reshape(3, 1, 1, 1)
    assert (scale > 0).all()
    assert scale[1] < 6.2e-5 or largest == 1e-3
    assert (np.abs(found - learned) <= scale.astype(np.float64).reshape(3, 1, 1, 1) / 2 * 1.001).all()


def test_weights_below_all_that_float16_holds_become_nothing_and_their_scale_does_not() -> None:
    half = halved(network(largest=(0.3, 1e-7, 0.1)))
    dequantize = maker(half, next(n for n in half.graph.node if n.op_type == "Conv").input[1])
    steps, scale, _ = (values(half)[name] for name in dequantize.input)
    assert float(scale[1]) == SUBNORMAL
    assert np.abs(steps[1]).max() <= 2
    assert np.abs(steps[0]).max() == 127


def test_small_activations_are_kept_while_float16_holds_their_range() -> None:
    made = network(activation=2e-5)
    np.testing.assert_allclose(simulated(halved(made), X * 2e-3), simulated(made, X * 2e-3), atol=1e-3)


@pytest.mark.parametrize(
    ("made", "words", "hint"),
    [
        (network(opset=17), "opset 17 has no quantizer of float16", "set opset = 19"),
        (network(activation=1e-7), r"are quantized in steps of 1e-07, too small for float16", "float32"),
        (
            model(
                [helper.make_node("Mul", ["x", "huge"], ["logits"])],
                {"huge": np.float32(1e5)},
                input_shape=["N", 3, 6, 6],
                output="logits",
            ),
            r"huge holds 1e\+05, float16 ends at 65504",
            "float32",
        ),
    ],
    ids=["opset", "activations", "constant"],
)
def test_what_float16_cannot_hold_is_refused_with_a_remedy(made: ModelProto, words: str, hint: str) -> None:
    with pytest.raises(EdgexferError, match=words) as caught:
        halved(made)
    assert hint in caught.value.hint
