"""The dialect of ONNX Runtime: the same numbers in int8 and int32, and a graph that it fuses to 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgexfer.train.dialects.lower_ort import lower_ort
from edgexfer.train.dialects.onnx_graph import read_graph
from tests.train.onnx_models import computed, kinds, model, pair, written

pytestmark = pytest.mark.train

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (2, 3, 8, 8)).astype(np.float32)
WEIGHT = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)
PER_CHANNEL = (np.abs(WEIGHT).reshape(4, -1).max(1) / 127).astype(np.float32)


def convolution(
    *between: onnx.NodeProto, weight: Any = WEIGHT, bias: Any = BIAS, scale: Any = PER_CHANNEL, out: float = 6 / 255
) -> onnx.ModelProto:
    """Q/DQ -> Conv -> what is given (from `c` to `c2`) -> Q/DQ, as the exporter writes it."""
    constants: dict[str, Any] = {"w": weight, "b": bias, "low": np.float32(0), "high": np.float32(6)}
    nodes = [
        *pair("xd", "x", constants, scale=1 / 255, zero=np.uint8(0)),
        *pair("wd", "w", constants, scale=scale, zero=np.zeros(len(scale), np.int8), axis=0),
        helper.make_node("Conv", ["xd", "wd", "b"], ["c"]),
        *between,
        *pair("y", "c2" if between else "c", constants, scale=out, zero=np.uint8(0)),
    ]
    return model(nodes, constants, input_shape=["N", 3, 8, 8], output="y")


def clip(low: str = "low", high: str = "high") -> onnx.NodeProto:
    return helper.make_node("Clip", ["c", low, high], ["c2"])


def lowered(made: onnx.ModelProto, tolerance: float = 6 / 255 + 1e-6, x: Any = X) -> onnx.ModelProto:
    """Lowered, and checked: at most one step of the output's quantizer away from what it was, on every path."""
    graph = read_graph(made)
    lower_ort(graph)
    result = written(graph)
    for optimized in (False, True):
        difference = np.abs(computed(result, x, optimized=optimized) - computed(made, x))
        assert difference.max() <= tolerance
    return result


def initializers(made: onnx.ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}


def fused(made: onnx.ModelProto, path: Any) -> list[str]:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return kinds(onnx.load(path / "optimized.onnx"))


def test_weights_become_int8_per_channel_and_biases_int32_in_their_products_scale(tmp_path: Any) -> None:
    made = lowered(convolution())
    conv = next(node for node in made.graph.node if node.op_type == "Conv")
    by_output = {name: node for node in made.graph.node for name in node.output}
    values = initializers(made)
    weight, bias = (by_output[name] for name in conv.input[1:])
    assert weight.op_type == bias.op_type == "DequantizeLinear"
    stored = values[weight.input[0]]
    assert stored.dtype == np.int8
    assert stored.shape == WEIGHT.shape
    np.testing.assert_array_equal(stored, np.rint(WEIGHT / PER_CHANNEL.reshape(4, 1, 1, 1)).astype(np.int8))
    steps, scale, zero = (values[name] for name in bias.input)
    assert steps.dtype == zero.dtype == np.int32
    assert not zero.any()
    np.testing.assert_allclose(scale, PER_CHANNEL / 255, rtol=1e-6)
    np.testing.assert_allclose(steps * scale, BIAS, atol=float(scale.max()))
    assert "w" not in values
    assert "b" not in values
    assert {"Conv", "DequantizeLinear"}.isdisjoint(fused(made, tmp_path)[:-1])


def test_a_weight_below_its_range_becomes_the_lowest_that_every_cpu_multiplies_exactly() -> None:
    # -128 is what ONNX computes; NNCF learned -127, and Arm's kernels overflow at two of -128 side by side.
    weight = WEIGHT.copy()
    weight[0, 0, 0, 0] = -130 * PER_CHANNEL[0]
    graph = read_graph(convolution(weight=weight))
    lower_ort(graph)
    stored = next(value for value in initializers(written(graph)).values() if value.dtype == np.int8 and value.ndim > 1)
    assert (stored.min(), stored.max()) == (-127, 127)


def test_a_channel_of_next_to_nothing_keeps_its_bias() -> None:
    # Pruned by training: its weights are zero but for noise, so that its bias is 1e12 steps of their product's scale.
    weight, scale = WEIGHT.copy(), PER_CHANNEL.copy()
    weight[1] *= np.float32(1e-12)
    scale[1] = np.abs(weight[1]).max() / 127
    bias = np.array([0.1, 2.5, 0.2, 0.3], np.float32)
    made = lowered(convolution(weight=weight, bias=bias, scale=scale))
    answer = computed(made, X)[:, 1]
    np.testing.assert_allclose(answer, 2.5, atol=6 / 255)


@pytest.mark.parametrize("between", [clip(), helper.make_node("Relu", ["c"], ["c2"]), clip(high="")])
def test_activations_that_the_quantizer_imposes_are_dropped(between: onnx.NodeProto, tmp_path: Any) -> None:
    made = lowered(convolution(between))
    assert {"Clip", "Relu"}.isdisjoint(kinds(made))
    assert "QLinearConv" in fused(made, tmp_path)


def test_activations_that_cut_more_than_the_quantizer_stay() -> None:
    # The quantizer reaches to 12, the clip cuts at 6.
    assert "Clip" in kinds(lowered(convolution(clip(), out=12 / 255), tolerance=12 / 255 + 1e-6))


def test_an_activation_that_somebody_reads_in_float_stays() -> None:
    constants: dict[str, Any] = {}
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        *pair("q", "r", constants, scale=6 / 255, zero=np.uint8(0)),
        helper.make_node("Add", ["r", "q"], ["y"]),
    ]
    made = lowered(model(nodes, constants, input_shape=["N", 3, 8, 8], output="y"), x=X - 0.5)
    assert "Relu" in kinds(made)


def test_an_activation_that_is_the_output_stays() -> None:
    constants: dict[str, Any] = {}
    nodes = [helper.make_node("Relu", ["x"], ["y"]), *pair("q", "y", constants, scale=6 / 255, zero=np.uint8(0))]
    nodes.append(helper.make_node("Neg", ["q"], ["unread"]))
    graph = read_graph(model(nodes, constants, input_shape=["N", 3, 8, 8], output="y"))
    lower_ort(graph)
    made = written(graph)
    np.testing.assert_array_equal(computed(made, X - 0.5), np.maximum(X - 0.5, 0))


def test_a_negative_zero_point_does_not_cover_a_relu() -> None:
    constants: dict[str, Any] = {}
    nodes = [helper.make_node("Relu", ["x"], ["r"]), *pair("y", "r", constants, scale=0.01, zero=np.uint8(10))]
    made = lowered(model(nodes, constants, input_shape=["N", 3, 8, 8], output="y"), x=X - 0.5, tolerance=0.01)
    assert "Relu" in kinds(made)


def test_flatten_runs_in_8_bits_and_the_classifier_fuses(tmp_path: Any) -> None:
    head = RNG.normal(size=(5, 3)).astype(np.float32)
    scale = (np.abs(head).max(1) / 127).astype(np.float32)
    constants: dict[str, Any] = {"w": head, "b": RNG.normal(size=5).astype(np.float32)}
    nodes = [
        *pair("xd", "x", constants, scale=1 / 255, zero=np.uint8(0)),
        helper.make_node("GlobalAveragePool", ["xd"], ["pooled"]),
        *pair("pd", "pooled", constants, scale=1 / 255, zero=np.uint8(0)),
        helper.make_node("Flatten", ["pd"], ["flat"], axis=1),
        *pair("wd", "w", constants, scale=scale, zero=np.zeros(5, np.int8), axis=0),
        helper.make_node("Gemm", ["flat", "wd", "b"], ["y"], transB=1),
    ]
    made = lowered(model(nodes, constants, input_shape=["N", 3, 8, 8], output="y", output_rank=2), tolerance=0.02)
    order = kinds(made)
    flatten = order.index("Flatten")
    assert order[flatten - 1 : flatten + 2] == ["QuantizeLinear", "Flatten", "DequantizeLinear"]
    found = fused(made, tmp_path)
    assert "QGemm" in found
    assert {"Gemm", "GlobalAveragePool"}.isdisjoint(found)


def test_flatten_of_what_others_read_too_stays_in_float() -> None:
    constants: dict[str, Any] = {}
    nodes = [
        *pair("xd", "x", constants, scale=1 / 255, zero=np.uint8(0)),
        helper.make_node("Transpose", ["xd"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("Add", ["xd", "t"], ["y"]),
    ]
    made = lowered(model(nodes, constants, input_shape=["N", 3, 8, 8], output="y"), tolerance=1e-6)
    assert kinds(made) == ["QuantizeLinear", "DequantizeLinear", "Transpose", "Add"]
