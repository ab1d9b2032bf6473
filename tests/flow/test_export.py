"""export: one command from a run to a bundle that is small, proven, and says where it comes from."""

from __future__ import annotations

import csv
import errno
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import DataError, EdgexferError, SettingsError
from edgexfer.core.expected import expected_of
from edgexfer.core.target import load_target
from edgexfer.flow import export as flow
from edgexfer.gate.measure.measured import read_measured
from edgexfer.runtime.classifier import load
from edgexfer.train.dialects.lint import float_operators, lint
from edgexfer.train.images.split import dataset_digest
from tests.cli.terminal import files_below
from tests.train.exports import BENCH_SECONDS, Exports

pytestmark = pytest.mark.train

X86, JETSON = load_target("x86-cpu"), load_target("jetson-orin-nano")


@pytest.fixture(autouse=True)
def _short_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "BENCH_SECONDS", BENCH_SECONDS)


def both(exports: Exports) -> list[flow.Exported]:
    return [exports.ort, exports.tensorrt]


def test_the_bundles_are_whole_and_int8(exports: Exports) -> None:
    common = {
        "model.onnx",
        "reference.npz",
        "split.csv",
        "measurements.json",
        "history.csv",
        "layers.json",
        "sbom.json",
    }
    others = {"candidates/float16.onnx", "candidates/int8-depthwise-float16.onnx"}
    for made, files in ((exports.ort, common), (exports.tensorrt, common | others)):
        bundle = open_bundle(made.bundle.folder)
        assert bundle.precision == "int8"
        assert bundle.labels == ("a", "b", "c")
        assert set(bundle.manifest["files"]) == files
        assert set(files_below(bundle.folder)) == {*files, "manifest.json"}
        floats, *_, ints = made.measured
        assert ints.size_bytes == bundle.model.stat().st_size
        assert 0.2 < ints.size_bytes / floats.size_bytes < 0.3
    left = {path.name for path in exports.ort.bundle.folder.parent.iterdir()}
    assert left == {"data", "runs", "x86.edgx", "jetson.edgx"}


def test_a_device_that_compiles_gets_every_candidate_with_its_own_answers(exports: Exports) -> None:
    bundle = open_bundle(exports.tensorrt.bundle.folder)
    assert list(bundle.candidates) == ["int8", "int8-depthwise-float16", "float16"]
    floats = bundle.at("float16").references()[1]
    for precision in bundle.candidates:
        pixels, expected = bundle.at(precision).references()
        with load(bundle.at(precision), backend="ort") as classifier:
            found = classifier.probabilities(pixels)
        assert np.abs(found - expected).max() < 0.1
        assert np.array_equal(expected, floats) == (precision == "float16")
    assert list(exports.ort.bundle.candidates) == ["int8"]


def test_the_runtime_gives_what_pytorch_gave(exports: Exports) -> None:
    for made in both(exports):
        with np.load(made.bundle.folder / "reference.npz") as reference:
            pixels, expected = reference["pixels"], reference["probabilities"]
        assert pixels.shape == (16, 64, 64, 3)
        assert pixels.dtype == np.uint8
        with load(made.bundle.folder, backend="ort") as classifier:
            found = classifier.probabilities(pixels)
        assert (found.argmax(1) == expected.argmax(1)).all()
        assert np.abs(found - expected).max() <= made.bundle.manifest["provenance"]["parity_tolerance"]


def test_no_float_operator_is_left_between_pixels_and_classifier(exports: Exports, tmp_path: Path) -> None:
    model = onnx.load(exports.ort.bundle.model)
    assert float_operators(model) == []
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(exports.ort.bundle.model), options, providers=["CPUExecutionProvider"])
    written = Counter(node.op_type for node in model.graph.node)
    run = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert (run["QLinearConv"], run["QLinearAdd"], run["QGemm"]) == (written["Conv"], written["Add"], 1)
    assert run["QLinearGlobalAveragePool"] == written["GlobalAveragePool"] == 1
    assert written["Conv"] > 40
    assert written["Add"] > 5
    fused = {"QLinearConv", "QLinearAdd", "QGemm", "QLinearGlobalAveragePool"}
    assert set(run) - fused <= {"Transpose", "Flatten", "Reshape", "Softmax", "DequantizeLinear"}


def test_lint_finds_nothing(exports: Exports) -> None:
    for made in both(exports):
        assert lint(made.bundle.folder) == []


def test_what_was_measured_is_kept(exports: Exports) -> None:
    tried = (["float32", "int8"], ["float16", "int8-depthwise-float16", "int8"])
    for made, names in zip(both(exports), tried, strict=True):
        records = read_measured(made.bundle)
        assert [record.precision for record in records] == names
        assert [record.shipped for record in records] == [name == "int8" for name in names]
        accuracy = made.bundle.manifest["accuracy"]
        assert set(accuracy) == set(names)
        for record in records:
            assert accuracy[record.precision] == {
                "top1": record.evaluation.top1,
                "macro_f1": record.evaluation.macro_f1,
                "images": 9,
                "split": "test",
            }
            assert record.evaluation.top1 == 1.0
        judged = [[image.sha256 for image in record.evaluation.images] for record in records]
        assert all(images == judged[0] for images in judged)
        assert {image.role for image in records[0].evaluation.images} == {"test"}


def test_the_latency_is_that_of_the_targets_own_engine(exports: Exports) -> None:
    for record in read_measured(exports.ort.bundle):
        assert record.latency is not None
        assert len(record.latency.samples_ns["inference"]) >= 16  # eight blocks of two calls at the least
        assert record.latency.subject.precision == record.precision
    assert exports.ort.bundle.manifest["simulated"] is False


def test_without_the_targets_engine_accuracy_is_simulated_and_marked_so(exports: Exports) -> None:
    made = exports.tensorrt
    assert made.bundle.manifest["simulated"] is True
    for record in read_measured(made.bundle):
        assert record.latency is None
        assert record.evaluation.subject.simulated
        assert record.evaluation.subject.backend == "ort"
    assert any("TensorRT" in warning and "simulated" in warning for warning in made.warnings)


def test_what_it_answered_to_held_out_images_is_in_the_bundle(exports: Exports) -> None:
    for made in both(exports):
        for record in made.measured:
            images = record.evaluation.images
            expected = expected_of(made.bundle.manifest["expected"], record.precision, "the bundle")
            assert expected is not None
            assert (expected.images, expected.split) == (len(images), "+".join(sorted(record.evaluation.roles())))
            assert expected.classes == Counter(image.predicted for image in images)
        assert made.bundle.expected is not None


def test_every_precision_that_ships_has_its_own_threshold_for_the_unknown(exports: Exports) -> None:
    for made in both(exports):
        bundle = open_bundle(made.bundle.folder)
        record = bundle.manifest["unknown"]
        assert (record["known_share"], record["images"]) == (0.95, 9)
        assert list(record["precisions"]) == list(bundle.candidates)
        for precision in bundle.candidates:
            found = record["precisions"][precision]
            assert bundle.at(precision).known_from == found["known_from"] <= 1
            assert found["val"] == 1  # nine images are too few to give one of them up
            assert 0 <= found["held_out"] <= 1
            assert set(found["generated"]) == {"noise", "flat", "blots"}
        assert any("9 validation images cannot promise" in text for text in made.warnings)


def test_the_temperature_is_inherited_and_named(exports: Exports) -> None:
    record = exports.run.manifest["temperature"]
    for made, dialect in zip(both(exports), ("ort", "tensorrt"), strict=True):
        assert exports.quantized(dialect).manifest["temperature"] == record
        assert made.bundle.manifest["provenance"]["temperature"] == record["temperature"]


def test_calibration_saw_training_images_alone_as_many_of_each_class(exports: Exports) -> None:
    with (exports.run.folder / "split.csv").open(newline="") as file:
        rows = {row["sha256"]: row for row in csv.DictReader(file)}
    for made in both(exports):
        images = made.bundle.manifest["provenance"]["calibration"]["images"]
        assert len(set(images)) == len(images) == 42
        assert {rows[sha256]["split"] for sha256 in images} == {"train"}
        assert Counter(rows[sha256]["label"] for sha256 in images) == {"a": 14, "b": 14, "c": 14}


def test_each_artifact_names_its_parent(exports: Exports) -> None:
    for made, dialect in zip(both(exports), ("ort", "tensorrt"), strict=True):
        quantized = exports.quantized(dialect)
        assert made.bundle.manifest["parent"] == quantized.digest
        assert quantized.manifest["parent"] == exports.run.digest
        assert made.bundle.manifest["provenance"]["float_checkpoint"] == exports.run.digest
        assert exports.run.manifest["parent"] is None


def test_the_bundle_tells_where_it_comes_from_down_to_the_images(exports: Exports) -> None:
    for made, dialect in zip(both(exports), ("ort", "tensorrt"), strict=True):
        provenance, run = made.bundle.manifest["provenance"], exports.run
        assert provenance["dataset_digest"] == run.manifest["dataset_digest"] == dataset_digest(run.rows)
        assert exports.quantized(dialect).manifest["dataset_digest"] == provenance["dataset_digest"]
        assert provenance["images"] == dict(Counter(row.split for row in run.rows))
        assert provenance["seed"] == run.manifest["settings"]["seed"] == 0
        assert provenance["trained_with"] == exports.quantized(dialect).manifest["versions"]
        assert {"edgexfer", "python", "torch", "nncf", "onnx", "onnxruntime"} <= set(provenance["versions"])


def test_the_history_has_the_fine_tuning_and_then_the_quantization(exports: Exports) -> None:
    for made, last in zip(both(exports), (1, 0), strict=True):
        with (made.bundle.folder / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        stages = [(row["stage"], int(row["epoch"])) for row in rows]
        assert stages == [("finetune", 0), *(("qat", epoch) for epoch in range(last + 1))]
        assert all(0 <= float(row["val_top1"]) <= 1 and float(row["val_loss"]) >= 0 for row in rows)


def test_tensorrts_file_holds_what_tensorrt_takes(exports: Exports) -> None:
    model = onnx.load(exports.tensorrt.bundle.model)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [17]
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    maker = {name: node for node in model.graph.node for name in node.output}
    weights = 0
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        data, scale, zero = node.input
        assert values[zero].dtype == np.int8
        assert not values[zero].any()
        assert (values[scale] > 0).all()
        if data in values:
            weights += 1
            assert node.op_type == "DequantizeLinear"
            assert values[data].dtype == np.int8
            assert values[scale].shape == (values[data].shape[0],)
            assert [a.i for a in node.attribute if a.name == "axis"] == [0]
        else:
            assert values[scale].shape == ()
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert weights == sum(node.op_type == "Conv" for node in layers) > 40  # the classifier stays in float
    assert all(values[node.input[2]].dtype == np.float32 for node in layers)
    adds = [node for node in model.graph.node if node.op_type == "Add"]
    assert len(adds) > 5
    for add in adds:
        assert sorted(maker[name].op_type for name in add.input) == ["Conv", "DequantizeLinear"]


def test_a_quantized_checkpoint_that_is_there_already_is_taken(
    exports: Exports, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = exports.copy_of_run(tmp_path / "runs", quantized=True)
    before = files_below(tmp_path / "runs")
    with caplog.at_level(logging.INFO, "edgexfer"):
        made = flow.export(run, X86, tmp_path / "again.edgx")
    assert f"taking the quantized checkpoint {run}.int8-ort" in caplog.text
    assert files_below(tmp_path / "runs") == before
    # "auto" ships one or the other by the clock of this machine; the file of INT8 is the same again.
    assert made.decision.startswith(f"{made.bundle.precision} ships: INT8 ")
    assert made.measured[1].size_bytes == exports.ort.measured[1].size_bytes
    if made.bundle.precision == "int8":
        assert made.bundle.model.read_bytes() == exports.ort.bundle.model.read_bytes()


def test_a_quantized_checkpoint_of_another_run_or_a_damaged_one_is_not_taken(exports: Exports, tmp_path: Path) -> None:
    run = exports.copy_of_run(tmp_path / "runs", quantized=True)
    sibling = run.with_name("pictures.int8-ort")
    (sibling / "weights.safetensors").write_bytes(b"damaged")
    calls: list[Path] = []

    def compress(_checkpoint: Any, _target: Any, out: Path, **options: Any) -> None:
        assert options["overwrite"]
        calls.append(out)
        raise EdgexferError("stop here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "compress", compress)
        with pytest.raises(EdgexferError, match="stop here"):
            flow.export(run, X86, tmp_path / "a.edgx")
        shutil.rmtree(sibling)
        shutil.copytree(exports.quantized("tensorrt").folder, sibling)  # of this run, but of another dialect
        with pytest.raises(EdgexferError, match="stop here"):
            flow.export(run, X86, tmp_path / "a.edgx")
    assert calls == [sibling, sibling]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_float_ships_where_it_is_asked_for_and_moved_images_are_found_by_data(exports: Exports, tmp_path: Path) -> None:
    run, moved = exports.copy_of_run(tmp_path / "runs"), tmp_path / "moved"
    exports.data.rename(moved)
    try:
        for precision in ("float32", "int8"):
            with pytest.raises(EdgexferError, match=r"images of .* are not at") as caught:
                flow.export(run, X86, tmp_path / "x.edgx", precision=precision, device="cpu")
            assert "--data" in caught.value.hint
        assert {path.name for path in tmp_path.iterdir()} == {"runs", "moved"}
        made = flow.export(run, X86, tmp_path / "x.edgx", precision="float32", data=moved)
    finally:
        moved.rename(exports.data)
    assert made.bundle.precision == "float32"
    assert made.decision == "float32 ships: nothing else was asked for"
    assert [record.shipped for record in made.measured] == [True]
    assert made.bundle.manifest["provenance"]["calibration"] is None
    assert made.bundle.manifest["parent"] == exports.run.digest
    assert lint(made.bundle.folder) == []
    assert "layers.json" not in made.bundle.manifest["files"]
    assert [path.name for path in run.parent.iterdir()] == ["pictures"]


def test_a_quantized_run_is_exported_as_it_is_but_not_for_another_dialect(exports: Exports, tmp_path: Path) -> None:
    quantized = exports.quantized("tensorrt")
    made = flow.export(quantized.folder, JETSON, tmp_path / "own.edgx")
    assert made.bundle.model.read_bytes() == exports.tensorrt.bundle.model.read_bytes()
    with pytest.raises(EdgexferError, match="learned the dialect tensorrt with 8 weight bits, x86-cpu wants ort"):
        flow.export(quantized.folder, X86, tmp_path / "other.edgx")
    with pytest.raises(SettingsError, match="is quantized, and float32 is asked for"):
        flow.export(quantized.folder, JETSON, tmp_path / "other.edgx", precision="float32")
    assert [path.name for path in tmp_path.iterdir()] == ["own.edgx"]


def test_an_image_that_was_changed_or_removed_is_named(exports: Exports, tmp_path: Path) -> None:
    run, data = exports.copy_of_run(tmp_path / "runs"), tmp_path / "data"
    shutil.copytree(exports.data, data)
    row = next(row for row in exports.run.rows if row.split == "test")
    Image.new("RGB", (64, 64), "teal").save(data / row.path)
    with pytest.raises(DataError, match=f"1 of 60 images are gone or were changed .* such as {row.path}"):
        flow.export(run, X86, tmp_path / "x.edgx", data=data, epochs=0, device="cpu")
    (data / row.path).unlink()
    with pytest.raises(EdgexferError, match=row.path):
        flow.export(run, X86, tmp_path / "x.edgx", data=data, precision="float32")
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "data"}
    assert [path.name for path in run.parent.iterdir()] == ["pictures"]


def test_what_exists_is_kept(exports: Exports, tmp_path: Path) -> None:
    with pytest.raises(EdgexferError, match="exists already") as caught:
        flow.export(exports.run.folder, X86, exports.ort.bundle.folder)
    assert "--overwrite" in caught.value.hint
    photos = tmp_path / "photos"
    shutil.copytree(exports.data, photos)
    before = files_below(photos)
    with pytest.raises(EdgexferError, match="neither a checkpoint nor a bundle"):
        flow.export(exports.run.folder, X86, photos, overwrite=True)
    assert files_below(photos) == before


def test_a_place_that_cannot_be_written_to_is_told_before_training(exports: Exports, tmp_path: Path) -> None:
    run = exports.copy_of_run(tmp_path / "runs")
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file" / "x.edgx", Path("/dev/full/x.edgx")):
        with pytest.raises(EdgexferError, match="cannot write") as caught:
            flow.export(run, X86, place)
        assert "a part of that path is a file" in caught.value.hint
    assert [path.name for path in run.parent.iterdir()] == ["pictures"]


@pytest.mark.parametrize("where", ["parity", "writing"])
def test_a_failure_on_the_way_leaves_nothing_behind(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def differs(*_: Any) -> None:
        raise EdgexferError("does not compute")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "parity":
        monkeypatch.setattr("edgexfer.train.export.check_parity", differs)
    else:
        monkeypatch.setattr("edgexfer.flow.ship.write_measured", full)
    with pytest.raises(EdgexferError, match="does not compute" if where == "parity" else "No space left"):
        flow.export(exports.run.folder, X86, tmp_path / "out" / "x.edgx", precision="float32")
    assert files_below(tmp_path) == {}
    assert not (tmp_path / "out").exists()  # which this run had made


def test_parity_is_really_checked(exports: Exports) -> None:
    from edgexfer.train.export import check_parity

    model = onnx.load(exports.ort.bundle.model)
    with np.load(exports.ort.bundle.folder / "reference.npz") as reference:
        pixels, expected = reference["pixels"], reference["probabilities"]
    check_parity(model, pixels, expected, 0.1, "int8")
    with pytest.raises(EdgexferError, match="16 of 16 reference images change class"):
        check_parity(model, pixels, np.roll(expected, 1, axis=1), 0.1, "int8")
    with pytest.raises(EdgexferError, match=r"0 of 16 .* differ by up to"):
        check_parity(model, pixels, expected * 0.5, 0.1, "int8")
