"""TensorRT 8.6, 10 and 11 on NVIDIA GPUs: builds an engine on the machine that runs it, caches it, opens it.

An engine fits one model, one version of TensorRT and one kind of GPU. It lies in the bundle under the digest of all
that (edgexfer/core/engines.py); where none fits, one is built and the reason is said. TensorRT itself comes
with JetPack, or from NVIDIA's own packages; without PyTorch and without PyCUDA.
"""

from __future__ import annotations

import logging
from typing import Any

from edgexfer.backends.tensorrt import api, cuda
from edgexfer.backends.tensorrt.compile import compile_engine
from edgexfer.backends.tensorrt.options import Options, read_options
from edgexfer.backends.tensorrt.session import TensorrtSession, open_engine
from edgexfer.core.bundle import Bundle
from edgexfer.core.engine_build import Compiled, keep_or_build
from edgexfer.core.engine_store import read_timing_cache
from edgexfer.core.engines import (
    BuiltEngine,
    EngineKey,
    load_engine,
    rebuild_hint,
)
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.threads import Progress

log = logging.getLogger(__name__)

_INSTALL = (
    "on a Jetson `sudo apt install python3-libnvinfer` and a venv made with --system-site-packages, "
    "elsewhere pip install tensorrt 'edgexfer[tensorrt]'"
)


def missing() -> str | None:
    """Returns what is not installed here and the command that installs it, or None."""
    try:
        import tensorrt as trt
    except ModuleNotFoundError as error:
        if error.name != "tensorrt":
            return f"TensorRT cannot be imported ({error}); {_INSTALL}"
        return f"TensorRT is not installed; {_INSTALL}"
    except (ImportError, OSError) as error:  # its bindings without its libraries
        return f"TensorRT cannot be imported ({error}); {_INSTALL}"
    if api.version_of(trt) < api.OLDEST:
        oldest = ".".join(map(str, api.OLDEST))
        return f"TensorRT {trt.__version__} is too old, {oldest} or later is needed; build with trtexec instead"
    return cuda.missing()


def engine_version() -> str:
    """Returns name and version of the engine."""
    import tensorrt as trt

    return f"tensorrt {trt.__version__}"


def device() -> str:
    """Returns the GPU's name and compute capability: they decide whether an engine fits.

    Raises:
        BackendError: CUDA does not answer.
    """
    found = cuda.gpu()
    return f"{found.name}, compute capability {found.compute_capability}"


def build_engine(bundle: Bundle, *, rebuild: bool = False, progress: Progress | None = None) -> BuiltEngine:
    """Builds the engine of the bundle's chosen candidate into `engines/`, or finds the one that is there.

    Args:
        bundle: any whose target names this backend.
        rebuild: build even where an engine is there that fits.
        progress: called with (phases done, all phases known so far), from TensorRT's threads.

    Raises:
        SettingsError: the target is for another compute capability, or has a wrong option.
        ArtifactError: an engine is there that the bundle does not vouch for; or the network breaks its contract.
        BackendError: TensorRT cannot build it, or memory is too short.
        EdgexferError: the bundle's folder cannot be written.
    """
    options, typing, key = _plan(bundle)

    def compiled() -> Compiled:
        known = read_timing_cache(bundle, key)
        return compile_engine(bundle, typing, options, timing_cache=known, progress=progress)

    return keep_or_build(bundle, key, compiled, device=device(), rebuild=rebuild)


def open_session(bundle: Bundle, *, threads: int | None) -> TensorrtSession:  # noqa: ARG001 - part of the contract
    """Opens the engine of the bundle's chosen candidate; builds it where there is none that fits.

    Raises:
        As `build_engine`; and BackendError where TensorRT refuses the engine.
    """
    options, _, key = _plan(bundle)
    serialized = load_engine(bundle, key)
    if serialized is None:
        built = build_engine(bundle)
        log.info("%s; built in %.1f s", built.reason, built.build_seconds)
        serialized = load_engine(bundle, key)
    if serialized is None:
        raise ArtifactError(f"the engine of {bundle.folder} was removed while it was opened", rebuild_hint(bundle))
    return open_engine(bundle, serialized, options.max_batch)


def _plan(bundle: Bundle) -> tuple[Options, api.Typing, EngineKey]:
    import tensorrt as trt

    options = read_options(bundle.target)
    gpu = cuda.gpu()
    _check_host(bundle, gpu)
    typing = api.typing_of(trt, bundle)
    told: dict[str, Any] = {
        "batch": f"1 to {options.max_batch}",
        "layer types": "of the file" if typing.strong else "+".join(("FP32", *typing.builder_flags)),
        "workspace_mib": options.workspace_mib,
    }
    if options.sparse_weights:  # else unnamed, so that engines which were built before it was an option still fit
        told["sparse_weights"] = True
    return (
        options,
        typing,
        EngineKey(
            bundle.model_sha256,
            bundle.precision,
            engine_version(),
            gpu.name,
            gpu.compute_capability,
            tuple((name, str(value)) for name, value in told.items()),
        ),
    )


def _check_host(bundle: Bundle, gpu: cuda.Gpu) -> None:
    expected = bundle.target.host.get("compute_capability")
    if expected is not None and expected != gpu.compute_capability:
        raise SettingsError(
            f"wrong compute capability: this machine has {gpu.compute_capability} ({gpu.name}), target "
            f"'{bundle.target.name}' is for {expected}",
            "`edgexfer targets` lists profiles: export for one that fits this machine, or build on that device",
        )
