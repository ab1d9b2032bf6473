"""A machine with a GPU and TensorRT that is not there: what it has, how it misbehaves, and what was done to it."""

from __future__ import annotations

import ctypes
import enum
import sys
import threading
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest


@dataclass
class Machine:
    """What the stand-ins of TensorRT and CUDA pretend, and what they saw.

    Attributes:
        version: of TensorRT, one of api.json's.
        gpu: its name.
        compute_capability: of the GPU.
        integrated: whether GPU and system share memory.
        free_mib: of GPU memory.
        builder_error: what TensorRT logs while a Builder or Runtime does not come to be.
        build_error: what TensorRT logs while a build fails.
        refused_node: (number, description) of the node that the parser refuses.
        steps: of the one inner phase of a build.
        on_step: called by the builder in each step.
        alter_answer: called with what `execute_async_v3` would answer; what it returns is answered instead.
        execution_error: what TensorRT logs while an execution fails.
        builds: one record for each engine that was built.
        logger: the one that TensorRT was given first; it calls that one for as long as the process lives.
    """

    version: str = "10.3.0"
    gpu: str = "Orin"
    compute_capability: str = "8.7"
    integrated: bool = False
    free_mib: int = 4096
    driver_status: str = "CUDA_SUCCESS"
    has_driver: bool = True
    builder_error: str | None = None
    build_error: str | None = None
    context_error: str | None = None
    execution_error: str | None = None
    refused_node: tuple[int, str] | None = None
    warnings: tuple[str, ...] = ()
    steps: int = 3
    on_step: Any = None
    alter_answer: Any = None
    builds: list[dict[str, Any]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    cuda: Cuda | None = None
    logger: Any = None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        """Puts the stand-ins where `import tensorrt` and `from cuda.bindings import driver` find them."""
        from tests.backends.tensorrt.standin import make_tensorrt

        self.logger = None  # another TensorRT, as in another process
        trt = make_tensorrt(self)
        self.cuda = Cuda(self)
        packages = {name: ModuleType(name) for name in ("cuda", "cuda.bindings")}
        driver = self.cuda.module()
        packages["cuda"].bindings = packages["cuda.bindings"]  # type: ignore[attr-defined]
        packages["cuda.bindings"].driver = driver  # type: ignore[attr-defined]
        for name, module in {**packages, "cuda.bindings.driver": driver, "tensorrt": trt}.items():
            module.__spec__ = ModuleSpec(name, None)
            monkeypatch.setitem(sys.modules, name, module)
        return trt


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400


class CUdevice_attribute(enum.IntEnum):  # noqa: N801 - CUDA's name
    CU_DEVICE_ATTRIBUTE_INTEGRATED = 18
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class CUstream_flags(enum.IntEnum):  # noqa: N801 - CUDA's name
    CU_STREAM_DEFAULT = 0
    CU_STREAM_NON_BLOCKING = 1


_OK = CUresult.CUDA_SUCCESS


class Cuda:
    """The CUDA driver on host memory. Every address, stream and context is checked as the real one would."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.retained = 0
        self.host: dict[int, Any] = {}
        self.memory: dict[int, Any] = {}
        self.streams: set[int] = set()
        self._threads = threading.local()
        self._lock = threading.Lock()

    def module(self) -> ModuleType:
        module = ModuleType("cuda.bindings.driver")
        for name in dir(self):
            if name.startswith("cu") and name != "cuda":
                setattr(module, name, getattr(self, name))
        for kind in (CUresult, CUdevice_attribute, CUstream_flags):
            setattr(module, kind.__name__, kind)
        return module

    def left(self) -> dict[str, int]:
        """What was taken and not given back."""
        return {
            "contexts": self.retained,
            "pinned": len(self.host),
            "memory": len(self.memory),
            "streams": len(self.streams),
            "entered": len(self._entered()),
        }

    def view(self, address: int, size_bytes: int) -> Any:
        """GPU memory as the kernels see it."""
        block = self.memory[address]
        assert size_bytes <= len(block), "an engine reads or writes behind its memory"
        return memoryview(block).cast("B")[:size_bytes]

    def cuInit(self, flags: int) -> tuple[Any, ...]:  # noqa: N802 - these are CUDA's names
        assert flags == 0
        if not self.machine.has_driver:
            raise RuntimeError("Failed to dlopen libcuda.so.1")
        return (CUresult[self.machine.driver_status],)

    def cuDeviceGet(self, ordinal: int) -> tuple[Any, ...]:  # noqa: N802
        return _OK, f"device {ordinal}"

    def cuDeviceGetName(self, length: int, device: str) -> tuple[Any, ...]:  # noqa: N802
        assert device == "device 0"
        return _OK, self.machine.gpu.encode().ljust(length, b"\0")

    def cuDeviceGetAttribute(self, attribute: int, device: str) -> tuple[Any, ...]:  # noqa: N802
        assert device == "device 0"
        major, minor = map(int, self.machine.compute_capability.split("."))
        return _OK, {75: major, 76: minor, 18: int(self.machine.integrated)}[attribute]

    def cuDevicePrimaryCtxRetain(self, device: str) -> tuple[Any, ...]:  # noqa: N802
        with self._lock:
            self.retained += 1
        return _OK, f"context of {device}"

    def cuDevicePrimaryCtxRelease(self, device: str) -> tuple[Any, ...]:  # noqa: N802
        assert device == "device 0"
        with self._lock:
            self.retained -= 1
        return (_OK,)

    def cuCtxPushCurrent(self, context: str) -> tuple[Any, ...]:  # noqa: N802
        self._entered().append(context)
        return (_OK,)

    def cuCtxPopCurrent(self) -> tuple[Any, ...]:  # noqa: N802
        return _OK, self._entered().pop()

    def cuMemGetInfo(self) -> tuple[Any, ...]:  # noqa: N802
        return self._inside() or (_OK, self.machine.free_mib * 2**20, 8 * 2**30)

    def cuMemHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:  # noqa: N802
        assert flags == 0
        return self._inside() or self._take(self.host, size)

    def cuMemAlloc(self, size: int) -> tuple[Any, ...]:  # noqa: N802
        return self._inside() or self._take(self.memory, size)

    def cuMemFreeHost(self, address: int) -> tuple[Any, ...]:  # noqa: N802
        return self._inside() or self._give(self.host, address)

    def cuMemFree(self, address: int) -> tuple[Any, ...]:  # noqa: N802
        return self._inside() or self._give(self.memory, address)

    def cuStreamCreate(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        assert flags == CUstream_flags.CU_STREAM_NON_BLOCKING
        stream = 7001 + len(self.streams)
        self.streams.add(stream)
        return self._inside() or (_OK, stream)

    def cuStreamDestroy(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        self.streams.remove(stream)
        return self._inside() or (_OK,)

    def cuStreamSynchronize(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        return self._inside() or self._in_stream(stream) or (_OK,)

    def cuMemcpyHtoDAsync(self, to: int, source: int, size: int, stream: int) -> tuple[Any, ...]:  # noqa: N802
        return self._inside() or self._in_stream(stream) or self._copy(to, self.memory, source, self.host, size)

    def cuMemcpyDtoHAsync(self, to: int, source: int, size: int, stream: int) -> tuple[Any, ...]:  # noqa: N802
        return self._inside() or self._in_stream(stream) or self._copy(to, self.host, source, self.memory, size)

    def _entered(self) -> list[str]:
        if not hasattr(self._threads, "entered"):
            self._threads.entered = []
        return self._threads.entered  # type: ignore[no-any-return]

    def _inside(self) -> tuple[Any, ...]:
        return () if self._entered() else (CUresult.CUDA_ERROR_INVALID_CONTEXT,)

    def _in_stream(self, stream: int) -> tuple[Any, ...]:
        return () if stream in self.streams else (CUresult.CUDA_ERROR_INVALID_HANDLE,)

    def _take(self, blocks: dict[int, Any], size: int) -> tuple[Any, ...]:
        if size > self.machine.free_mib * 2**20:
            return CUresult.CUDA_ERROR_OUT_OF_MEMORY, None
        block = (ctypes.c_byte * size)()
        blocks[ctypes.addressof(block)] = block
        return _OK, ctypes.addressof(block)

    def _give(self, blocks: dict[int, Any], address: int) -> tuple[Any, ...]:
        if blocks.pop(address, None) is None:
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)
        return (_OK,)

    def _copy(
        self, to: int, to_blocks: dict[int, Any], source: int, source_blocks: dict[int, Any], size: int
    ) -> tuple[Any, ...]:
        if size > min(len(to_blocks.get(to, b"")), len(source_blocks.get(source, b""))):
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)
        ctypes.memmove(to, source, size)
        return (_OK,)
