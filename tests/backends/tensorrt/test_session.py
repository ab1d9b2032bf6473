"""A TensorRT session: batches in parts, types, errors, and everything given back."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from edgexfer.backends import Backend, find_backend
from edgexfer.backends.tensorrt.session import open_engine
from edgexfer.core.errors import ArtifactError, BackendError
from tests.backends.tensorrt.conftest import MakeBundle
from tests.backends.tensorrt.machine import Machine
from tests.bundles import put_model

BACKEND: Backend = find_backend("tensorrt")


def left(machine: Machine) -> set[int]:
    assert machine.cuda is not None
    return set(machine.cuda.left().values())


def test_it_is_warm_when_it_opens(machine: Machine, make: MakeBundle) -> None:
    BACKEND.open_session(make(options={"max_batch": 4}), threads=None).close()
    assert machine.batches == [1, 4]


@pytest.mark.parametrize(("images", "parts"), [(1, [1]), (4, [4]), (5, [4, 1]), (16, [4, 4, 4, 4]), (0, [])])
def test_larger_batches_run_in_parts(machine: Machine, make: MakeBundle, images: int, parts: list[int]) -> None:
    bundle = make(options={"max_batch": 4})
    session = BACKEND.open_session(bundle, threads=None)
    machine.batches.clear()
    pixels, expected = bundle.references()
    found = session.run(pixels[:images])
    assert machine.batches == parts
    assert found.shape == (images, 3)
    assert np.allclose(found, expected[:images], atol=1e-5)
    session.close()


def test_pixels_as_float32_where_the_engine_takes_those(machine: Machine, make: MakeBundle) -> None:
    import onnx

    bundle = make(engine_pixels="float32")
    model = onnx.load(bundle.model)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    put_model(bundle, model.SerializeToString())
    session = BACKEND.open_session(bundle, threads=None)
    pixels, expected = bundle.references()
    assert np.abs(session.run(pixels) - expected).max() < 1e-5
    session.close()
    assert left(machine) == {0}


def test_nothing_is_kept_after_close(machine: Machine, make: MakeBundle) -> None:
    bundle = make()
    for _ in range(3):
        session = BACKEND.open_session(bundle, threads=None)
        assert machine.cuda is not None
        assert machine.cuda.left() == {"contexts": 1, "pinned": 2, "memory": 2, "streams": 1, "entered": 0}
        session.close()
        session.close()
        assert left(machine) == {0}


def test_two_sessions_side_by_side(machine: Machine, make: MakeBundle) -> None:
    bundle = make()
    one, other = (BACKEND.open_session(bundle, threads=None) for _ in range(2))
    pixels, expected = bundle.references()
    one.close()
    assert np.abs(other.run(pixels) - expected).max() < 1e-5
    other.close()
    assert left(machine) == {0}


def test_closing_while_others_run(machine: Machine, make: MakeBundle) -> None:
    bundle = make()
    session = BACKEND.open_session(bundle, threads=None)
    pixels, expected = bundle.references()
    endings: list[str] = []
    started = threading.Barrier(5)

    def work() -> None:
        started.wait()
        try:
            while True:
                assert np.abs(session.run(pixels) - expected).max() < 1e-5
        except BackendError as error:
            endings.append(error.message)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    session.close()
    for thread in threads:
        thread.join()
    assert endings == [f"the session of {bundle.model} is closed"] * 4
    assert left(machine) == {0}


def test_an_execution_that_fails_says_what_tensorrt_said(machine: Machine, make: MakeBundle) -> None:
    bundle = make()
    session = BACKEND.open_session(bundle, threads=None)
    machine.execution_error = "[genericReformat.cu] Error Code 1: Cuda Runtime (misaligned address)"
    with pytest.raises(BackendError, match=r"cannot run on uint8 \[1, 8, 8, 3\]: .*misaligned address") as caught:
        session.run(np.zeros((1, 8, 8, 3), np.uint8))
    assert caught.value.hint
    session.close()
    assert left(machine) == {0}


class TestOpening:
    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda m: setattr(m, "context_error", "Error Code 4: no"), r"refuses the engine of .*: Error Code 4: no"),
            (lambda m: setattr(m, "context_error", "OutOfMemory (no)"), "too little memory: OutOfMemory"),
            (lambda m: setattr(m, "builder_error", "driver too old"), "cannot start: driver too old"),
            (lambda m: setattr(m, "free_mib", 0), "too little memory: cannot take page-locked memory"),
            (lambda m: setattr(m, "execution_error", "no kernel image"), "cannot run on .*: no kernel image"),
        ],
        ids=["context", "memory of the context", "runtime", "memory", "warm-up"],
    )
    def test_what_fails_gives_everything_back(
        self, machine: Machine, make: MakeBundle, spoil: Callable[[Machine], None], message: str
    ) -> None:
        bundle = make()
        BACKEND.open_session(bundle, threads=None).close()
        spoil(machine)
        with pytest.raises(BackendError, match=message) as caught:
            BACKEND.open_session(bundle, threads=None)
        assert caught.value.hint
        assert "\n" not in str(caught.value)
        assert left(machine) == {0}

    def test_an_engine_that_tensorrt_refuses(self, machine: Machine, make: MakeBundle) -> None:
        bundle = make()
        with pytest.raises(BackendError, match=r"refuses the engine of .*: Serialization assertion") as caught:
            open_engine(bundle, b"no engine", 8)
        assert caught.value.hint == f"edgexfer build {bundle.folder} --rebuild"
        assert left(machine) == {0}

    def test_an_engine_that_breaks_the_contract(self, machine: Machine, make: MakeBundle) -> None:
        bundle = make()
        BACKEND.open_session(bundle, threads=None).close()
        key = next(path.name for path in (bundle.folder / "engines").iterdir() if path.is_dir())
        serialized = (bundle.folder / "engines" / key / "engine.bin").read_bytes()
        other = make(precision="float32")
        wrong = type(other)(other.folder, other.manifest, ("a", "b"), other.preprocess, other.target)
        with pytest.raises(ArtifactError, match=r"output FLOAT \[-1, 3\], expected FLOAT \[-1, 2\]"):
            open_engine(wrong, serialized, 8)
        assert left(machine) == {0}

    def test_an_engine_that_goes_while_it_is_opened(
        self, machine: Machine, make: MakeBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert machine.builds == []
        monkeypatch.setattr("edgexfer.backends.tensorrt.load_engine", lambda *_: None)
        with pytest.raises(ArtifactError, match="was removed while it was opened") as caught:
            BACKEND.open_session(make(), threads=None)
        assert "--rebuild" in caught.value.hint


def test_two_sessions_at_once_share_the_one_logger_and_each_says_its_own_error(
    machine: Machine, make: MakeBundle
) -> None:
    # TensorRT keeps the first logger of a process and ignores every later one; the stand-in refuses a second.
    bundle = make()
    pixels, _ = bundle.references()
    first, second = (BACKEND.open_session(bundle, threads=None) for _ in range(2))
    machine.execution_error = "an old trouble"
    with pytest.raises(BackendError, match="an old trouble"):
        first.run(pixels[:1])
    first.close()
    machine.execution_error = "a new trouble"
    with pytest.raises(BackendError, match="a new trouble") as caught:
        second.run(pixels[:1])
    assert "old" not in caught.value.message
    second.close()
    assert left(machine) == {0}
