"""CUDA through `cuda.bindings.driver`: page-locked and device memory, one stream, and what the GPU is.

The driver API needs libcuda.so.1 alone, which comes with every driver, and not the CUDA toolkit. All of it happens in
the primary context of GPU 0, which is the one TensorRT uses too; CUDA_VISIBLE_DEVICES says which GPU that is.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgexfer.core.errors import BackendError

_INSTALL = "pip install 'edgexfer[tensorrt]'"
_MEMINFO = Path("/proc/meminfo")
_STOP_OTHERS = "stop other programs or add swap, then try again; see docs/jetson.md"


@dataclass(frozen=True)
class Gpu:
    """GPU 0 as CUDA sees it.

    Attributes:
        name: such as "Orin" or "NVIDIA GeForce RTX 4090".
        compute_capability: such as "8.7".
        integrated: whether it shares the system's memory, as on every Jetson.
    """

    name: str
    compute_capability: str
    integrated: bool


def missing() -> str | None:
    """Returns what CUDA lacks here and what mends it, or None."""
    try:
        driver = _driver()
    except ImportError:
        return f"cuda-bindings is not installed; {_INSTALL}"
    try:
        status = driver.cuInit(0)[0]
    except RuntimeError as error:  # how cuda-bindings says that there is no libcuda.so.1, or one that is too old
        found = f"the NVIDIA driver (libcuda.so.1) is not installed, or too old ({error})"
        return f"{found}; install it, then check with `nvidia-smi`"
    if status.name != "CUDA_SUCCESS":
        return f"CUDA finds no GPU here ({status.name}); on a Jetson your user must be in the group video"
    return None


def gpu() -> Gpu:
    """Returns what GPU 0 is.

    Raises:
        BackendError: CUDA does not answer.
    """
    driver = _driver()
    device = _first_gpu(driver)
    name = _call(driver.cuDeviceGetName(256, device), "name the GPU")
    attribute = driver.CUdevice_attribute
    wanted = (
        attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED,
    )
    major, minor, integrated = (_call(driver.cuDeviceGetAttribute(one, device), "describe the GPU") for one in wanted)
    return Gpu(name.split(b"\0")[0].decode().strip(), f"{major}.{minor}", bool(integrated))


def free_bytes() -> int:
    """Returns how much memory a build may have on GPU 0.

    Where the GPU shares the system's memory, CUDA counts what Linux would give back at once (its file cache) as taken,
    so the kernel's MemAvailable is taken where it is more. NVIDIA's application note "CUDA for Tegra" says the same.

    Raises:
        BackendError: CUDA does not answer.
    """
    driver = _driver()
    with closing(Context()) as context, context.current():
        free, _ = _call(driver.cuMemGetInfo(), "ask for free memory")
    return max(int(free), _available_bytes()) if gpu().integrated else int(free)


class Context:
    """A hold on the primary context of GPU 0, its one stream, and memory that goes when it is closed."""

    def __init__(self) -> None:
        self._driver = _driver()
        self._device = _first_gpu(self._driver)
        self._context = _call(self._driver.cuDevicePrimaryCtxRetain(self._device), "open the GPU")
        self._pinned: list[int] = []
        self._memory: list[int] = []
        self._stream: Any = None

    @contextmanager
    def current(self) -> Iterator[None]:
        """Makes it the calling thread's context for as long as the block lasts."""
        _call(self._driver.cuCtxPushCurrent(self._context), "enter the GPU's context")
        try:
            yield
        finally:
            self._driver.cuCtxPopCurrent()

    def stream(self) -> int:
        """Returns the handle of the one stream, made at the first call; inside `current`."""
        if self._stream is None:
            flag = int(self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
            self._stream = _call(self._driver.cuStreamCreate(flag), "make a stream")
        return int(self._stream)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Returns an array in page-locked host memory, which the GPU copies without a detour; inside `current`."""
        size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(_call(self._driver.cuMemHostAlloc(size_bytes, 0), "take page-locked memory", size_bytes))
        self._pinned.append(address)
        memory = memoryview((ctypes.c_byte * size_bytes).from_address(address)).cast("B")
        array: NDArray[Any] = np.frombuffer(memory, dtype).reshape(shape)
        return array

    def allocate(self, size_bytes: int) -> int:
        """Returns the address of fresh memory on the GPU; inside `current`."""
        address = int(_call(self._driver.cuMemAlloc(size_bytes), "take GPU memory", size_bytes))
        self._memory.append(address)
        return address

    def upload(self, address: int, host: NDArray[Any]) -> None:
        """Copies an array to the GPU, in the stream; inside `current`."""
        copied = self._driver.cuMemcpyHtoDAsync(address, host.ctypes.data, host.nbytes, self._stream)
        _call(copied, "copy to the GPU")

    def download(self, host: NDArray[Any], address: int) -> None:
        """Copies from the GPU into an array, in the stream; inside `current`."""
        copied = self._driver.cuMemcpyDtoHAsync(host.ctypes.data, address, host.nbytes, self._stream)
        _call(copied, "copy from the GPU")

    def wait(self) -> None:
        """Returns when all that is in the stream is done; inside `current`."""
        _call(self._driver.cuStreamSynchronize(self._stream), "wait for the GPU")

    def close(self) -> None:
        """Frees all of it; arrays from `pinned` must not be used afterwards. May be called twice."""
        if self._context is None:
            return
        with self.current():
            if self._stream is not None:
                self._driver.cuStreamDestroy(self._stream)
            for address in self._memory:
                self._driver.cuMemFree(address)
            for address in self._pinned:
                self._driver.cuMemFreeHost(address)
        self._driver.cuDevicePrimaryCtxRelease(self._device)
        self._context = self._stream = None
        self._memory, self._pinned = [], []


def too_little_memory(found: str, expected: str) -> BackendError:
    """Returns the error for a machine whose memory does not do."""
    return BackendError(f"too little memory: {found}, expected {expected}", _STOP_OTHERS)


def _driver() -> Any:
    from cuda.bindings import driver

    return driver


def _first_gpu(driver: Any) -> Any:
    _call(driver.cuInit(0), "start CUDA")
    return _call(driver.cuDeviceGet(0), "find a GPU")


def _call(answer: tuple[Any, ...], doing: str, size_bytes: int = 0) -> Any:
    """Returns what a call of CUDA gave beside its status: nothing, one value, or several."""
    status, *values = answer
    if status.name == "CUDA_ERROR_OUT_OF_MEMORY":
        raise too_little_memory(f"cannot {doing}", f"{size_bytes / 2**20:.1f} MiB more")
    if status.name != "CUDA_SUCCESS":
        raise BackendError(f"CUDA cannot {doing}: {status.name}", "`edgexfer doctor` says what is there")
    return values[0] if len(values) == 1 else tuple(values)


def _available_bytes() -> int:
    try:
        text = _MEMINFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
