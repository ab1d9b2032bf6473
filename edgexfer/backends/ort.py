"""ONNX Runtime on the CPU: runs `model.onnx` of any bundle; nothing is built beforehand.

A bundle made for another engine opens too: that is how its accuracy is simulated where that engine is not.

Options of the target, read where its backend is "ort":
    threads          of one inference; 0 is ONNX Runtime's own choice (one per physical core)
    allow_spinning   whether idle threads wait busily (faster) or sleep (less power); true is the default
"""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import Bundle
from edgexfer.core.cpu import saturates
from edgexfer.core.errors import ArtifactError, BackendError, SettingsError
from edgexfer.core.layer_times import LayerTime
from edgexfer.core.target import MOST_THREADS, options_for

_INSTALL = "pip install 'edgexfer[cpu]'"
_UNCOUNTED = 5  # calls until caches and branch predictors have settled
_ERRORS_OFF = 4  # they arrive as exceptions; on stderr they would be said twice


@dataclass(frozen=True)
class _Options:
    threads: int = 0
    allow_spinning: bool = True


def missing() -> str | None:
    """Returns what is not installed here and the command that installs it, or None."""
    if importlib.util.find_spec("onnxruntime") is None:
        return f"onnxruntime is not installed; {_INSTALL}"
    return None


def engine_version() -> str:
    """Returns name and version of the engine."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def open_session(bundle: Bundle, *, threads: int | None) -> OrtSession:
    """Opens the bundle's model.

    Args:
        bundle: any bundle, whatever backend its target names.
        threads: of one inference; None for what the target says.

    Raises:
        SettingsError: an unknown or wrong option of the target.
        BackendError: ONNX Runtime refuses the file.
        ArtifactError: the model does not take pixels and give one probability for each label.
    """
    import onnxruntime

    session = _opened(onnxruntime, bundle, _session_options(onnxruntime, bundle, threads))
    return OrtSession(session, bundle.model)


def time_layers(bundle: Bundle, pixels: NDArray[np.uint8], *, threads: int | None, calls: int) -> tuple[LayerTime, ...]:
    """Returns how long each layer of the bundle's model takes, as ONNX Runtime runs and fuses it.

    Args:
        bundle: any bundle.
        pixels: uint8 [1, H, W, 3].
        threads: of one inference; None for what the target says.
        calls: that count.

    Raises:
        EdgexferError: what `open_session` raises.
    """
    import tempfile  # noqa: PLC0415 - opening a bundle needs none

    import onnxruntime

    settings = _session_options(onnxruntime, bundle, threads)
    settings.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        settings.profile_file_prefix = str(Path(folder) / "layers")
        session = _opened(onnxruntime, bundle, settings)
        entry = session.get_inputs()[0].name
        for _ in range(_UNCOUNTED + calls):
            session.run(None, {entry: pixels})
        events = json.loads(Path(session.end_profiling()).read_bytes())
    found: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            _, samples = found.setdefault(event["name"], (event["args"], []))
            samples.append(int(event["dur"]) * 1000)
    return tuple(
        LayerTime(
            name, _elements(args, "input_type_shape"), _elements(args, "output_type_shape"), tuple(ns[_UNCOUNTED:])
        )
        for name, (args, ns) in found.items()
    )


def _elements(args: dict[str, Any], key: str) -> int:
    tensors = args.get(key) or [{}]
    return math.prod(next(iter(tensors[0].values()), [0]))


def _opened(onnxruntime: Any, bundle: Bundle, settings: Any) -> Any:
    model = bundle.read()
    try:
        # Its second try would print to standard output, and be the same as the first.
        session = onnxruntime.InferenceSession(
            model, settings, providers=["CPUExecutionProvider"], enable_fallback=False
        )
    except Exception as error:  # one class per status, without a common one
        raise BackendError(
            f"{engine_version()} refuses {bundle.model}: {_one_line(error)}",
            "install a newer onnxruntime, or export the bundle for an older opset",
        ) from error
    session._model_bytes = None  # the file, kept as long as the session lives, for a change of providers alone
    _check_contract(session, bundle)
    return session


class OrtSession:
    """A model open in ONNX Runtime. `run` may be called from several threads."""

    def __init__(self, session: Any, model: Path) -> None:
        self._session = session
        self._model = model
        self._input = session.get_inputs()[0].name
        self._outputs = [session.get_outputs()[0].name]

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs uint8 [N, H, W, 3]; returns float32 [N, classes].

        Raises:
            BackendError: closed, pixels of another shape or dtype, or the engine failed.
        """
        session = self._session  # another thread may close meanwhile
        if session is None:
            raise BackendError(f"the session of {self._model} is closed", "load the bundle again")
        try:
            probabilities: NDArray[np.float32] = session.run(self._outputs, {self._input: pixels})[0]
        except Exception as error:  # as in open_session
            found = f"{pixels.dtype} {list(pixels.shape)}"
            raise BackendError(f"{self._model} cannot run on {found}: {_one_line(error)}") from error
        return probabilities

    def close(self) -> None:
        """Frees the model once no thread runs it any more. May be called twice."""
        self._session = None


def _session_options(onnxruntime: Any, bundle: Bundle, threads: int | None) -> Any:
    target = bundle.target
    options = options_for(target, "ort", _Options)
    if not 0 <= options.threads <= MOST_THREADS:
        raise SettingsError(f"threads of target '{target.name}' is {options.threads}, expected 0 to {MOST_THREADS}")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads if threads is None else threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = _ERRORS_OFF
    if not options.allow_spinning:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if target.dialect != "ort":
        # Its quantizers run as they are written. Fused, biases become int32 in the scale of data times weights, which
        # float16 cannot hold, and weights that were left in float get 8 bits: neither happens on the engine simulated.
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
    if bundle.precision == "int8" and target.weight_bits == 8 and saturates():
        settings.add_session_config_entry("session.x64quantprecision", "1")
    return settings


def _check_contract(session: Any, bundle: Bundle) -> None:
    height, width = bundle.preprocess.height, bundle.preprocess.width
    for noun, found, dtype, wanted in (
        ("input", session.get_inputs(), "tensor(uint8)", (None, height, width, 3)),
        ("output", session.get_outputs(), "tensor(float)", (None, len(bundle.labels))),
    ):
        fits = len(found) == 1 and found[0].type == dtype and _fits(found[0].shape, wanted)
        if not fits:
            listed = ", ".join(f"{f.type} {f.shape}" for f in found)
            expected = ["N", *wanted[1:]]
            raise ArtifactError(
                f"{bundle.model} has the {noun} {listed}, expected {dtype} {expected}", "make the bundle again"
            )


def _fits(found: list[Any], wanted: tuple[int | None, ...]) -> bool:
    # A name or None in `found` is a dimension of any size; the batch must be one.
    return len(found) == len(wanted) and all(
        not isinstance(f, int) or (w is not None and f == w) for f, w in zip(found, wanted, strict=True)
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
