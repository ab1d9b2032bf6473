"""OpenVINO on the CPU: runs `model.onnx` of any bundle, read by its own ONNX frontend.

`build_engine` keeps what OpenVINO made of the file in `engines/`: opening that takes a tenth of the time. Where nothing
is kept the file is compiled in memory, and nothing is written.

Options of the target, read where its backend is "openvino", or where that is among its rivals:
    threads    of one inference; 0 is OpenVINO's own choice (one per physical core)
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.backends.openvino.layers import PROFILED, time_network
from edgexfer.backends.openvino.networks import ANY, compile_network, import_network, packed, unpacked
from edgexfer.backends.openvino.session import OpenVinoSession
from edgexfer.core.bundle import Bundle
from edgexfer.core.cpu import cpu_device, saturates
from edgexfer.core.engine_build import Compiled, keep_or_build
from edgexfer.core.engines import BuiltEngine, EngineKey, load_engine
from edgexfer.core.errors import BackendError, SettingsError
from edgexfer.core.layer_times import LayerTime
from edgexfer.core.target import MOST_THREADS, options_for
from edgexfer.core.threads import Progress
from edgexfer.core.toml import from_table

_INSTALL = "pip install 'edgexfer[openvino]'"
_PROPERTIES = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
    # A thread that is bound to a core waits for whatever else runs there; alone on the machine it gains nothing.
    "ENABLE_CPU_PINNING": "NO",
    # Else layers in float become bfloat16 where the CPU has it, and answer otherwise than they were judged.
    "INFERENCE_PRECISION_HINT": "f32",
}


@dataclass(frozen=True)
class _Options:
    threads: int = 0


def missing() -> str | None:
    """Returns what is not installed here and the command that installs it, or None."""
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:  # a folder of that name is no package
        return f"openvino is not installed; {_INSTALL}"
    return None


def engine_version() -> str:
    """Returns name and version of the engine."""
    import openvino

    return f"openvino {openvino.get_version().partition('-')[0]}"


def device() -> str:
    """Returns the CPU's name and its number of cores."""
    return cpu_device()


def build_engine(bundle: Bundle, *, rebuild: bool = False, progress: Progress | None = None) -> BuiltEngine:
    """Compiles the bundle's chosen candidate into `engines/`, or finds what is there.

    Args:
        bundle: any.
        rebuild: compile even where an engine is there that fits.
        progress: called with (networks compiled, all of them).

    Raises:
        ArtifactError: an engine is there that the bundle does not vouch for; or the network breaks its contract.
        BackendError: OpenVINO refuses the file, or the CPU cannot compute it exactly.
        EdgexferError: the bundle's folder cannot be written.
    """
    _check_exact(bundle)
    key = _key(bundle)

    def compiled() -> Compiled:
        started, networks = time.perf_counter(), []
        for done, batch in enumerate((1, ANY), start=1):
            networks.append(compile_network(bundle, batch, _PROPERTIES))
            if progress is not None:
                progress(done, 2)
        return Compiled(packed(networks), time.perf_counter() - started)

    return keep_or_build(bundle, key, compiled, device=device(), rebuild=rebuild)


def open_session(bundle: Bundle, *, threads: int | None) -> OpenVinoSession:
    """Opens the bundle's model: the engine that is kept for it, else the file.

    Args:
        bundle: any bundle, whatever backend its target names.
        threads: of one inference; None for what the target says.

    Raises:
        SettingsError: an unknown or wrong option of the target.
        BackendError: OpenVINO refuses the file, or the CPU cannot compute it exactly.
        ArtifactError: the model does not take pixels and give one probability for each label; or an engine is there
            that the bundle does not vouch for.
    """
    _check_exact(bundle)
    properties = {**_PROPERTIES, **_threads(bundle, threads)}
    key = _key(bundle)

    def opened(batch: int) -> Any:
        kept = load_engine(bundle, key)
        if kept is None:
            return compile_network(bundle, batch, properties)
        return import_network(bundle, unpacked(kept, batch), properties)

    size = (bundle.preprocess.height, bundle.preprocess.width)
    return OpenVinoSession(opened, bundle.model, size)


def time_layers(bundle: Bundle, pixels: NDArray[np.uint8], *, threads: int | None, calls: int) -> tuple[LayerTime, ...]:
    """Returns how long each layer of the bundle's model takes, as OpenVINO runs and fuses it.

    Args:
        bundle: any bundle.
        pixels: uint8 [1, H, W, 3].
        threads: of one inference; None for what the target says.
        calls: that count.

    Raises:
        EdgexferError: what `open_session` raises.
    """
    _check_exact(bundle)
    properties = {**_PROPERTIES, **_threads(bundle, threads), **PROFILED}
    return time_network(compile_network(bundle, 1, properties), pixels, calls)


def _threads(bundle: Bundle, threads: int | None) -> dict[str, str]:
    target = bundle.target
    options = options_for(target, "openvino", _Options)
    if "openvino" in target.rivals and "threads" in target.options:
        # What is to be left to other programs does not depend on the engine; the other options are the other engine's.
        own = {"threads": target.options["threads"]}
        options = from_table(_Options, own, f"options of target '{target.name}'")
    if not 0 <= options.threads <= MOST_THREADS:
        raise SettingsError(f"threads of target '{target.name}' is {options.threads}, expected 0 to {MOST_THREADS}")
    wanted = options.threads if threads is None else threads
    return {"INFERENCE_NUM_THREADS": str(wanted)} if wanted else {}


def _key(bundle: Bundle) -> EngineKey:
    import openvino

    told = {**_PROPERTIES, "build": openvino.get_version()}
    return EngineKey(bundle.model_sha256, bundle.precision, engine_version(), device(), "", tuple(sorted(told.items())))


def _check_exact(bundle: Bundle) -> None:
    """Refuses what would saturate: OpenVINO has no slower way that is exact, as ONNX Runtime has.

    Measured with ONEDNN_MAX_CPU_ISA=AVX2 on signs at 96: probabilities move ten times as far as with VNNI.
    """
    if "int8" in bundle.precision and bundle.target.weight_bits == 8 and saturates():
        raise BackendError(
            "this CPU has no VNNI: products of uint8 and int8 would overflow in OpenVINO, with weights of 8 bits",
            "run it with ONNX Runtime (--backend ort), or export it for a target with weight_bits = 7",
        )
