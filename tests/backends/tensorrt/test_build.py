"""Engines as TensorRT 8.6 to 11 are told to build them, and every way in which that fails."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgexfer.core.errors import ArtifactError, BackendError, EdgexferError, SettingsError
from tests.backends.tensorrt.builder import BACKEND, BUILDER, FLAGS, Become, engines_of
from tests.backends.tensorrt.conftest import MakeBundle
from tests.backends.tensorrt.extract import VERSIONS
from tests.backends.tensorrt.machine import Machine
from tests.bundles import put_model


def test_it_is_a_builder_with_a_name(machine: Machine) -> None:
    assert BACKEND.missing() is None
    assert BACKEND.engine_version() == f"tensorrt {machine.version}"
    assert BUILDER.device() == "Orin, compute capability 8.7"


class TestEveryVersion:
    @pytest.mark.parametrize("precision", list(FLAGS))
    @pytest.mark.parametrize("version", VERSIONS)
    def test_float32_files(
        self, become: Become, make: MakeBundle, version: str, precision: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        machine, bundle = become(version), make(precision)
        built = BUILDER.build_engine(bundle)
        (record,) = machine.builds
        in_11 = version.startswith("11.")
        assert sorted(record["flags"]) == ([] if in_11 else FLAGS[precision])
        assert record["network"] == ([] if in_11 else ["EXPLICIT_BATCH"])
        assert record["pools"] == {"WORKSPACE": 1024 * 2**20}
        assert record["shapes"] == [{"pixels": [(1, 8, 8, 3), (1, 8, 8, 3), (8, 8, 8, 3)]}]
        assert not built.reused
        warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert bool(warned) is (in_11 and precision != "float32")
        assert all('float_type = "float16"' in text for text in warned)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_weights_that_are_2_4(self, become: Become, make: MakeBundle, version: str) -> None:
        machine, dense = become(version), BUILDER.build_engine(make("int8", options={"max_batch": 8}))
        bundle = make("int8", options={"max_batch": 8, "sparse_weights": True})
        sparse = BUILDER.build_engine(bundle)
        assert ["SPARSE_WEIGHTS" in record["flags"] for record in machine.builds] == [False, True]
        assert sparse.folder.name != dense.folder.name
        assert BUILDER.build_engine(bundle).reused

    @pytest.mark.parametrize("version", VERSIONS)
    def test_files_with_their_own_types(self, become: Become, make: MakeBundle, version: str) -> None:
        machine, bundle = become(version), make("int8", float_type="float16")
        if version.startswith("8."):
            with pytest.raises(BackendError, match=r"TensorRT 8\.6\.1 chooses types itself") as caught:
                BUILDER.build_engine(bundle)
            assert 'float_type = "float32"' in caught.value.hint
            assert machine.builds == []
            return
        BUILDER.build_engine(bundle)
        (record,) = machine.builds
        assert record["flags"] == []
        assert record["network"] == ([] if version.startswith("11.") else ["EXPLICIT_BATCH", "STRONGLY_TYPED"])

    @pytest.mark.parametrize("version", VERSIONS)
    def test_what_was_built_answers_as_the_file_does(self, become: Become, make: MakeBundle, version: str) -> None:
        machine, bundle = become(version), make()
        pixels, expected = bundle.references()
        session = BACKEND.open_session(bundle, threads=None)
        assert np.abs(session.run(pixels) - expected).max() < 1e-5
        session.close()
        assert machine.cuda is not None
        assert set(machine.cuda.left().values()) == {0}

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_refused_node_is_named(self, become: Become, make: MakeBundle, version: str) -> None:
        machine, bundle = become(version), make()
        machine.refused_node = (3, "Assertion failed:\n  wrong rank")
        with pytest.raises(BackendError) as caught:
            BUILDER.build_engine(bundle)
        # The node has no name, so it is called after its output.
        assert caught.value.message == (
            f"TensorRT {version} refuses {bundle.model}: node 'logits' (Gemm): Assertion failed: wrong rank"
        )
        assert caught.value.hint == f"edgexfer lint {bundle.folder}"
        assert engines_of(bundle) == []


class TestOptions:
    def test_batch_and_workspace(self, machine: Machine, make: MakeBundle) -> None:
        BUILDER.build_engine(make(options={"max_batch": 3, "workspace_mib": 77}))
        assert machine.builds[0]["pools"] == {"WORKSPACE": 77 * 2**20}
        assert machine.builds[0]["shapes"][0]["pixels"][2] == (3, 8, 8, 3)

    @pytest.mark.parametrize("name", ["max_batch", "workspace_mib"])
    def test_below_one(self, machine: Machine, make: MakeBundle, name: str) -> None:
        assert machine.builds == []
        with pytest.raises(SettingsError, match=f"{name} of target 'test' is 0, expected 1 or more"):
            BUILDER.build_engine(make(options={name: 0}))


class TestHost:
    def test_wrong_compute_capability(self, machine: Machine, make: MakeBundle) -> None:
        machine.gpu, machine.compute_capability = "NVIDIA H200", "9.0"
        bundle = make(host={"compute_capability": "8.7"})
        for open_it in (lambda: BUILDER.build_engine(bundle), lambda: BACKEND.open_session(bundle, threads=None)):
            with pytest.raises(SettingsError) as caught:
                open_it()  # type: ignore[no-untyped-call]
            assert caught.value.message == (
                "wrong compute capability: this machine has 9.0 (NVIDIA H200), target 'test' is for 8.7"
            )
            assert "edgexfer targets" in caught.value.hint
        assert machine.builds == []

    def test_the_right_one(self, machine: Machine, make: MakeBundle) -> None:
        BUILDER.build_engine(make(host={"compute_capability": "8.7"}))
        assert len(machine.builds) == 1

    def test_the_gpu_went_away(self, machine: Machine, make: MakeBundle) -> None:
        machine.driver_status = "CUDA_ERROR_NO_DEVICE"
        with pytest.raises(BackendError, match="CUDA cannot start CUDA: CUDA_ERROR_NO_DEVICE") as caught:
            BUILDER.build_engine(make())
        assert "edgexfer doctor" in caught.value.hint


class TestMemory:
    def test_half_of_what_is_free_at_most(
        self, machine: Machine, make: MakeBundle, caplog: pytest.LogCaptureFixture
    ) -> None:
        machine.free_mib = 600
        with caplog.at_level(logging.INFO):
            BUILDER.build_engine(make())
        assert machine.builds[0]["pools"] == {"WORKSPACE": 300 * 2**20}
        assert "workspace is 300 MiB, half of what is free, instead of 1024" in caplog.text

    def test_an_engine_serves_whatever_was_free_when_it_was_built(self, machine: Machine, make: MakeBundle) -> None:
        bundle = make()
        machine.free_mib = 600
        BUILDER.build_engine(bundle)
        machine.free_mib = 4096
        assert BUILDER.build_engine(bundle).reused

    def test_too_little(self, machine: Machine, make: MakeBundle) -> None:
        machine.free_mib = 180
        with pytest.raises(BackendError) as caught:
            BUILDER.build_engine(make())
        assert caught.value.message == (
            "too little memory: 180 MiB are free, expected at least 256 MiB to build an engine"
        )
        assert "swap" in caught.value.hint
        assert "docs/jetson.md" in caught.value.hint

    def test_memory_that_linux_would_give_back_counts_where_it_is_shared(
        self, machine: Machine, make: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        meminfo = tmp_path / "meminfo"
        meminfo.write_text("MemTotal: 7800000 kB\nMemFree: 100000 kB\nMemAvailable:    1024000 kB\n", encoding="ascii")
        monkeypatch.setattr("edgexfer.backends.tensorrt.cuda._MEMINFO", meminfo)
        machine.free_mib, machine.integrated = 100, True
        BUILDER.build_engine(make())
        assert machine.builds[0]["pools"] == {"WORKSPACE": 500 * 2**20}
        meminfo.unlink()
        with pytest.raises(BackendError, match="100 MiB are free"):
            BUILDER.build_engine(make(options={"max_batch": 2}))

    @pytest.mark.parametrize(
        "said",
        [
            "Error Code 2: OutOfMemory (Requested size was 268435456 bytes.)",
            "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)",
        ],
    )
    def test_the_builder_runs_out(self, machine: Machine, make: MakeBundle, said: str) -> None:
        machine.build_error = said
        bundle = make()
        with pytest.raises(BackendError) as caught:
            BUILDER.build_engine(bundle)
        assert caught.value.message.startswith("too little memory: 4096 MiB are free now, and ")
        assert said in caught.value.message
        assert "workspace of 1024 MiB" in caught.value.message
        assert "workspace_mib" in caught.value.hint
        assert engines_of(bundle) == []


class TestRefusals:
    def test_no_kernel_for_a_node(self, machine: Machine, make: MakeBundle) -> None:
        machine.build_error = (
            "Error Code 10: Internal Error (Could not find any implementation\nfor node conv1 + relu1.)"
        )
        bundle = make("int8")
        with pytest.raises(BackendError) as caught:
            BUILDER.build_engine(bundle)
        assert caught.value.message == (
            f"TensorRT 10.3.0 cannot build {bundle.model}: "
            "Error Code 10: Internal Error (Could not find any implementation for node conv1 + relu1.)"
        )
        assert caught.value.hint == f"edgexfer lint {bundle.folder}"
        assert engines_of(bundle) == []

    def test_tensorrt_does_not_start(self, machine: Machine, make: MakeBundle) -> None:
        machine.builder_error = "CUDA initialization failure with error: 35"
        with pytest.raises(BackendError, match=r"TensorRT 10\.3\.0 cannot start: CUDA initialization .*: 35") as caught:
            BUILDER.build_engine(make())
        assert "edgexfer doctor" in caught.value.hint
        machine.builder_error = "out of memory"
        with pytest.raises(BackendError, match="too little memory: out of memory, expected 256 MiB free"):
            BUILDER.build_engine(make())

    def test_what_is_no_network(self, machine: Machine, make: MakeBundle) -> None:
        assert machine.builds == []
        bundle = make()
        put_model(bundle, b"not a network")
        with pytest.raises(BackendError, match=r"model\.onnx: Failed to parse ONNX model from bytes"):
            BUILDER.build_engine(bundle)

    @pytest.mark.parametrize("broken", ["labels", "size", "batch"])
    def test_a_network_that_breaks_the_contract(self, machine: Machine, make: MakeBundle, broken: str) -> None:
        import onnx

        from tests.bundles import hue_model

        bundle = make()
        model = onnx.load_from_string(hue_model(4 if broken == "labels" else 3, 9 if broken == "size" else 8))
        if broken == "batch":
            for value in (*model.graph.input, *model.graph.output):
                value.type.tensor_type.shape.dim[0].dim_value = 1
        put_model(bundle, model.SerializeToString())
        noun = "output" if broken == "labels" else "input"
        with pytest.raises(ArtifactError, match=f"has the {noun} .*, expected ") as caught:
            BUILDER.build_engine(bundle)
        assert caught.value.hint == "make the bundle again"
        assert machine.builds == []

    def test_a_folder_that_cannot_be_written_is_told_before_the_build(self, machine: Machine, make: MakeBundle) -> None:
        bundle = make()
        (bundle.folder / "engines").write_text("no folder", encoding="utf-8")
        with pytest.raises(EdgexferError, match=r"cannot write .*engines"):
            BUILDER.build_engine(bundle)
        assert machine.builds == []

    def test_warnings_are_said_once(self, machine: Machine, make: MakeBundle, caplog: pytest.LogCaptureFixture) -> None:
        machine.warnings = ("clocks are\nnot locked", "clocks are not locked", "another")
        with caplog.at_level(logging.DEBUG):
            BUILDER.build_engine(make())
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warned == ["TensorRT: clocks are not locked", "TensorRT: another"]


class TestProgressAndCtrlC:
    def test_phases_are_counted(self, machine: Machine, make: MakeBundle) -> None:
        assert machine.steps > 1
        seen: list[tuple[int, int]] = []
        BUILDER.build_engine(make(), progress=lambda done, known: seen.append((done, known)))
        assert seen == [(0, 1), (0, 2), (1, 2), (2, 2)]

    def test_tensorrt_without_a_monitor_reports_nothing(self, become: Become, make: MakeBundle) -> None:
        become("8.6.1")
        seen: list[tuple[int, int]] = []
        BUILDER.build_engine(make(), progress=lambda done, known: seen.append((done, known)))
        assert seen == []

    def test_what_progress_raises_ends_the_build_and_arrives(self, machine: Machine, make: MakeBundle) -> None:
        def fails(done: int, known: int) -> None:
            raise ZeroDivisionError(f"{done} of {known}")

        bundle = make()
        with pytest.raises(ZeroDivisionError, match="0 of 1"):
            BUILDER.build_engine(bundle, progress=fails)
        assert machine.builds == []
        assert engines_of(bundle) == []

    def test_ctrl_c_stops_the_build_and_leaves_nothing(self, machine: Machine, make: MakeBundle) -> None:
        steps: list[float] = []

        def press_at_the_second_step() -> None:
            steps.append(time.perf_counter())
            if len(steps) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.02)

        machine.steps, machine.on_step = 500, press_at_the_second_step
        bundle = make()
        with pytest.raises(KeyboardInterrupt):
            BUILDER.build_engine(bundle)
        assert len(steps) < 100
        assert machine.builds == []
        assert engines_of(bundle) == []
        assert not [thread for thread in threading.enumerate() if thread.name == "edgexfer-build"]
        machine.steps, machine.on_step = 1, None
        assert not BUILDER.build_engine(bundle).reused

    def test_ctrl_c_where_tensorrt_cannot_stop(
        self, become: Become, make: MakeBundle, caplog: pytest.LogCaptureFixture
    ) -> None:
        machine, steps = become("8.6.1"), [0]

        def press_at_the_first_step() -> None:
            steps[0] += 1
            if steps[0] == 1:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)

        machine.steps, machine.on_step = 6, press_at_the_first_step
        bundle = make()
        with pytest.raises(KeyboardInterrupt):
            BUILDER.build_engine(bundle)
        assert steps == [6]
        assert engines_of(bundle) == []
        assert "cannot be interrupted" in caplog.text

    def test_a_second_ctrl_c_does_not_wait(
        self, become: Become, make: MakeBundle, caplog: pytest.LogCaptureFixture
    ) -> None:
        machine, release = become("8.6.1"), threading.Event()

        def press_twice() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            while "cannot be interrupted" not in caplog.text:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            release.wait(60)

        machine.steps, machine.on_step = 1, press_twice
        bundle = make()
        with pytest.raises(KeyboardInterrupt):
            BUILDER.build_engine(bundle)
        assert not release.is_set()
        release.set()
        for thread in threading.enumerate():
            if thread.name == "edgexfer-build":
                thread.join()
        assert engines_of(bundle) == []
