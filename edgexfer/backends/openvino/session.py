"""A model that OpenVINO has compiled, run from any number of threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.backends.openvino.networks import ANY, one_line
from edgexfer.core.errors import BackendError


class OpenVinoSession:
    """A model open in OpenVINO. `run` may be called from several threads."""

    def __init__(self, opened: Callable[[int], Any], model: Path, size: tuple[int, int]) -> None:
        """Opens the network for one image at a time; that for more is opened when they come first.

        Args:
            opened: returns the compiled network for batches of so many images, or ANY.
            model: what is named in errors.
            size: height and width of an image.
        """
        self._opened = opened
        self._model = model
        self._shape = (*size, 3)
        self._lock = threading.Lock()
        self._networks: dict[int, _Network] | None = {1: _Network(opened(1))}

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs uint8 [N, H, W, 3]; returns float32 [N, classes].

        Raises:
            BackendError: closed, pixels of another shape or dtype, or the engine failed.
        """
        networks = self._networks  # another thread may close meanwhile
        if networks is None:
            raise BackendError(f"the session of {self._model} is closed", "load the bundle again")
        found = f"{pixels.dtype} {list(pixels.shape)}"
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != self._shape or len(pixels) == 0:
            expected = f"uint8 [N, {str(self._shape)[1:-1]}]"
            raise BackendError(f"{self._model} cannot run on {found}, expected {expected}")
        network = self._network(networks, 1 if len(pixels) == 1 else ANY)
        try:
            return network.run(pixels)
        except RuntimeError as error:
            raise BackendError(f"{self._model} cannot run on {found}: {one_line(error)}") from error

    def close(self) -> None:
        """Frees the model once no thread runs it any more. May be called twice."""
        self._networks = None

    def _network(self, networks: dict[int, _Network], batch: int) -> _Network:
        if batch not in networks:
            with self._lock:  # two threads open it once
                if batch not in networks:
                    networks[batch] = _Network(self._opened(batch))
        return networks[batch]


class _Network:
    """A compiled model with its requests: one serves one thread at a time, so each takes one that is free."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._free: deque[Any] = deque()

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        from openvino import Tensor

        try:
            request = self._free.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        # Its memory is shared and not kept alive by the tensor: the name must outlive the inference. OpenVINO takes it
        # in one piece alone, and writeable, which it does not need.
        whole = np.require(pixels, requirements=["C", "W"])
        request.set_input_tensor(Tensor(whole, shared_memory=True))
        request.infer()
        probabilities: NDArray[np.float32] = request.get_output_tensor().data.copy()
        self._free.append(request)
        return probabilities
