"""Every name of CUDA that the backend uses is in the real package, and the stand-in takes it as that does."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from edgexfer.backends.tensorrt import cuda
from tests.backends.tensorrt.machine import Cuda, Machine

SOURCE = Path(inspect.getfile(cuda)).read_text(encoding="utf-8")
USED = sorted(
    {
        node.attr
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.Attribute) and re.match(r"cu[A-Z]|CU", node.attr)
    }
)


@pytest.fixture(scope="module")
def driver() -> object:
    return pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")


def test_the_names_were_found() -> None:
    assert {"cuMemHostAlloc", "cuDevicePrimaryCtxRetain", "CUdevice_attribute", "CU_STREAM_NON_BLOCKING"} <= set(USED)


@pytest.mark.parametrize("name", USED)
def test_it_is_in_the_real_package(driver: object, name: str) -> None:
    owners = [driver, driver.CUdevice_attribute, driver.CUstream_flags]  # type: ignore[attr-defined]
    assert any(hasattr(owner, name) for owner in owners)


@pytest.mark.parametrize("name", [name for name in USED if name.startswith("cu")])
def test_the_stand_in_has_as_many_parameters(driver: object, name: str) -> None:
    described = getattr(driver, name).__doc__.splitlines()[0]
    inside = re.search(r"\((.*)\)", described)
    assert inside is not None
    wanted = [part for part in inside[1].split(",") if part.strip()]
    assert len(inspect.signature(getattr(Cuda(Machine()), name)).parameters) == len(wanted)


def test_the_stand_in_has_the_real_values(driver: object) -> None:
    from tests.backends.tensorrt import machine

    for kind in (machine.CUresult, machine.CUdevice_attribute, machine.CUstream_flags):
        real = getattr(driver, kind.__name__)
        assert {member.name: int(member) for member in kind} == {m.name: int(getattr(real, m.name)) for m in kind}
        assert getattr(real, next(iter(kind)).name).name == next(iter(kind)).name


def test_a_machine_without_libcuda_is_told_so(driver: object) -> None:
    reason = cuda.missing()
    if reason is None:
        pytest.skip("this machine has a GPU")
    assert driver is not None
    assert re.match(
        r"the NVIDIA driver \(libcuda\.so\.1\) is not installed|CUDA finds no GPU here \(CUDA_ERROR_", reason
    )
