"""A serialized engine in, a session out: addresses of page-locked and GPU memory, one stream, batches in parts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.backends.tensorrt import api, cuda
from edgexfer.backends.tensorrt.compile import LEAST_FREE_MIB, start
from edgexfer.backends.tensorrt.contract import Tensor, check_contract
from edgexfer.core.bundle import Bundle
from edgexfer.core.engines import rebuild_hint
from edgexfer.core.errors import BackendError

_DTYPES = {"UINT8": np.uint8, "FLOAT": np.float32}


def open_engine(bundle: Bundle, serialized: bytes, max_batch: int) -> TensorrtSession:
    """Opens an engine that the bundle vouches for, and runs it once alone and once in its largest batch.

    Args:
        bundle: it was built from.
        serialized: from `core.engines.load_engine`, which has checked its digest: it is executable code.
        max_batch: images in one call at most; as when it was built.

    Raises:
        BackendError: TensorRT refuses it, or there is too little memory.
        ArtifactError: it does not take pixels and give one probability for each label.
    """
    import tensorrt as trt

    device = cuda.Context()
    try:
        with device.current(), api.collected() as messages:
            runtime = start(trt.Runtime, messages, trt)
            engine = _made(runtime.deserialize_cuda_engine(serialized), bundle, messages, trt)
            tensors = _check_engine(engine, bundle, trt)
            context = _made(engine.create_execution_context(), bundle, messages, trt)
            session = TensorrtSession(device, [runtime, engine, context], tensors, max_batch, bundle.model)
        height, width = bundle.preprocess.height, bundle.preprocess.width
        for images in sorted({1, max_batch}):
            session.run(np.zeros((images, height, width, 3), np.uint8))
    except BaseException:
        device.close()
        raise
    return session


class TensorrtSession:
    """An engine open on GPU 0. Several threads may call `run`; they take turns."""

    def __init__(
        self,
        device: cuda.Context,
        held: list[Any],
        tensors: tuple[Tensor, Tensor],
        max_batch: int,
        model: Path,
    ) -> None:
        # `held` ends with the execution context; what stands before it must outlive it.
        self._device = device
        self._held = held
        self._pixels, self._probabilities = tensors
        self._max_batch = max_batch
        self._model = model
        self._lock = threading.Lock()
        self._stream = device.stream()
        self._host_in = device.pinned((max_batch, *self._pixels.shape[1:]), _DTYPES[self._pixels.dtype])
        self._host_out = device.pinned((max_batch, *self._probabilities.shape[1:]), np.float32)
        self._gpu_in = device.allocate(self._host_in.nbytes)
        self._gpu_out = device.allocate(self._host_out.nbytes)
        context = held[-1]
        addresses = {self._pixels.name: self._gpu_in, self._probabilities.name: self._gpu_out}
        if not all(context.set_tensor_address(name, address) for name, address in addresses.items()):
            raise BackendError(f"TensorRT takes no addresses for the engine of {model}", "load the bundle again")

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs uint8 [N, H, W, 3]; returns float32 [N, classes].

        Raises:
            BackendError: closed, pixels of another shape or dtype, or the engine failed.
        """
        expected = self._pixels.shape[1:]
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
            wanted = ", ".join(map(str, expected))
            raise BackendError(
                f"{self._model} cannot run on {pixels.dtype} {list(pixels.shape)}, expected uint8 [N, {wanted}]"
            )
        answers = np.empty((len(pixels), *self._probabilities.shape[1:]), np.float32)
        with self._lock:
            if not self._held:
                raise BackendError(f"the session of {self._model} is closed", "load the bundle again")
            with self._device.current():
                for first in range(0, len(pixels), self._max_batch):
                    part = slice(first, first + self._max_batch)
                    answers[part] = self._run_part(pixels[part])
        return answers

    def close(self) -> None:
        """Frees the engine and its memory once no thread runs it any more. May be called twice."""
        with self._lock:
            if self._held:
                with self._device.current():
                    while self._held:
                        self._held.pop()  # the execution context first, the runtime last
            self._device.close()

    def _run_part(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        host_in, host_out = self._host_in[: len(pixels)], self._host_out[: len(pixels)]
        host_in[:] = pixels  # into page-locked memory, as the type that the engine takes
        context = self._held[-1]
        self._device.upload(self._gpu_in, host_in)
        with api.collected() as messages:
            shaped = context.set_input_shape(self._pixels.name, tuple(host_in.shape))
            if not (shaped and context.execute_async_v3(self._stream)):
                raise BackendError(
                    f"{self._model} cannot run on uint8 {list(pixels.shape)}: {messages.first_error()}",
                    "load the bundle again",
                )
        self._device.download(host_out, self._gpu_out)
        self._device.wait()
        return host_out


def _made(thing: Any, bundle: Bundle, messages: api.Messages, trt: Any) -> Any:
    """Returns what TensorRT made of the engine; it gives None where it could not."""
    if thing is not None:
        return thing
    if messages.about_memory():
        raise cuda.too_little_memory(messages.first_error(), f"at least {LEAST_FREE_MIB} MiB free")
    raise BackendError(
        f"TensorRT {trt.__version__} refuses the engine of {bundle.model}: {messages.first_error()}",
        rebuild_hint(bundle),
    )


def _check_engine(engine: Any, bundle: Bundle, trt: Any) -> tuple[Tensor, Tensor]:
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        tensor = Tensor(name, engine.get_tensor_dtype(name).name, tuple(engine.get_tensor_shape(name)))
        (inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs).append(tensor)
    return check_contract(bundle, inputs, outputs)
