"""From a bundle's file to networks that OpenVINO can run, and to bytes and back.

`engine.bin` holds two of them, since a network of a fixed batch is faster and one of any batch takes the others:

    8 bytes, little-endian    length of the first
    the first                 for batches of one image, as OpenVINO exports it
    the second                for batches of any size
"""

from __future__ import annotations

import io
import threading
from functools import cache
from typing import Any

from edgexfer.backends.openvino.model import check_contract, mark_pixels_as_quantized
from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import ArtifactError, BackendError
from edgexfer.core.network_order import check_order

ANY = -1
"""The batch of the network that takes batches of any size."""
_LENGTH_BYTES = 8
_ONE_AT_A_TIME = threading.Lock()  # `cache` alone would let two threads make two


def core() -> Any:
    """Returns the one core of this process, which is never freed.

    Loading the CPU plugin gives the thread a signal stack, and freeing it leaves the thread with one that is freed: the
    next Ctrl-C would end the process by SIGSEGV, since Python's handlers run on it (seen with 2026.4.1).
    """
    with _ONE_AT_A_TIME:
        return _core()


@cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def compile_network(bundle: Bundle, batch: int, properties: dict[str, str]) -> Any:
    """Compiles the bundle's model for batches of `batch` images, or ANY.

    Raises:
        ArtifactError: it does not take pixels and give one probability for each label, or reads itself.
        BackendError: OpenVINO refuses it.
    """
    import openvino
    from openvino.frontend import FrontEndManager

    file = bundle.read()
    check_order(bundle.model, file)
    try:
        # Core.read_model would ask every frontend in turn, and some print what they do not like.
        frontend = FrontEndManager().load_by_framework("onnx")
        model = frontend.convert(frontend.load(io.BytesIO(file)))
        check_contract(model, bundle)
        model.reshape([batch, bundle.preprocess.height, bundle.preprocess.width, 3])
        if "int8" in bundle.precision:
            mark_pixels_as_quantized(model)
        return core().compile_model(model, "CPU", properties)
    except ArtifactError:
        raise
    except Exception as error:  # each frontend has classes of its own
        raise BackendError(
            f"openvino {openvino.get_version().partition('-')[0]} refuses {bundle.model}: {one_line(error)}",
            "install a newer openvino, or open it with another engine, such as --backend ort",
        ) from error


def import_network(bundle: Bundle, data: bytes, properties: dict[str, str]) -> Any:
    """Opens what `compile_network` made, in another process or on another day.

    Raises:
        BackendError: OpenVINO refuses it.
    """
    try:
        return core().import_model(data, "CPU", properties)
    except RuntimeError as error:
        raise BackendError(
            f"OpenVINO refuses the engine of {bundle.folder}: {one_line(error)}",
            f"edgexfer build {bundle.folder} --rebuild",
        ) from error


def packed(networks: list[Any]) -> bytes:
    """Returns `engine.bin` of two compiled networks: for one image, and for ANY."""
    first, second = map(_exported, networks)
    return len(first).to_bytes(_LENGTH_BYTES, "little") + first + second


def _exported(network: Any) -> bytes:
    data = network.export_model()
    return data if isinstance(data, bytes) else bytes(data.getvalue())  # a stream from some release after 2025.0 on


def unpacked(data: bytes, batch: int) -> bytes:
    """Returns the network for one image, or that for ANY, out of `engine.bin`."""
    middle = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    return data[_LENGTH_BYTES:middle] if batch == 1 else data[middle:]


def one_line(error: Exception) -> str:
    """Returns what OpenVINO said, on one line and not too long."""
    return " ".join(str(error).split())[:300] or type(error).__name__
