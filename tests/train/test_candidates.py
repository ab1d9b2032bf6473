"""One bundle, every form from which a device may choose: written, named, proven against PyTorch, run and linted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.errors import EdgexferError
from edgexfer.core.target import Target, load_target
from edgexfer.runtime.classifier import load
from edgexfer.train.dialects.candidates import float_precision
from edgexfer.train.dialects.lint import lint
from edgexfer.train.dialects.parity import check_parity
from edgexfer.train.export import export
from tests.train.exports import Exports

pytestmark = pytest.mark.train

JETSON, X86, NANO = load_target("jetson-orin-nano"), load_target("x86-cpu"), load_target("jetson-nano")
THOR = load_target("jetson-agx-thor")
FORMS = ["int8", "int8-depthwise-float16", "float16"]


@pytest.fixture(scope="module")
def made(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Bundles with all candidates: float32-typed, float16-typed, and for ONNX Runtime."""
    folder = tmp_path_factory.mktemp("candidates")

    def write(name: str, target: Target, dialect: str) -> Bundle:
        return export(exports.quantized(dialect), target, folder / name, beside=exports.run)

    return {
        "float32": write("a.edgx", JETSON, "tensorrt"),
        "float16": write("b.edgx", THOR, "tensorrt"),
        "ort": write("c.edgx", X86, "ort"),
    }


def float_types(path: Path) -> set[str]:
    return {
        TensorProto.DataType.Name(tensor.data_type)
        for tensor in onnx.load(path).graph.initializer
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
    }


def test_a_bundle_for_tensorrt_holds_three_forms_and_one_for_cpus_two(made: dict[str, Bundle]) -> None:
    for name in ("float32", "float16"):
        bundle = made[name]
        assert (bundle.precision, list(bundle.candidates)) == ("int8", FORMS)
        assert bundle.manifest["candidates"]["int8"] == "model.onnx"
        assert {*bundle.candidates.values()} < {*bundle.manifest["files"]}
        assert len({bundle.at(precision).model_sha256 for precision in FORMS}) == 3
    assert list(made["ort"].candidates) == ["int8", "float32"]
    assert "trtexec_model" not in made["float32"].manifest


def test_the_float_rest_has_the_type_that_the_target_asks_for(made: dict[str, Bundle]) -> None:
    for precision in FORMS:
        assert float_types(made["float32"].at(precision).model) == {"FLOAT"}
        assert float_types(made["float16"].at(precision).model) == {"FLOAT16"}
    assert made["float16"].at("float16").model.stat().st_size * 1.8 < made["float32"].at("float16").model.stat().st_size


def test_the_runtime_gives_for_each_form_what_pytorch_gave(made: dict[str, Bundle]) -> None:
    answers: dict[tuple[str, str], Any] = {}
    for name, bundle in made.items():
        for precision in bundle.candidates:
            chosen = bundle.at(precision)
            pixels, expected = chosen.references()
            with load(chosen, backend="ort") as classifier:
                found = classifier.probabilities(pixels)
            assert (found.argmax(1) == expected.argmax(1)).all()
            assert np.abs(found - expected).max() < 0.02
            answers[name, precision] = expected
    # The forms are different networks, and each has its own reference.
    int8, mixed, full = (answers["float32", precision] for precision in FORMS)
    assert not np.array_equal(int8, mixed)
    assert not np.array_equal(mixed, full)
    assert np.array_equal(int8, answers["float16", "int8"])


def test_depthwise_layers_alone_differ_between_the_two_forms_of_int8(made: dict[str, Bundle]) -> None:
    for name in ("float32", "float16"):
        full, mixed = (onnx.load(made[name].at(precision).model).graph for precision in FORMS[:2])
        float_layers = []
        for graph in (full, mixed):
            weights = {tensor.name for tensor in graph.initializer}
            layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
            float_layers.append({node.name for node in layers if node.input[1] in weights})
        depthwise = {
            n.name for n in full.node if n.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in n.attribute)
        }
        assert float_layers[1] - float_layers[0] == depthwise
        assert len(depthwise) == 16
        assert len(float_layers[0]) == 1  # the classifier


def test_lint_finds_nothing_in_any_form_for_any_release_of_the_target(made: dict[str, Bundle]) -> None:
    for bundle in made.values():
        assert lint(bundle.folder) == []
    assert lint(made["float32"].folder, engine_versions=["8.5", "8.6", "10.0", "10.16"]) == []
    assert lint(made["float16"].folder, engine_versions=["10.0", "10.3", "11.0", "11.4"]) == []
    assert {f.rule for f in lint(made["float32"].folder, engine_versions=["11.4"])} == {"half-rest"}
    assert {f.rule for f in lint(made["float16"].folder, engine_versions=["8.6"])} == {"opset"}


def test_without_the_float_checkpoint_beside_there_is_one_form(exports: Exports, tmp_path: Path) -> None:
    bundle = export(exports.quantized("ort"), X86, tmp_path / "x.edgx")
    assert bundle.candidates == {"int8": "model.onnx"}
    files = {"model.onnx", "reference.npz", "split.csv", "history.csv", "layers.json", "sbom.json"}
    assert set(bundle.manifest["files"]) == files


def test_for_an_engine_that_reads_no_uint8_a_file_with_float_pixels_lies_beside(
    exports: Exports, tmp_path: Path
) -> None:
    bundle = export(exports.run, NANO, tmp_path / "x.edgx")
    assert (bundle.precision, bundle.candidates) == ("float16", {"float16": "model.onnx"})
    plain = bundle.manifest["trtexec_model"]
    assert plain == "candidates/float16-float32-pixels.onnx"
    assert plain in bundle.manifest["files"]
    pixels, expected = bundle.references()
    session = onnxruntime.InferenceSession(bundle.folder / plain, providers=["CPUExecutionProvider"])
    assert (session.get_inputs()[0].type, session.get_inputs()[0].shape) == ("tensor(float)", ["N", 64, 64, 3])
    found = session.run(None, {"pixels": pixels.astype(np.float32)})[0]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert open_bundle(bundle.folder).references()[0].dtype == np.uint8
    assert lint(bundle.folder) == []


def test_the_float_network_is_called_by_what_its_engine_computes_in() -> None:
    assert float_precision(X86) == "float32"
    for precision in ("auto", "int8", "int8-depthwise-float16", "float16"):
        assert float_precision(dataclasses.replace(JETSON, precision=precision)) == "float16"  # type: ignore[arg-type]
    assert float_precision(dataclasses.replace(JETSON, precision="float32")) == "float32"


def test_float32_that_is_asked_for_is_written_in_float32_for_every_engine(exports: Exports, tmp_path: Path) -> None:
    bundle = export(exports.run, dataclasses.replace(THOR, precision="float32"), tmp_path / "x.edgx")
    assert bundle.precision == "float32"
    assert float_types(bundle.model) == {"FLOAT"}
    assert lint(bundle.folder) == []


def test_a_form_that_does_not_compute_what_pytorch_does_is_no_bundle(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def check(*args: Any) -> None:
        seen.append(args[4])
        if args[4] == "float32":
            args = (args[0], args[1], np.roll(args[2], 1, axis=1), *args[3:])
        check_parity(*args)

    monkeypatch.setattr("edgexfer.train.export.check_parity", check)
    with pytest.raises(EdgexferError, match="the float32 ONNX file does not compute what PyTorch does"):
        export(exports.quantized("ort"), X86, tmp_path / "x.edgx", beside=exports.run)
    assert seen == ["int8", "float32"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_gives_no_numbers_is_no_agreement() -> None:
    nodes = [
        onnx.helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[1, 2], keepdims=0),
        onnx.helper.make_node("Log", ["negative"], ["nothing"]),
        onnx.helper.make_node("Add", ["mean", "nothing"], ["out"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "nan",
        [onnx.helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 4, 4, 3])],
        [onnx.helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])],
        [onnx.numpy_helper.from_array(np.full(3, -1, np.float32), "negative")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    expected = np.full((2, 3), 1 / 3, np.float32)
    with pytest.raises(EdgexferError, match="differ by up to nan"):
        check_parity(model, np.zeros((2, 4, 4, 3), np.uint8), expected, 0.1, "int8")
