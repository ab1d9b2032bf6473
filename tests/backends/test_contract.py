"""One suite over every backend: what a Session promises to whoever runs it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgexfer.backends import BUILT_IN, Backend, Session, find_backend
from edgexfer.core.bundle import REFERENCE, Bundle, open_bundle
from edgexfer.core.errors import ArtifactError, BackendError, SettingsError
from tests.backends.tensorrt.machine import Machine
from tests.bundles import hue_model, make_bundle, put_model

# TensorRT is here twice: on a stand-in anywhere, and itself where there is a GPU.
ON_A_GPU = "tensorrt on a GPU"


@pytest.fixture(params=[*BUILT_IN, pytest.param(ON_A_GPU, marks=pytest.mark.tensorrt)])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    if request.param == "tensorrt":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
        Machine().install(monkeypatch)
    found = find_backend(request.param.partition(" ")[0])
    reason = found.missing()
    if reason is not None:
        pytest.skip(reason)
    return found


@pytest.fixture
def close(request: pytest.FixtureRequest) -> float:
    """How far probabilities may lie from each other: a GPU multiplies float32 in TF32, with 10 bits of fraction."""
    return 1e-2 if request.node.callspec.params["backend"] == ON_A_GPU else 1e-5


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture
def session(backend: Backend, bundle: Bundle) -> Iterator[Session]:
    opened = backend.open_session(bundle, threads=1)
    yield opened
    opened.close()


@pytest.fixture
def references(bundle: Bundle) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    with np.load(bundle.folder / REFERENCE) as file:
        return file["pixels"], file["probabilities"]


def test_engine_has_a_name_and_a_version(backend: Backend) -> None:
    name, version = backend.engine_version().split()
    assert name
    assert version[0].isdigit()


@pytest.mark.parametrize("images", [1, 2, 7, 16])
def test_shape_dtype_and_sum(
    session: Session, references: tuple[NDArray[np.uint8], NDArray[np.float32]], images: int
) -> None:
    found = session.run(references[0][:images])
    assert found.shape == (images, 3)
    assert found.dtype == np.float32
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)


def test_parity_with_the_references(
    session: Session, references: tuple[NDArray[np.uint8], NDArray[np.float32]], close: float
) -> None:
    pixels, expected = references
    found = session.run(pixels)
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(found - expected).max() < close


def test_same_pixels_same_answer_alone_or_in_a_batch(
    session: Session, references: tuple[NDArray[np.uint8], NDArray[np.float32]], close: float
) -> None:
    pixels = references[0]
    together = session.run(pixels)
    assert np.array_equal(together, session.run(pixels))
    alone = np.concatenate([session.run(pixels[i : i + 1]) for i in range(len(pixels))])
    assert np.abs(together - alone).max() < close


def test_read_only_and_strided_pixels(
    session: Session, references: tuple[NDArray[np.uint8], NDArray[np.float32]]
) -> None:
    pixels = references[0]
    expected = session.run(pixels[::2].copy())
    pixels.flags.writeable = False
    assert np.array_equal(session.run(pixels[::2]), expected)


def test_an_earlier_answer_is_not_overwritten(
    session: Session, references: tuple[NDArray[np.uint8], NDArray[np.float32]]
) -> None:
    first = session.run(references[0][:1])
    kept = first.copy()
    session.run(references[0][1:2])
    assert np.array_equal(first, kept)


def test_several_threads_at_once(session: Session, references: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> None:
    pixels = references[0]
    expected = session.run(pixels)
    answers: list[bool] = []

    def work() -> None:
        answers.extend(np.array_equal(session.run(pixels), expected) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 160


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((1, 8, 8, 4), np.uint8), np.zeros((1, 9, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)],
    ids=["channels", "height", "no batch"],
)
def test_pixels_of_another_shape_are_refused(session: Session, pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(BackendError, match=r"uint8 \["):
        session.run(pixels)


def test_pixels_of_another_dtype_are_refused(session: Session) -> None:
    with pytest.raises(BackendError, match="float32"):
        session.run(np.zeros((1, 8, 8, 3), np.float32))  # type: ignore[arg-type]


def test_close_twice_then_run(backend: Backend, bundle: Bundle) -> None:
    session = backend.open_session(bundle, threads=None)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run(np.zeros((1, 8, 8, 3), np.uint8))


def test_unknown_option_of_the_target(backend: Backend, tmp_path: Path) -> None:
    name = backend.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    known = {"fake": "latency_ms", "tensorrt": "workspace_mib"}.get(name, "threads")
    folder = make_bundle(tmp_path / "b.edgx", backend=name, options={known[:-1] + "x": 1})
    with pytest.raises(SettingsError, match=f"unknown key.*did you mean '{known}'"):
        backend.open_session(open_bundle(folder), threads=1)
    folder = make_bundle(tmp_path / "c.edgx", backend=name, options={known: -1})
    with pytest.raises(SettingsError, match=r"-1(\.0)?, expected ([01] or more|0 to 1024)"):
        backend.open_session(open_bundle(folder), threads=1)


def test_options_of_another_backend_do_not_matter(backend: Backend, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b.edgx", backend="tensorrt", options={"workspace_mib": 64}, dialect="tensorrt")
    session = backend.open_session(open_bundle(folder), threads=1)
    assert session.run(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 3)
    session.close()


class TestOpenVino:
    """What holds for OpenVINO alone."""

    pytestmark = pytest.mark.openvino

    @pytest.fixture(autouse=True)
    def _needs_openvino(self) -> None:
        pytest.importorskip("openvino", reason="openvino is not installed (pip install 'edgexfer[openvino]')")

    def test_damaged_model_is_named(self, bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
        put_model(bundle, b"not a network")
        with pytest.raises(ArtifactError, match=r"model\.onnx is no ONNX file"):
            find_backend("openvino").open_session(bundle, threads=1)
        assert capfd.readouterr() == ("", "")

    def test_model_for_other_labels_is_named(self, bundle: Bundle) -> None:
        put_model(bundle, hue_model(4, 8))
        with pytest.raises(ArtifactError, match=r"output float32 \[.*,4\], expected float32 \['N', 3\]"):
            find_backend("openvino").open_session(bundle, threads=1)

    def test_model_that_takes_floats_is_named(self, bundle: Bundle) -> None:
        import onnx

        model = onnx.load(bundle.model)
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        put_model(bundle, model.SerializeToString())
        with pytest.raises(ArtifactError, match=r"input float32 .*expected uint8 \['N', 8, 8, 3\]"):
            find_backend("openvino").open_session(bundle, threads=1)

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        expected = "openvino is not installed; pip install 'edgexfer[openvino]'"
        with monkeypatch.context() as without:
            without.setattr("importlib.util.find_spec", lambda *_: None)
            assert find_backend("openvino").missing() == expected
        # A folder of that name, such as one with models, is found as a package without a file.
        (tmp_path / "openvino").mkdir()
        monkeypatch.setattr("sys.path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "openvino", raising=False)
        assert find_backend("openvino").missing() == expected

    def test_threads_of_the_call_come_before_those_of_the_target(self, tmp_path: Path) -> None:
        bundle = open_bundle(make_bundle(tmp_path / "b.edgx", backend="openvino", options={"threads": 2}))
        backend = find_backend("openvino")
        for threads, expected in ((None, 2), (1, 1)):
            session = backend.open_session(bundle, threads=threads)
            network = session._networks[1]._compiled  # type: ignore[attr-defined]
            assert network.get_property("INFERENCE_NUM_THREADS") == expected

    def test_floats_stay_floats(self, bundle: Bundle) -> None:
        session = find_backend("openvino").open_session(bundle, threads=1)
        network = session._networks[1]._compiled  # type: ignore[attr-defined]
        assert network.get_property("INFERENCE_PRECISION_HINT").to_dtype() == np.float32


def on_cpu(folder: Path, monkeypatch: pytest.MonkeyPatch, machine: str, flags: str | None) -> None:
    """Lets this machine be one of that kind, whose CPU has those flags; None where the system does not say."""
    if flags is not None:
        (folder / "proc").mkdir()
        text = f"processor: 0\nflags\t\t: {flags}\nbugs: none\n"
        (folder / "proc" / "cpuinfo").write_text(text, encoding="utf-8")
    monkeypatch.setattr("edgexfer.core.cpu.ROOT", folder)
    monkeypatch.setattr("platform.machine", lambda: machine)


def test_unknown_backend() -> None:
    with pytest.raises(SettingsError, match=r"unknown backend 'orrt' \(did you mean 'ort'"):
        find_backend("orrt")


class TestOrt:
    """What holds for ONNX Runtime alone."""

    @pytest.fixture(autouse=True)
    def _needs_ort(self) -> None:
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")

    def test_damaged_model_is_named(self, bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
        put_model(bundle, b"not a network")
        with pytest.raises(BackendError, match=r"onnxruntime [\d.]+ refuses .*model\.onnx: "):
            find_backend("ort").open_session(bundle, threads=1)
        assert capfd.readouterr() == ("", "")

    def test_model_for_other_labels_or_size_is_named(self, bundle: Bundle) -> None:
        put_model(bundle, hue_model(4, 8))
        with pytest.raises(
            ArtifactError, match=r"output tensor\(float\) \['N', 4\], expected tensor\(float\) \['N', 3\]"
        ):
            find_backend("ort").open_session(bundle, threads=1)

    def test_model_that_takes_floats_is_named(self, bundle: Bundle) -> None:
        import onnx

        model = onnx.load(bundle.model)
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        put_model(bundle, model.SerializeToString())
        with pytest.raises(ArtifactError, match=r"input tensor\(float\) .*expected tensor\(uint8\) \['N', 8, 8, 3\]"):
            find_backend("ort").open_session(bundle, threads=1)

    def test_failing_run_says_so_once(self, bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
        session = find_backend("ort").open_session(bundle, threads=1)
        with pytest.raises(BackendError, match=r"model\.onnx cannot run on uint8 \[1, 8, 8, 4\]"):
            session.run(np.zeros((1, 8, 8, 4), np.uint8))
        assert capfd.readouterr() == ("", "")

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
        assert find_backend("ort").missing() == "onnxruntime is not installed; pip install 'edgexfer[cpu]'"

    @pytest.mark.parametrize(
        ("precision", "weight_bits", "machine", "flags", "exact"),
        [
            ("int8", 8, "x86_64", "fpu avx2", True),
            ("int8", 8, "AMD64", None, True),
            ("int8", 8, "x86_64", "fpu avx2 avx512_vnni", False),
            ("int8", 8, "x86_64", "fpu avx_vnni", False),
            ("int8", 8, "x86_64", "fpu amx_int8", False),
            ("int8", 7, "x86_64", "fpu avx2", False),
            ("float32", 8, "x86_64", "fpu avx2", False),
            ("int8", 8, "aarch64", None, False),
        ],
    )
    def test_exact_kernels_where_the_cpu_would_saturate(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        precision: str,
        weight_bits: int,
        machine: str,
        flags: str | None,
        exact: bool,
    ) -> None:
        import onnxruntime

        folder = make_bundle(
            tmp_path / "b.edgx",
            precision=precision,
            weight_bits=weight_bits,
            options={"threads": 2, "allow_spinning": False},
        )
        on_cpu(tmp_path, monkeypatch, machine, flags)
        entries: list[tuple[str, str]] = []

        class Options(onnxruntime.SessionOptions):  # type: ignore[misc]
            def add_session_config_entry(self, key: str, value: str) -> None:
                entries.append((key, value))
                super().add_session_config_entry(key, value)

        monkeypatch.setattr("onnxruntime.SessionOptions", Options)
        find_backend("ort").open_session(open_bundle(folder), threads=None).close()
        assert (("session.x64quantprecision", "1") in entries) is exact
        assert ("session.intra_op.allow_spinning", "0") in entries

    def test_threads_of_the_call_come_before_those_of_the_target(self, tmp_path: Path) -> None:
        bundle = open_bundle(make_bundle(tmp_path / "b.edgx", options={"threads": 2}))
        backend = find_backend("ort")
        for threads, expected in ((None, 2), (1, 1)):
            session = backend.open_session(bundle, threads=threads)
            assert session._session.get_session_options().intra_op_num_threads == expected  # type: ignore[attr-defined]


def test_fake_takes_the_time_it_is_told(tmp_path: Path) -> None:
    import time

    folder = make_bundle(tmp_path / "b.edgx", backend="fake", options={"latency_ms": 5})
    session = find_backend("fake").open_session(open_bundle(folder), threads=1)
    for images, at_least_ms in ((1, 5), (4, 20)):
        started = time.perf_counter_ns()
        session.run(np.zeros((images, 8, 8, 3), np.uint8))
        assert (time.perf_counter_ns() - started) / 1e6 >= at_least_ms


def test_backend_from_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    points = [EntryPoint("outside", "edgexfer.backends.fake", "edgexfer.backends")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: [p for p in points if p.group == group])
    assert find_backend("outside") is find_backend("fake")
    with pytest.raises(SettingsError, match="did you mean 'outside'"):
        find_backend("outsid")
