"""build: on a machine with TensorRT (a stand-in for it) a bundle becomes engines, is measured, and one is chosen."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.core.bundle import MODEL, open_bundle
from edgexfer.core.cpu import cpu_device
from edgexfer.core.errors import ArtifactError, BackendError, EdgexferError, SettingsError
from edgexfer.flow.build import build
from edgexfer.flow.choose import Choice
from edgexfer.flow.export import export
from edgexfer.flow.ship import write_shipped
from edgexfer.gate.judge.compare import Comparison, compare
from edgexfer.gate.measure.measured import measured_from_json, read_measured
from edgexfer.runtime.classifier import load
from tests.backends.tensorrt.machine import Machine
from tests.bundles import make_bundle
from tests.train.exports import Exports

pytestmark = pytest.mark.train

SECONDS = 0.1
PRECISIONS = ["int8", "int8-depthwise-float16", "float16"]


@pytest.fixture(autouse=True)
def _short_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is proven here does not hang on how well the clock was read.
    monkeypatch.setattr("edgexfer.gate.measure.timing._WARMUP_SECONDS", SECONDS)
    monkeypatch.setattr("edgexfer.gate.judge.compare._LEAST_BLOCKS", 2)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """An Orin with JetPack 6."""
    there = Machine("10.3.0")
    there.install(monkeypatch)
    return there


@pytest.fixture
def bundle(exports: Exports, tmp_path: Path) -> Path:
    """The Jetson's bundle as export leaves it on a desk; this test's own copy."""
    return Path(shutil.copytree(exports.tensorrt.bundle.folder, tmp_path / "jetson.edgx"))


def test_every_candidate_becomes_an_engine_and_one_is_opened_from_then_on(
    exports: Exports, bundle: Path, machine: Machine
) -> None:
    made = build(bundle, data=exports.data, seconds=SECONDS)
    assert [engine.precision for engine in made.engines] == PRECISIONS
    assert not any(engine.reused for engine in made.engines)
    assert [record.precision for record in made.measured] == PRECISIONS[::-1]
    assert [record.precision for record in made.measured if record.shipped] == [made.bundle.precision]
    for record in made.measured:
        assert record.evaluation.subject.engine == "tensorrt 10.3.0"
        assert not record.evaluation.subject.simulated
        assert record.evaluation.top1 == 1.0
        assert record.latency is not None
    assert made.device == "Orin, compute capability 8.7"
    assert [sorted(record["flags"]) for record in machine.builds] == [["FP16", "INT8"], ["FP16", "INT8"], ["FP16"]]
    with load(bundle) as classifier:
        assert classifier.bundle.precision == made.bundle.precision
    assert len(machine.builds) == 3


def test_a_second_build_takes_the_engines_that_are_there(bundle: Path, machine: Machine) -> None:
    first = build(bundle, seconds=SECONDS)
    again = build(bundle, seconds=SECONDS)
    assert [engine.reused for engine in again.engines] == [True] * 3
    assert [engine.folder for engine in again.engines] == [engine.folder for engine in first.engines]
    assert len(machine.builds) == 3
    anew = build(bundle, seconds=SECONDS, rebuild=True)
    assert [engine.reused for engine in anew.engines] == [False] * 3


def test_what_was_chosen_before_is_kept_where_that_is_asked_for(bundle: Path, machine: Machine) -> None:
    first = build(bundle, precision="float16", if_needed=True, seconds=SECONDS)
    assert (first.bundle.precision, len(machine.builds)) == ("float16", 1)
    again = build(bundle, if_needed=True)
    assert (again.bundle.precision, again.measured) == ("float16", ())
    assert [engine.reused for engine in again.engines] == [True]
    shutil.rmtree(again.engines[0].folder)
    build(bundle, if_needed=True)
    assert len(machine.builds) == 2


def test_without_images_the_accuracy_is_that_of_the_export_and_that_is_said(bundle: Path, machine: Machine) -> None:
    made = build(bundle, seconds=SECONDS)
    assert len(machine.builds) == 3
    assert all(record.evaluation.subject.simulated for record in made.measured)
    assert any("accuracy is that of the simulation at export" in warning for warning in made.warnings)


def test_the_record_can_be_read_back(exports: Exports, bundle: Path, machine: Machine) -> None:
    made = build(bundle, data=exports.data, seconds=SECONDS)
    record = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert (record["kind"], record["format_version"]) == ("build", 2)
    assert record["precision"] == made.bundle.precision
    assert [engine["precision"] for engine in record["engines"]] == PRECISIONS
    assert tuple(measured_from_json(item, "here") for item in record["records"]) == made.measured
    assert len(machine.builds) == 3


def test_an_update_of_tensorrt_builds_and_chooses_anew(
    bundle: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build(bundle, precision="float16", seconds=SECONDS)
    with load(bundle) as classifier:
        assert classifier.bundle.precision == "float16"
    assert len(machine.builds) == 1
    updated = Machine("10.7.0")
    updated.install(monkeypatch)
    with caplog.at_level(logging.INFO, "edgexfer"), load(bundle) as classifier:
        assert classifier.bundle.precision == "int8"  # what export shipped: nothing was chosen on this machine yet
        pixels, expected = classifier.bundle.references()
        assert np.abs(classifier.probabilities(pixels) - expected).max() < 0.1
    assert len(updated.builds) == 1
    caplog.clear()
    with caplog.at_level(logging.INFO, "edgexfer"):
        build(bundle, precision="float16", seconds=SECONDS)
    assert "10.3.0" in caplog.text
    assert "10.7.0" in caplog.text


def test_one_candidate_that_cannot_be_built_does_not_stop_the_others(bundle: Path, machine: Machine) -> None:
    def fails_first() -> None:
        machine.build_error = "Could not find any implementation for node conv_dw" if not machine.builds else None

    machine.on_step = fails_first
    # The first precision fails; after it the machine is well.
    with pytest.raises(BackendError, match="Could not find any implementation"):
        build(bundle, seconds=SECONDS)
    machine.on_step, machine.build_error = None, None
    attempts: list[int] = []

    def fails_once() -> None:
        attempts.append(1)
        machine.build_error = "Could not find any implementation for node conv_dw" if len(attempts) <= 3 else None

    machine.on_step = fails_once
    made = build(bundle, seconds=SECONDS)
    assert [engine.precision for engine in made.engines] == PRECISIONS[1:]
    assert any(
        warning.startswith("int8 was left out: ") and "Could not find any implementation" in warning
        for warning in made.warnings
    )
    assert made.bundle.precision in PRECISIONS[1:]


def test_an_engine_that_answers_otherwise_is_refused(bundle: Path, machine: Machine) -> None:
    def forget(answers: np.ndarray) -> np.ndarray:
        return np.roll(answers, 1, axis=1)

    machine.alter_answer = forget
    with pytest.raises(BackendError, match=r"does not answer here as it did at export: 16 of 16 reference images"):
        build(bundle, seconds=SECONDS)
    assert not (bundle / "engines" / "chosen.json").exists()


def test_what_is_wrong_with_machine_or_engine_is_said(bundle: Path, machine: Machine) -> None:
    made = build(bundle, precision="int8", seconds=SECONDS)
    engine = made.engines[0].folder / "engine.bin"
    engine.write_bytes(engine.read_bytes() + b"\0")
    for attempt in (lambda: load(bundle), lambda: build(bundle, precision="int8", seconds=SECONDS)):
        with pytest.raises(ArtifactError, match="was changed after it was written") as caught:
            attempt()
        assert f"edgexfer build {bundle} --rebuild" in caught.value.hint
    assert len(machine.builds) == 1
    build(bundle, precision="int8", seconds=SECONDS, rebuild=True)
    load(bundle).close()
    machine.compute_capability = "7.2"
    with pytest.raises(SettingsError, match=r"wrong compute capability: this machine has 7\.2"):
        build(bundle)
    machine.compute_capability, machine.free_mib = "8.7", 100
    with pytest.raises(BackendError, match="too little memory"):
        build(bundle, rebuild=True)


def test_a_precision_that_is_not_there_is_named(bundle: Path, machine: Machine) -> None:
    with pytest.raises(SettingsError, match="holds no float32: it has int8, int8-depthwise-float16, float16"):
        build(bundle, precision="float32")
    assert machine.builds == []


def test_export_on_a_machine_with_tensorrt_measures_its_engines_and_ships_them(
    exports: Exports, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgexfer.flow.export.BENCH_SECONDS", SECONDS)
    run = exports.copy_of_run(tmp_path / "runs", quantized=True)
    made = export(run, exports.tensorrt.bundle.target, tmp_path / "here.edgx")
    assert made.bundle.manifest["simulated"] is False
    assert [record.precision for record in made.measured] == PRECISIONS[::-1]
    assert all(record.latency is not None for record in made.measured)
    assert len(machine.builds) == 3
    assert (
        json.loads((made.bundle.folder / "engines" / "chosen.json").read_bytes())["precision"] == made.bundle.precision
    )
    with load(made.bundle.folder) as classifier:
        assert classifier.bundle.precision == made.bundle.precision
    assert len(machine.builds) == 3  # the engines came along
    assert [record.shipped for record in read_measured(made.bundle)].count(True) == 1


@pytest.mark.parametrize("best", PRECISIONS)
def test_the_chosen_candidate_becomes_the_model_and_the_others_go_along(
    exports: Exports, tmp_path: Path, best: str
) -> None:
    before = open_bundle(exports.tensorrt.bundle.folder)
    choice = Choice(best, exports.tensorrt.measured, "because")
    after = write_shipped(before, choice, tmp_path / "out.edgx", simulated=True, overwrite=False)
    assert after.precision == best
    assert after.candidates[best] == MODEL
    assert set(after.candidates) == set(PRECISIONS)
    for name in PRECISIONS:
        assert after.at(name).model_sha256 == before.at(name).model_sha256
        for found, expected in zip(after.at(name).references(), before.at(name).references(), strict=True):
            assert np.array_equal(found, expected)


def test_a_bundle_that_needs_no_engine_is_checked_and_measured(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubtful(*sides: Any, **options: Any) -> Comparison:  # which engine is faster is no matter of this test
        return dataclasses.replace(compare(*sides, **options), low=0.9, high=1.1)

    monkeypatch.setattr("edgexfer.flow.rivals.compare", doubtful)
    folder = Path(shutil.copytree(exports.ort.bundle.folder, tmp_path / "x86.edgx"))
    made = build(folder, data=exports.data, seconds=SECONDS)
    assert (made.engines, made.device, made.bundle.precision) == ((), cpu_device(), "int8")
    assert made.decision.startswith("int8 is all that this bundle holds; openvino ")
    assert made.measured[0].latency is not None
    assert [path.name for path in (folder / "engines").iterdir()] == ["chosen.json"]
    with load(folder) as classifier:
        assert classifier.backend == made.backend
    with pytest.raises(EdgexferError, match="does not exist"):
        build(tmp_path / "nothing.edgx")


def test_nothing_is_kept_where_there_is_nothing_to_choose(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b.edgx")
    made = build(folder, seconds=SECONDS)
    assert (made.backend, made.device, made.decision) == ("ort", "", "float32 is all that this bundle holds")
    assert not (folder / "engines").exists()
