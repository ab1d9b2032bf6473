"""Which layer hurts: found in both dialects, and a layer that is damaged on purpose is the one that is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.target import load_target
from edgexfer.runtime.classifier import load
from edgexfer.train.export import export
from edgexfer.train.quantize.layer_error import LayerError, layer_errors
from tests.train.exports import Exports

pytestmark = pytest.mark.train

X86, THOR = load_target("x86-cpu"), load_target("jetson-agx-thor")
DAMAGED = "blocks.3.1.conv_dw"


@pytest.fixture(scope="module")
def ort(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With both candidates, as export has it before one is chosen."""
    folder = tmp_path_factory.mktemp("layers") / "x.edgx"
    return export(exports.quantized("ort"), X86, folder, beside=exports.run)


def models(bundle: Bundle, *precisions: str) -> list[ModelProto]:
    return [onnx.load(bundle.at(precision).model) for precision in precisions]


def layers_of(bundle: Bundle) -> list[dict[str, Any]]:
    content: dict[str, Any] = json.loads((bundle.folder / "layers.json").read_bytes())
    assert content["format_version"] == 1
    assert 1 < content["images"] <= 16
    assert content["precision"] == "int8"
    return list(content["layers"])


def worst(errors: list[LayerError]) -> LayerError:
    return min((error for error in errors if error.own_sqnr_db is not None), key=lambda error: error.own_sqnr_db or 0)


def damage(model: ModelProto, quantizer: NodeProto, factor: float) -> None:
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == quantizer.input[1])
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(factor), scale.name))


def maker_of(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if name in node.output)


def layer_of(model: ModelProto, name: str) -> NodeProto:
    end = "/" + name.rpartition(".")[2] + "/Conv"
    (node,) = (n for n in model.graph.node if n.name.endswith(f"{name.rpartition('.')[0]}{end}"))
    return node


def test_every_layer_is_there_in_the_networks_order_with_its_parameters(exports: Exports) -> None:
    for made in (exports.ort.bundle, exports.tensorrt.bundle):
        bundle = open_bundle(made.folder)
        assert "layers.json" in bundle.manifest["files"]
        layers = layers_of(bundle)
        assert [layer["operator"] for layer in layers].count("Conv") == 49
        assert [layer["operator"] for layer in layers].count("Add") == 9
        assert (layers[0]["operator"], layers[-1]["operator"]) == ("Conv", "Gemm")
        names = [layer["name"] for layer in layers]
        assert (
            names.index("blocks.1.1.conv_pwl") + 1 == names.index("blocks.1.1.Add") < names.index("blocks.2.0.conv_pw")
        )
        assert len(set(names)) == len(layers)
        whole = sum(value.numel() for value in exports.run.float_network().parameters())
        assert sum(layer["parameters"] for layer in layers) == whole
        assert {layer["parameters"] for layer in layers if layer["operator"] == "Add"} == {0}


def test_errors_add_up_along_the_network_and_each_figure_agrees_with_itself(exports: Exports) -> None:
    layers = layers_of(exports.ort.bundle)
    assert all(0 < layer["own_relative_error"] < 0.2 for layer in layers)
    # What comes from before is larger than what a layer adds, but for the first.
    assert layers[0]["sqnr_db"] == pytest.approx(layers[0]["own_sqnr_db"], abs=0.1)
    assert all(layer["sqnr_db"] < layer["own_sqnr_db"] for layer in layers[1:])
    for layer in layers:
        assert layer["relative_error"] == pytest.approx(10 ** (-layer["sqnr_db"] / 20), rel=2e-3)


def test_the_last_layers_error_is_what_the_runtime_shows(ort: Bundle) -> None:
    """Logits by way of the probabilities, up to what a softmax takes away, through the runtime and fused kernels."""
    pixels, _ = ort.references()
    logits = []
    for precision in ("float32", "int8"):
        with load(ort.at(precision)) as classifier:
            found = np.log(classifier.probabilities(np.unique(pixels, axis=0)).astype(np.float64))
        logits.append(found - found.mean(axis=1, keepdims=True))
    apart = np.linalg.norm(logits[1] - logits[0]) / np.linalg.norm(logits[0])
    assert layers_of(ort)[-1]["relative_error"] == pytest.approx(apart, rel=0.35)


@pytest.mark.parametrize("where", ["weights", "output"])
def test_a_damaged_scale_names_its_layer(ort: Bundle, where: str) -> None:
    reference, quantized = models(ort, "float32", "int8")
    pixels: NDArray[np.uint8] = ort.references()[0][:4]
    before = {error.name: error for error in layer_errors(reference, quantized, pixels)}
    layer = layer_of(quantized, DAMAGED)
    if where == "weights":
        damage(quantized, maker_of(quantized, layer.input[1]), 1.5)
    else:
        readers = [node for node in quantized.graph.node if layer.output[0] in node.input]
        assert [node.op_type for node in readers] == ["QuantizeLinear"]
        pair = [*readers, *(node for node in quantized.graph.node if readers[0].output[0] in node.input)]
        for name in {node.input[1] for node in pair}:
            damage(quantized, next(node for node in pair if node.input[1] == name), 0.05)
    after = layer_errors(reference, quantized, pixels)
    assert worst(after).name == DAMAGED
    # The blame stays where it belongs: what every other layer does by itself is what it was.
    for error in after:
        if error.name == DAMAGED:
            assert error.own_relative_error > 5 * before[error.name].own_relative_error
        else:
            assert error.own_relative_error == before[error.name].own_relative_error
    # And the plain figures show how far it carries.
    names = [error.name for error in after]
    moved = [e.relative_error != before[e.name].relative_error for e in after]
    assert moved == [place >= names.index(DAMAGED) for place in range(len(names))]


def test_a_network_held_to_itself_has_no_error(ort: Bundle) -> None:
    (reference,) = models(ort, "float32")
    errors = layer_errors(reference, reference, ort.references()[0][:1])
    assert len(errors) == 59
    assert {(e.sqnr_db, e.relative_error, e.own_sqnr_db, e.own_relative_error) for e in errors} == {
        (None, 0.0, None, 0.0)
    }


def test_in_tensorrts_dialect_a_layer_that_is_float_adds_no_error(exports: Exports) -> None:
    layers = layers_of(exports.tensorrt.bundle)
    assert layers[-1]["name"] == "classifier"
    assert layers[-1]["sqnr_db"] is not None
    assert (layers[-1]["own_sqnr_db"], layers[-1]["own_relative_error"]) == (None, 0.0)
    assert sum(layer["own_sqnr_db"] is None for layer in layers) < 15


def test_a_half_precision_bundle_has_its_layers_too(exports: Exports, tmp_path: Path) -> None:
    bundle = export(exports.quantized("tensorrt"), THOR, tmp_path / "x.edgx", beside=exports.run)
    half, single = layers_of(bundle), layers_of(exports.tensorrt.bundle)
    assert [layer["name"] for layer in half] == [layer["name"] for layer in single]
    for one, other in zip(half, single, strict=True):
        assert one["relative_error"] == pytest.approx(other["relative_error"], rel=0.5, abs=2e-3)


def test_a_quantized_run_that_is_exported_by_itself_is_held_to_its_own_weights(
    exports: Exports, ort: Bundle, tmp_path: Path
) -> None:
    bundle = export(exports.quantized("ort"), X86, tmp_path / "x.edgx")
    alone, beside = (json.loads((b.folder / "layers.json").read_bytes()) for b in (bundle, ort))
    assert (alone["reference"], beside["reference"]) == ("unquantized", "float32")
    assert [layer["name"] for layer in alone["layers"]] == [layer["name"] for layer in beside["layers"]]
    errors = [[layer["own_sqnr_db"] for layer in made["layers"]] for made in (alone, beside)]
    assert np.abs(np.subtract(*errors)).max() < 6


def test_a_float_bundle_has_no_layers_and_its_history(exports: Exports, tmp_path: Path) -> None:
    bundle = export(exports.run, X86, tmp_path / "x.edgx")
    assert set(bundle.manifest["files"]) == {"model.onnx", "reference.npz", "split.csv", "history.csv", "sbom.json"}
    assert (bundle.folder / "history.csv").read_text() == (exports.run.folder / "history.csv").read_text()
