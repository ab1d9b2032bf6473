"""Inference engines, one module each, found by name. Two seams: the module and the Session it opens.

A backend is a module `edgexfer/backends/<name>.py`, or an entry point of the group
`edgexfer.backends` in any installed package, with

    missing() -> str | None                        why it cannot run here ("" hint inside), or None
    open_session(bundle, *, threads) -> Session    opens the bundle's model on this machine
    engine_version() -> str                        such as "onnxruntime 1.31.1"

One whose engine is compiled on the machine that runs it is an EngineBuilder and offers two more. Its `open_session`
opens the engine that is there; where none fits it builds one, or compiles in memory where that is a matter of seconds.

    build_engine(bundle, *, rebuild, progress) -> BuiltEngine
    device() -> str                                such as "Orin, compute capability 8.7"

One that can tell the time of each layer is a LayerTimer, and serves where channels are removed for their latency.

    time_layers(bundle, pixels, *, threads, calls) -> tuple[LayerTime, ...]
"""

from __future__ import annotations

import importlib
import platform
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import Bundle
from edgexfer.core.cpu import cpu_device
from edgexfer.core.engines import BuiltEngine
from edgexfer.core.errors import MissingPartError, SettingsError, did_you_mean
from edgexfer.core.layer_times import LayerTime
from edgexfer.core.target import Target
from edgexfer.core.threads import Progress

BUILT_IN = ("ort", "openvino", "tensorrt", "fake")


class Session(Protocol):
    """A model open on this machine. `run` may be called from several threads; close it when done."""

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs uint8 [N, H, W, 3] RGB pixels, N >= 1; returns float32 [N, classes] probabilities."""
        ...

    def close(self) -> None:
        """Frees what the engine holds. May be called twice."""
        ...


class Backend(Protocol):
    """What a backend module offers."""

    def missing(self) -> str | None:
        """Returns what is not installed here (and the command that installs it), or None."""
        ...

    def open_session(self, bundle: Bundle, *, threads: int | None) -> Session:
        """Opens the bundle's model. `threads` is None for the engine's own choice."""
        ...

    def engine_version(self) -> str:
        """Returns name and version of the engine."""
        ...


class EngineBuilder(Backend, Protocol):
    """A backend that compiles `bundle.model` for this machine before it can run it."""

    def build_engine(self, bundle: Bundle, *, rebuild: bool = False, progress: Progress | None = None) -> BuiltEngine:
        """Builds the engine of the bundle's chosen candidate into `engines/`, or finds the one that is there.

        Args:
            bundle: any whose target names this backend, as its own or as a rival.
            rebuild: build even where an engine is there that fits.
            progress: called with (phases done, all phases known so far), from the thread that builds.
        """
        ...

    def device(self) -> str:
        """Returns what decides whether an engine fits: the accelerator's name and compute capability, or the CPU."""
        ...


class LayerTimer(Backend, Protocol):
    """A backend whose engine can say how long each layer of a model takes."""

    def time_layers(
        self, bundle: Bundle, pixels: NDArray[np.uint8], *, threads: int | None, calls: int
    ) -> tuple[LayerTime, ...]:
        """Opens the bundle's model, runs it and returns the time of each layer, in the order in which they run.

        Args:
            bundle: any that the backend opens.
            pixels: uint8 [1, H, W, 3].
            threads: of one inference; None for the engine's own choice.
            calls: that count, after some that do not.
        """
        ...


def missing_here(name: str) -> str | None:
    """Returns why the backend `name` cannot run on this machine, None where it can; an unknown one cannot."""
    try:
        return find_backend(name).missing()
    except SettingsError:
        return f"{name} is not on this machine"


def builder_of(backend: Backend) -> EngineBuilder | None:
    """Returns the backend as one that builds engines, None where there is nothing to build."""
    return cast("EngineBuilder", backend) if hasattr(backend, "build_engine") else None


def device_of(backend: Backend) -> str:
    """Returns what decides which engine is the best here: the builder's device, or the CPU."""
    builder = builder_of(backend)
    return cpu_device() if builder is None else builder.device()


def layer_timer_of(backend: Backend) -> LayerTimer | None:
    """Returns the backend as one that times layers, None where its engine does not say."""
    return cast("LayerTimer", backend) if hasattr(backend, "time_layers") else None


def why_no_layer_timer(target: Target, name: str | None = None) -> str:
    """Returns why layers cannot be timed here as the target would run them; "" where they can.

    Args:
        target: what they would run on.
        name: of the backend that would run them; None for the target's own.
    """
    name = name or target.backend
    if missing := missing_here(name):
        return missing
    machine = target.host.get("machine", platform.machine())
    if machine != platform.machine():
        return f"the target is {machine}, this machine is {platform.machine()}"
    if layer_timer_of(find_backend(name)) is None:
        return f"{name} does not say how long a layer takes"
    return ""


def check_layer_timer(target: Target) -> None:
    """Raises MissingPartError where layers cannot be timed here as the target would run them."""
    if reason := why_no_layer_timer(target):
        raise MissingPartError(
            f"latency= cannot be measured for {target.name} here: {reason}",
            "prune by what can be counted anywhere, such as --prune macs=0.5, or run this on the device itself",
        )


def find_backend(name: str) -> Backend:
    """Imports the backend `name`: built in, or from an entry point of the group `edgexfer.backends`.

    Raises:
        SettingsError: there is no such backend ("did you mean").
    """
    if name in BUILT_IN:
        return importlib.import_module(f"edgexfer.backends.{name}")
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and rarely needed

    outside = {point.name: point for point in entry_points(group="edgexfer.backends")}
    if name in outside:
        backend: Backend = outside[name].load()
        return backend
    raise SettingsError(f"unknown backend '{name}'", did_you_mean(name, [*BUILT_IN, *outside]))
