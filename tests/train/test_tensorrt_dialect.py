"""The exported Jetson bundle, read with onnx alone and none of edgexfer's own rules: what TensorRT must find there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from edgexfer.core.target import load_target
from edgexfer.train.export import export
from tests.train.exports import Exports

pytestmark = pytest.mark.train

PAIR = ("QuantizeLinear", "DequantizeLinear")
# Newest opset by release (onnx-tensorrt's operator tables), those of the profiles that are exported here.
READS = {"8.5": 17, "8.6": 17, "10.3": 20, "10.13": 24, "10.16": 24, "11.4": 24}


class Reading:
    """One ONNX file: its initializers, and which node makes a tensor."""

    def __init__(self, path: Path) -> None:
        self.model: ModelProto = onnx.load(path)
        onnx.checker.check_model(self.model, full_check=True)
        self.graph: GraphProto = self.model.graph
        self.values = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}
        self.maker = {name: node for node in self.graph.node for name in node.output}

    def nodes(self, *kinds: str) -> Iterator[NodeProto]:
        return (node for node in self.graph.node if node.op_type in kinds)

    def attribute(self, node: NodeProto, name: str, default: Any = None) -> Any:
        return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)

    def is_dequantized(self, name: str) -> bool:
        return name in self.maker and self.maker[name].op_type == "DequantizeLinear"


@pytest.fixture(scope="module", params=["jetson-orin-nano", "jetson-xavier-nx", "jetson-agx-thor"])
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["int8", "int8-depthwise-float16"])
def reading(
    request: pytest.FixtureRequest, profile: str, exports: Exports, tmp_path_factory: pytest.TempPathFactory
) -> Reading:
    """Both INT8 forms of the bundle for each kind of profile: opset 17 in float32, 13 in float32, 19 in float16."""
    if profile == "jetson-orin-nano":
        return Reading(exports.tensorrt.bundle.at(request.param).model)
    folder = tmp_path_factory.getbasetemp() / "dialect" / f"{profile}.edgx"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        export(exports.quantized("tensorrt"), load_target(profile), folder, beside=exports.run)
    return Reading(folder / ("model.onnx" if request.param == "int8" else f"candidates/{request.param}.onnx"))


def test_every_quantizer_is_int8_around_zero_with_both_constants_as_initializers(reading: Reading) -> None:
    pairs = list(reading.nodes(*PAIR))
    assert len(pairs) > 80
    for node in pairs:
        assert len(node.input) == 3
        scale, zero = (reading.values[name] for name in node.input[1:])
        assert zero.dtype == np.int8
        assert not zero.any()
        assert zero.shape == scale.shape
        assert np.isfinite(scale).all()
        assert (scale > 0).all()


def test_activations_have_one_scale_and_weights_one_a_channel_on_axis_0(reading: Reading) -> None:
    weights = 0
    for node in reading.nodes(*PAIR):
        scale = reading.values[node.input[1]]
        if node.input[0] not in reading.values:
            assert scale.shape == ()
            continue
        weights += 1
        steps = reading.values[node.input[0]]
        assert node.op_type == "DequantizeLinear"
        assert steps.dtype == np.int8
        assert scale.shape == (len(steps),)
        assert reading.attribute(node, "axis") == 0
    layers = [n for n in reading.nodes("Conv") if reading.is_dequantized(n.input[1])]
    assert weights == len(layers) >= 33


def test_each_quantized_layer_reads_quantized_data_and_adds_a_float_bias(reading: Reading, profile: str) -> None:
    wanted = np.float16 if profile == "jetson-agx-thor" else np.float32
    for node in reading.nodes("Conv", "Gemm"):
        assert reading.values[node.input[2]].dtype == wanted
        if reading.is_dequantized(node.input[1]):
            assert reading.is_dequantized(node.input[0])


def test_at_each_residual_add_one_branch_is_quantized_and_the_other_a_convolution(reading: Reading) -> None:
    adds = list(reading.nodes("Add"))
    assert len(adds) == 9
    for node in adds:
        assert sorted(reading.maker[name].op_type for name in node.input) == ["Conv", "DequantizeLinear"]


def test_quantizers_come_in_pairs_that_share_their_values(reading: Reading) -> None:
    for node in reading.nodes("DequantizeLinear"):
        if node.input[0] in reading.values:
            continue
        quantize = reading.maker[node.input[0]]
        assert quantize.op_type == "QuantizeLinear"
        for mine, its in zip(node.input[1:], quantize.input[1:], strict=True):
            assert np.array_equal(reading.values[mine], reading.values[its])


def test_nothing_hides_a_scale_and_nothing_else_quantizes(reading: Reading) -> None:
    kinds = {node.op_type for node in reading.graph.node}
    assert kinds.isdisjoint({"Identity", "Constant", "BatchNormalization", "ConvInteger", "DynamicQuantizeLinear"})
    assert not any(kind.startswith("QLinear") for kind in kinds)


def test_classifier_and_pool_are_float_and_no_depthwise_layer_is_left_out_but_by_intent(
    reading: Reading, request: pytest.FixtureRequest
) -> None:
    mixed = "int8-depthwise-float16" in request.node.callspec.id
    (classifier,) = reading.nodes("Gemm")
    assert not reading.is_dequantized(classifier.input[0])
    assert classifier.input[1] in reading.values
    (pool,) = reading.nodes("GlobalAveragePool")
    assert not reading.is_dequantized(pool.input[0])
    for node in reading.nodes("Conv"):
        depthwise = reading.attribute(node, "group", 1) > 1
        assert reading.is_dequantized(node.input[1]) == (not (mixed and depthwise))


def test_the_opset_is_legal_for_every_release_of_the_profile(reading: Reading, profile: str) -> None:
    (version,) = [entry.version for entry in reading.model.opset_import]
    target = load_target(profile)
    assert target.engine_versions
    assert version <= min(READS[release] for release in target.engine_versions)
    if target.float_type == "float16":
        assert version >= 19


def test_pixels_are_uint8_read_by_a_cast_and_probabilities_float32(reading: Reading) -> None:
    (source,), (result,) = reading.graph.input, reading.graph.output
    assert source.type.tensor_type.elem_type == TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in source.type.tensor_type.shape.dim] == ["N", 64, 64, 3]
    assert [node.op_type for node in reading.graph.node if source.name in node.input] == ["Cast"]
    assert result.type.tensor_type.elem_type == TensorProto.FLOAT
    assert [d.dim_param or d.dim_value for d in result.type.tensor_type.shape.dim] == ["N", 3]
