"""Machines without TensorRT, without CUDA, or with others than are needed: what they are told."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable

import pytest

from edgexfer.backends import find_backend
from edgexfer.core.errors import MissingPartError
from edgexfer.runtime.classifier import load
from tests.backends.tensorrt.conftest import MakeBundle
from tests.backends.tensorrt.machine import Machine

BACKEND = find_backend("tensorrt")


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, ImportError | OSError], None]:
    """Makes `import NAME` fail."""

    def refuse(name: str, error: ImportError | OSError) -> None:
        real = builtins.__import__

        def fails(wanted: str, *rest: object) -> object:
            if wanted == name:
                raise error
            return real(wanted, *rest)  # type: ignore[arg-type]

        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(builtins, "__import__", fails)

    return refuse


def test_no_tensorrt(refuse: Callable[[str, ImportError], None]) -> None:
    refuse("tensorrt", ModuleNotFoundError("No module named 'tensorrt'", name="tensorrt"))
    reason = BACKEND.missing()
    assert reason is not None
    assert reason.startswith("TensorRT is not installed; ")
    assert "sudo apt install python3-libnvinfer" in reason
    assert "--system-site-packages" in reason
    assert "pip install tensorrt 'edgexfer[tensorrt]'" in reason


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libnvinfer.so.10: cannot open shared object file"),
        ModuleNotFoundError("No module named 'tensorrt_bindings'", name="tensorrt_bindings"),
        OSError("libnvinfer.so.10: wrong ELF class"),
    ],
)
def test_bindings_that_cannot_be_imported(
    refuse: Callable[[str, ImportError | OSError], None], error: ImportError | OSError
) -> None:
    refuse("tensorrt", error)
    assert str(BACKEND.missing()).startswith(f"TensorRT cannot be imported ({error}); ")


def test_too_old(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.install(monkeypatch), "__version__", "8.5.2.2")
    assert BACKEND.missing() == "TensorRT 8.5.2.2 is too old, 8.6 or later is needed; build with trtexec instead"


def test_no_cuda_bindings(machine: Machine, refuse: Callable[[str, ImportError], None]) -> None:
    assert machine.builds == []
    refuse("cuda.bindings", ModuleNotFoundError("No module named 'cuda'", name="cuda"))
    assert BACKEND.missing() == "cuda-bindings is not installed; pip install 'edgexfer[tensorrt]'"


def test_no_driver(machine: Machine) -> None:
    machine.has_driver = False
    assert str(BACKEND.missing()).startswith("the NVIDIA driver (libcuda.so.1) is not installed, or too old (")


def test_no_gpu(machine: Machine) -> None:
    machine.driver_status = "CUDA_ERROR_NO_DEVICE"
    assert str(BACKEND.missing()).startswith("CUDA finds no GPU here (CUDA_ERROR_NO_DEVICE); ")


def test_a_bundle_says_so_in_one_line_with_a_hint(machine: Machine, make: MakeBundle) -> None:
    machine.has_driver = False
    bundle = make()
    with pytest.raises(MissingPartError, match=r"cannot run here: the NVIDIA driver") as caught:
        load(bundle)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
