"""Fake: a backend without an engine, for tests of gates and tools on any machine.

It never reads `model.onnx`. The class is the hue of the image's mean colour: with m the mean red, green
and blue between 0 and 1, the logit of class k of C is the sum over channel j of 8 * m[j] * cos(2 pi (j/3 - k/C)),
and the probabilities are their softmax. So with three classes red is class 0, green 1 and blue 2.

Options of the target: latency_ms, how long one image takes at least (default 0; a batch takes as many times that).

A FakeSession that is made by hand may be given a `wait` of its own: time is then what that says it is, so that a
thousand measurements on a noisy machine can be played through in minutes (benchmarks/gate_power.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import BackendError, SettingsError
from edgexfer.core.target import options_for

_GAIN = 8.0


@dataclass(frozen=True)
class _Options:
    latency_ms: float = 0.0


def missing() -> str | None:
    """Returns None: there is nothing to install."""
    return None


def engine_version() -> str:
    """Returns name and version."""
    return "fake 1"


def open_session(bundle: Bundle, *, threads: int | None) -> FakeSession:  # noqa: ARG001 - part of the contract
    """Opens the bundle.

    Raises:
        SettingsError: an unknown option of the target, or a latency below 0.
    """
    target = bundle.target
    options = options_for(target, "fake", _Options)
    if options.latency_ms < 0:
        raise SettingsError(f"latency_ms of target '{target.name}' is {options.latency_ms}, expected 0 or more")
    size = (bundle.preprocess.height, bundle.preprocess.width)
    return FakeSession(size, len(bundle.labels), options.latency_ms / 1e3)


class FakeSession:
    """Colour instead of a network. Safe to call from several threads."""

    def __init__(
        self, size: tuple[int, int], classes: int, latency_s: float, wait: Callable[[float], None] | None = None
    ) -> None:
        """Opens a session.

        Args:
            size: height and width of its images.
            classes: how many there are.
            latency_s: how long one image takes, in seconds.
            wait: lets so many seconds pass; None sleeps for what the computation has left of them.
        """
        channel, label = np.arange(3)[:, None] / 3, np.arange(classes)[None, :] / classes
        self._weights = _GAIN * np.cos(2 * np.pi * (channel - label))
        self._shape = (*size, 3)
        self._latency_s = latency_s
        self._wait = wait
        self._open = True

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs uint8 [N, H, W, 3]; returns float32 [N, classes].

        Raises:
            BackendError: closed, or pixels of another shape or dtype.
        """
        started = time.perf_counter()
        if not self._open:
            raise BackendError("the session is closed", "load the bundle again")
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != self._shape:
            raise BackendError(f"got {pixels.dtype} {list(pixels.shape)}, expected uint8 [N, {str(self._shape)[1:-1]}]")
        logits = pixels.mean(axis=(1, 2)) / 255 @ self._weights
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        if self._wait is not None:
            self._wait(self._latency_s * len(pixels))
            return probabilities
        rest = self._latency_s * len(pixels) - (time.perf_counter() - started)
        if rest > 0:
            time.sleep(rest)
        return probabilities

    def close(self) -> None:
        """Marks the session as closed. May be called twice."""
        self._open = False
