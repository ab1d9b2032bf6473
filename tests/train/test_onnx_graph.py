"""Edits of an ONNX graph keep what it computes, whatever they fold, drop or merge."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper, numpy_helper

from edgexfer.train.dialects.onnx_graph import read_graph, simplify
from tests.train.onnx_models import computed, kinds, model, written

pytestmark = pytest.mark.train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 6, 6)).astype(np.float32)
WEIGHT = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
PIXELS: list[int | str] = ["N", 3, 6, 6]


def simplified(made: onnx.ModelProto) -> onnx.ModelProto:
    graph = read_graph(made)
    simplify(graph)
    result = written(graph)
    np.testing.assert_allclose(computed(result, X), computed(made, X), rtol=1e-5, atol=1e-5)
    return result


def constant_node(name: str, **value: object) -> NodeProto:
    return helper.make_node("Constant", [], [name], **value)


@pytest.mark.parametrize(
    "value",
    [
        {"value": numpy_helper.from_array(np.array([2.0], np.float32))},
        {"value_float": 2.0},
        {"value_floats": [2.0]},
    ],
)
def test_constants_of_every_kind_are_folded(value: dict[str, object]) -> None:
    nodes = [
        constant_node("two", **value),
        helper.make_node("Add", ["two", "two"], ["four"]),
        helper.make_node("Mul", ["x", "four"], ["y"]),
    ]
    assert kinds(simplified(model(nodes, {}, input_shape=PIXELS, output="y"))) == ["Mul"]


def test_integer_constants_are_folded() -> None:
    nodes = [constant_node("shape", value_ints=[-1, 108]), helper.make_node("Reshape", ["x", "shape"], ["y"])]
    made = simplified(model(nodes, {}, input_shape=PIXELS, output="y", output_rank=2))
    assert kinds(made) == ["Reshape"]
    assert numpy_helper.to_array(made.graph.initializer[0]).dtype == np.int64


@pytest.mark.parametrize("kind", ["Identity", "Dropout"])
def test_identities_are_dropped_in_the_middle_but_outputs_keep_their_name(kind: str) -> None:
    nodes = [
        helper.make_node(kind, ["x"], ["same"]),
        helper.make_node("Relu", ["same"], ["r"]),
        helper.make_node(kind, ["r"], ["y"]),
    ]
    made = simplified(model(nodes, {}, input_shape=PIXELS, output="y"))
    assert kinds(made) == ["Relu"]
    assert [value.name for value in made.graph.output] == ["y"]


def test_an_identity_from_input_to_output_stays() -> None:
    made = simplified(model([helper.make_node("Identity", ["x"], ["y"])], {}, input_shape=PIXELS, output="y"))
    assert kinds(made) == ["Identity"]


def test_an_output_that_is_a_constant_stays_an_output() -> None:
    nodes = [helper.make_node("Add", ["a", "a"], ["y"])]
    made = simplified(model(nodes, {"a": np.ones((1, 1, 1, 1), np.float32)}, input_shape=PIXELS, output="y"))
    assert len(made.graph.output) == 1


def padded(
    pads: list[int], mode: str = "constant", value: float | None = 0.0, own: list[int] | None = None, **more: object
) -> onnx.ModelProto:
    constants = {"pads": np.array(pads, np.int64), "w": WEIGHT}
    inputs = ["x", "pads"]
    if value is not None:
        constants["value"] = np.float32(value)
        inputs.append("value")
    if "axes" in more:
        constants["axes"] = np.array(more["axes"], np.int64)
        inputs.append("axes")
    nodes = [helper.make_node("Pad", inputs, ["p"], mode=mode), helper.make_node("Conv", ["p", "w"], ["y"])]
    if own is not None:
        nodes[1].attribute.append(helper.make_attribute("pads", own))
    return model(nodes, constants, input_shape=PIXELS, output="y", opset=18)


@pytest.mark.parametrize(
    ("pads", "value", "own", "expected"),
    [
        ([0, 0, 0, 1, 0, 0, 1, 2], 0.0, None, [0, 1, 1, 2]),
        ([0, 0, 0, 1, 0, 0, 1, 2], None, [1, 1, 1, 1], [1, 2, 2, 3]),
    ],
)
def test_zero_paddings_move_into_the_convolution(
    pads: list[int], value: float | None, own: list[int] | None, expected: list[int]
) -> None:
    made = simplified(padded(pads, value=value, own=own))
    assert kinds(made) == ["Conv"]
    assert list(next(a.ints for a in made.graph.node[0].attribute if a.name == "pads")) == expected


def test_other_paddings_stay() -> None:
    border = [0, 0, 1, 1, 0, 0, 1, 1]
    for made in (
        padded(border, value=1.5),
        padded(border, mode="reflect", value=None),
        padded(border, mode="edge", value=None),
        padded([0, 0, -1, -1, 0, 0, 0, 0]),
        padded([1, 1, 1, 1], axes=[2, 3]),
    ):
        assert kinds(simplified(made)) == ["Pad", "Conv"]


def test_a_padding_that_others_read_stays() -> None:
    constants = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "w": WEIGHT}
    nodes = [helper.make_node("Pad", ["x", "pads"], ["y"]), helper.make_node("Conv", ["y", "w"], ["c"])]
    assert kinds(simplified(model(nodes, constants, input_shape=PIXELS, output="y"))) == ["Pad"]


def test_lone_scales_become_scalars_and_only_there() -> None:
    one, zero = np.array([0.5], np.float32), np.array([128], np.uint8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["d"]),
        helper.make_node("Concat", ["one", "two"], ["three"], axis=0),
        helper.make_node("Mul", ["d", "three"], ["y"]),
    ]
    constants = {"one": one, "zero": zero, "two": np.arange(5, dtype=np.float32)}
    made = simplified(model(nodes, constants, input_shape=PIXELS, output="y"))
    shapes = {tensor.name: tuple(tensor.dims) for tensor in made.graph.initializer}
    assert all(shapes[name] == () for node in made.graph.node[:2] for name in node.input[1:])


def test_names_that_are_taken_are_never_fresh() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["x_2"])]
    graph = read_graph(model(nodes, {"x_1": np.float32(1)}, input_shape=PIXELS, output="x_2"))
    assert [graph.fresh("x"), graph.fresh("x")] == ["x_3", "x_4"]


STEPS = st.lists(
    st.sampled_from(["Identity", "Relu", "Pad", "Conv", "Fold", "Quantize", "Dropout", "Add"]), min_size=1, max_size=7
)


@given(STEPS, st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_simplified_graphs_compute_the_same(steps: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    nodes: list[NodeProto] = []
    constants: dict[str, object] = {}
    last = "x"
    for number, step in enumerate(steps):
        name = f"t{number}"
        if step == "Pad":
            constants[f"{name}_p"] = np.array([0, 0, *rng.integers(0, 3, 2), 0, 0, *rng.integers(0, 3, 2)], np.int64)
            nodes.append(helper.make_node("Pad", [last, f"{name}_p"], [name]))
        elif step == "Conv":
            constants[f"{name}_w"] = rng.normal(size=(3, 3, 1, 1)).astype(np.float32)
            nodes.append(helper.make_node("Conv", [last, f"{name}_w"], [name]))
        elif step == "Fold":
            nodes += [
                constant_node(f"{name}_c", value_float=0.5),
                helper.make_node("Neg", [f"{name}_c"], [f"{name}_n"]),
            ]
            nodes.append(helper.make_node("Mul", [last, f"{name}_n"], [name]))
        elif step == "Quantize":
            constants[f"{name}_s"], constants[f"{name}_z"] = np.array([0.1], np.float32), np.array([128], np.uint8)
            nodes.append(helper.make_node("QuantizeLinear", [last, f"{name}_s", f"{name}_z"], [f"{name}_q"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], [name]))
        else:
            nodes.append(helper.make_node(step, [last, last] if step == "Add" else [last], [name]))
        last = name
    made = simplified(model(nodes, constants, input_shape=PIXELS, output=last))
    nothing_is_computed = set(steps) <= {"Identity", "Dropout"}
    assert nothing_is_computed or not {"Constant", "Identity", "Dropout", "Neg"} & set(kinds(made))
