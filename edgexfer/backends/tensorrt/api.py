"""Everything in which TensorRT 8.6, 10 and 11 differ, in one place, told apart by names and never by numbers.

|                   | 8.6                | 10                 | 11                        |
|-------------------|--------------------|--------------------|---------------------------|
| types of layers   | builder flags      | builder flags, or the file (strongly typed) | always the file |
| EXPLICIT_BATCH    | must be set        | ignored            | gone                      |
| node of an error  | its number         | its name           | its name                  |
| progress, Ctrl-C  | -                  | IProgressMonitor   | IProgressMonitor          |

The values of flags move between versions: a name that may be absent is asked for with hasattr or getattr, here and
nowhere else. tests/backends/tensorrt holds every name in use to what each version has.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from edgexfer.backends.tensorrt.onnx_nodes import node_at
from edgexfer.backends.tensorrt.watch import Watch
from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import BackendError

log = logging.getLogger(__name__)

OLDEST = (8, 6)
_FLAGS = {
    "float32": (),
    "float16": ("FP16",),
    "int8": ("FP16", "INT8"),
    "int8-depthwise-float16": ("FP16", "INT8"),
}
_KEPT_MESSAGES = 50
_lock = threading.Lock()


@dataclass(frozen=True)
class Typing:
    """Who says in which type a layer computes.

    Attributes:
        strong: the file does; otherwise TensorRT chooses among float32 and what `builder_flags` allow.
        network_flags: names of NetworkDefinitionCreationFlag.
        builder_flags: names of BuilderFlag.
    """

    strong: bool
    network_flags: tuple[str, ...]
    builder_flags: tuple[str, ...]


@dataclass
class Messages:
    """What TensorRT said, from whichever thread; errors are kept for the exception that follows them."""

    errors: list[str] = field(default_factory=list)
    warnings: set[str] = field(default_factory=set)

    def first_error(self) -> str:
        """Returns the first error in one line: those that follow are its consequences."""
        return self.errors[0] if self.errors else "it does not say why"

    def about_memory(self) -> bool:
        """Returns whether TensorRT or CUDA ran out of memory."""
        text = " ".join(self.errors).lower().replace(" ", "")
        return any(words in text for words in ("outofmemory", "insufficientmemory", "couldnotbeallocated"))


_listeners: list[Messages] = []


def version_of(trt: Any) -> tuple[int, ...]:
    """Returns the version's numbers, such as (10, 3, 0)."""
    return tuple(int(part) for part in str(trt.__version__).split(".")[:3] if part.isdigit())


def typing_of(trt: Any, bundle: Bundle) -> Typing:
    """Returns how this TensorRT gets the types of the bundle's chosen candidate.

    Raises:
        BackendError: the types are written into the file, and this TensorRT cannot read them there.
    """
    target, precision = bundle.target, bundle.precision
    explicit_batch = ("EXPLICIT_BATCH",) if hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH") else ()
    if not hasattr(trt.BuilderFlag, "FP16"):
        if target.float_type == "float32" and precision != "float32":
            log.warning(
                "TensorRT %s takes every type from the file, and in this one layers outside INT8 are float32: they run "
                'in FP32. Export for a target with float_type = "float16" to have them in FP16',
                trt.__version__,
            )
        return Typing(True, explicit_batch, ())
    if target.float_type == "float32":
        return Typing(False, explicit_batch, _FLAGS[precision])
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        raise BackendError(
            f"TensorRT {trt.__version__} chooses types itself, and target '{target.name}' has them written into the "
            'file (float_type = "float16")',
            'export for a target with float_type = "float32", or use TensorRT 10 or later',
        )
    return Typing(True, (*explicit_batch, "STRONGLY_TYPED"), ())


def network_bits(trt: Any, typing: Typing) -> int:
    """Returns the flags for `create_network` as the bits that this version gives them."""
    bits = 0
    for name in typing.network_flags:
        bits |= 1 << int(getattr(trt.NetworkDefinitionCreationFlag, name))
    return bits


def set_builder_flags(trt: Any, config: Any, typing: Typing) -> None:
    """Allows the builder what `typing` names."""
    for name in typing.builder_flags:
        config.set_flag(getattr(trt.BuilderFlag, name))


@contextmanager
def collected() -> Iterator[Messages]:
    """Collects what TensorRT says until the block ends; what others do meanwhile in this process is among it."""
    messages = Messages()
    with _lock:
        _listeners.append(messages)
    try:
        yield messages
    finally:
        with _lock:
            _listeners[:] = [other for other in _listeners if other is not messages]


@cache
def logger_of(trt: Any) -> Any:
    """Returns the process's one ILogger: it hands on to `logging`, warnings once a block of `collected`, else as DEBUG.

    TensorRT keeps the first logger that it is given and calls it for as long as the process lives, whichever ones it is
    given later (TensorRT#1475, #4134): so there is but one, and it is never freed.
    """
    severity_of = trt.ILogger.Severity
    errors, warning = (severity_of.INTERNAL_ERROR, severity_of.ERROR), severity_of.WARNING

    class Logger(trt.ILogger):  # type: ignore[misc] # known at run time alone
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            serious = severity in errors
            # A build says thousands of things, and an inference must not pay for what nobody reads.
            if not serious and severity != warning and not log.isEnabledFor(logging.DEBUG):
                return
            line = " ".join(msg.split())
            with _lock:
                listeners = list(_listeners)
            level = logging.DEBUG
            for messages in listeners:
                if serious and len(messages.errors) < _KEPT_MESSAGES:
                    messages.errors.append(line)
                elif severity == warning and line not in messages.warnings:
                    messages.warnings.add(line)
                    level = logging.WARNING
            log.log(level, "TensorRT: %s", line)

    return Logger()


def watch_build(trt: Any, config: Any, watch: Watch) -> bool:
    """Lets `watch` follow the build and stop it; returns False where this TensorRT has no IProgressMonitor."""
    if not hasattr(trt, "IProgressMonitor"):
        return False

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc] # known at run time alone
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            log.debug("TensorRT: %s (in %s): %d steps", phase_name, parent_phase, num_steps)
            watch.phase_started()

        def step_complete(self, phase_name: str, step: int) -> bool:  # noqa: ARG002 - TensorRT's signature
            return watch.goes_on()

        def phase_finish(self, phase_name: str) -> None:  # noqa: ARG002 - TensorRT's signature
            watch.phase_finished()

    config.progress_monitor = Monitor()
    return True


def parser_error(parser: Any, model: bytes) -> str:
    """Returns the parser's first error in one line, with the node's name.

    Args:
        parser: an OnnxParser that has refused `model`.
        model: the ONNX file, from which the name is read where TensorRT only knows a number, or no name was given.
    """
    error = parser.get_error(0)
    described = " ".join(str(error.desc()).split())
    operator, name = node_at(model, error.node())
    if hasattr(error, "node_name"):
        operator, name = error.node_operator() or operator, error.node_name() or name
    if not (operator or name):
        return described
    return f"node '{name}' ({operator}): {described}"
