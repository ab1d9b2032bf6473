"""A bundle's network takes uint8 pixels and gives probabilities: the same numbers as the float network in PyTorch."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edgexfer.train.backbones import IMAGENET
from edgexfer.train.deploy import DeployNetwork, deploy_form
from edgexfer.train.dialects.onnx_graph import Graph, read_graph, simplify
from edgexfer.train.dialects.pixels_in import PIXELS, PROBABILITIES, give_probabilities, take_pixels
from tests.train.onnx_models import computed, kinds, model, pair, written

pytestmark = pytest.mark.train

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 10, 12, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> DeployNetwork:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU6(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 4),
    )
    return deploy_form(layers, IMAGENET, 10, 12)


def exported(network: DeployNetwork) -> Graph:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the TorchScript exporter is deprecated
        torch.onnx.export(
            network.network,
            (torch.zeros(1, 3, 10, 12),),
            buffer,
            dynamo=False,
            opset_version=17,
            dynamic_axes={"in": {0: "N"}, "out": {0: "N"}},
            input_names=["in"],
            output_names=["out"],
        )
    graph = read_graph(onnx.load_from_string(buffer.getvalue()))
    simplify(graph)
    return graph


@pytest.mark.parametrize("dialect", ["ort", "tensorrt"])
@pytest.mark.parametrize("optimized", [False, True])
def test_both_dialects_compute_what_pytorch_does(network: DeployNetwork, dialect: str, optimized: bool) -> None:
    graph = exported(network)
    take_pixels(graph, 10, 12, network.pixel_scale, network.pixel_zero, dialect=dialect)
    give_probabilities(graph, 4)
    made = written(graph)
    with torch.no_grad():
        expected = network(torch.from_numpy(PICTURES).permute(0, 3, 1, 2)).softmax(1).numpy()
    found = computed(made, PICTURES, optimized=optimized)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(computed(made, PICTURES[:1], optimized=optimized), expected[:1], atol=1e-5)


@pytest.mark.parametrize("dialect", ["ort", "tensorrt"])
def test_the_ends_are_those_of_a_bundle(network: DeployNetwork, dialect: str) -> None:
    graph = exported(network)
    take_pixels(graph, 10, 12, network.pixel_scale, network.pixel_zero, dialect=dialect)
    give_probabilities(graph, 4)
    made = written(graph)
    assert [value.name for value in made.graph.input] == [PIXELS]
    assert [value.name for value in made.graph.output] == [PROBABILITIES]
    taken = made.graph.input[0].type.tensor_type
    assert taken.elem_type == TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in taken.shape.dim] == ["N", 10, 12, 3]
    given = made.graph.output[0].type.tensor_type
    assert [d.dim_param or d.dim_value for d in given.shape.dim] == ["N", 4]
    # TensorRT reads uint8 by a Cast alone; ONNX Runtime takes the pixels as a quantized tensor.
    first = next(node for node in made.graph.node if PIXELS in node.input)
    assert first.op_type == ("Cast" if dialect == "tensorrt" else "Transpose")
    assert ("DequantizeLinear" in kinds(made)) == (dialect == "ort")


def quantized_input(zero: int, dtype: Any) -> Graph:
    constants: dict[str, Any] = {}
    nodes = [*pair("xd", "x", constants, scale=0.02, zero=dtype(zero)), helper.make_node("Flatten", ["xd"], ["y"])]
    return read_graph(model(nodes, constants, input_shape=["N", 3, 10, 12], output="y", output_rank=2))


def test_pixels_are_the_quantized_input_for_onnx_runtime() -> None:
    graph = quantized_input(116, np.uint8)
    take_pixels(graph, 10, 12, 0.02, 116, dialect="ort")
    made = written(graph)
    assert "QuantizeLinear" not in kinds(made)
    expected = ((PICTURES.astype(np.float32) - 116) * np.float32(0.02)).transpose(0, 3, 1, 2).reshape(3, -1)
    np.testing.assert_allclose(computed(made, PICTURES), expected, atol=1e-6)


def test_tensorrt_keeps_the_quantizer_of_the_input() -> None:
    graph = quantized_input(0, np.int8)
    take_pixels(graph, 10, 12, 0.02, 116, dialect="tensorrt")
    made = written(graph)
    assert kinds(made)[:6] == ["Cast", "Transpose", "Sub", "Mul", "QuantizeLinear", "DequantizeLinear"]
    steps = np.clip(PICTURES.astype(np.float32) - 116, -128, 127)
    expected = (steps * np.float32(0.02)).transpose(0, 3, 1, 2).reshape(3, -1)
    np.testing.assert_allclose(computed(made, PICTURES), expected, atol=1e-6)
