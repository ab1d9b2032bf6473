"""The backend meets NVIDIA's own Python bindings: meet_bindings.py BUNDLE VERSION, in a process of its own.

It runs with empty libraries in TensorRT's place (empty_libraries.c): enums, signatures and classes to be derived
from are real, but there is no Builder to be had. What was seen is printed as JSON.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import tensorrt_bindings as trt

sys.modules["tensorrt"] = trt

from edgexfer.backends import builder_of, find_backend  # noqa: E402
from edgexfer.backends.tensorrt import api  # noqa: E402
from edgexfer.backends.tensorrt.session import open_engine  # noqa: E402
from edgexfer.backends.tensorrt.watch import Watch  # noqa: E402
from edgexfer.core.bundle import open_bundle  # noqa: E402
from edgexfer.core.errors import BackendError  # noqa: E402
from tests.backends.tensorrt.extract import API, names  # noqa: E402
from tests.backends.tensorrt.machine import Machine  # noqa: E402


def main(folder: str, version: str) -> dict[str, Any]:
    bundle = open_bundle(folder)
    half = replace(bundle, target=replace(bundle.target, float_type="float16"))
    seen: dict[str, Any] = {"names": differences(version), "missing": missing_on_a_machine()}
    backend = find_backend("tensorrt")
    builder = builder_of(backend)
    assert builder is not None
    seen["engine"] = backend.engine_version()
    seen["typing"] = {
        name: (typing.network_flags, typing.builder_flags, api.network_bits(trt, typing))
        for name, typing in (("int8", api.typing_of(trt, bundle)), ("half", api.typing_of(trt, half)))
    }
    flags: list[Any] = []
    api.set_builder_flags(trt, SimpleNamespace(set_flag=flags.append), api.typing_of(trt, bundle))
    seen["flags"] = [str(flag) for flag in flags]
    seen["flags are real"] = all(isinstance(flag, trt.BuilderFlag) for flag in flags)
    seen["enums"] = [trt.DataType.UINT8.name, trt.DataType.FLOAT.name, trt.TensorIOMode.INPUT.name]
    seen |= logger_and_monitor()
    seen["build"] = refused(lambda: builder.build_engine(bundle))
    seen["open"] = refused(lambda: open_engine(bundle, b"engine", 8))
    return seen


def differences(version: str) -> list[str]:
    """Where api.json and the bindings do not agree, of what the backend may use."""
    wrong = []
    for enum in API["enums"]:
        found: Any = trt
        for part in enum.split("."):
            found = getattr(found, part)
        listed = {member for member, values in API["enums"][enum].items() if version in values}
        if listed != set(found.__members__):
            wrong.append(f"{enum}: {sorted(listed ^ set(found.__members__))}")
    for kind in API["classes"]:
        wrong += [f"{kind}.{name}" for name in names(kind, version) if not hasattr(getattr(trt, kind), name)]
    return wrong


def missing_on_a_machine() -> str | None:
    import pytest

    machine = Machine()
    machine.install(pytest.MonkeyPatch())
    sys.modules["tensorrt"] = trt  # the real one again, beside the stand-in for CUDA
    return find_backend("tensorrt").missing()


def logger_and_monitor() -> dict[str, Any]:
    counts: list[tuple[int, int]] = []
    logger = api.logger_of(trt)
    severity = trt.ILogger.Severity
    with api.collected() as messages:
        for level in (severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING, severity.INFO, severity.VERBOSE):
            logger.log(level, f"said as\n{level.name}")
    watch = Watch(lambda done, known: counts.append((done, known)))
    config = SimpleNamespace(progress_monitor=None)
    followed = api.watch_build(trt, config, watch)
    monitor: Any = config.progress_monitor
    monitor.phase_start("outer", None, 2)
    goes_on = monitor.step_complete("outer", 0)
    watch.stop()
    stopped = monitor.step_complete("outer", 1)
    monitor.phase_finish("outer")
    return {
        "errors": messages.errors,
        "warnings": sorted(messages.warnings),
        "real": [isinstance(logger, trt.ILogger), isinstance(monitor, trt.IProgressMonitor), followed],
        "steps": [goes_on, stopped],
        "counts": counts,
    }


def refused(attempt: Any) -> str:
    try:
        attempt()
    except BackendError as error:
        return str(error)
    return "not refused"


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    print(json.dumps(main(*sys.argv[1:])))
