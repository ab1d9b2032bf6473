"""Compare: two bundles, one machine, one process, taking turns; the ratio of their latencies and how sure it is.

Turns are ABBA: what drifts evenly (heat, clock, other programs) weighs on both sides alike. A turn is a burst of
calls after two that are not timed, since the other network has just emptied the caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import Bundle
from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.machine.host import host_facts
from edgexfer.gate.measure.latency import STEPS, Latency
from edgexfer.gate.measure.record import FORMAT_VERSION, subject_of
from edgexfer.gate.measure.timing import (
    Samples,
    check_seconds,
    doubts,
    encoded_images,
    quiet_collector,
    timed_call,
    warm_up,
)
from edgexfer.runtime.classifier import Classifier, load

SECONDS = 10.0
CONFIDENCE = 95  # percent
_BURST = 5
_SETTLE = 2
_LEAST_BLOCKS = 8
_RESAMPLES = 2000

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Comparison:
    """How the latency of `bundle` compares with that of `against`.

    Attributes:
        bundle: its samples; block i of an ABBA turn is samples [10 i, 10 i + 10).
        against: the same of the other one.
        step: which of STEPS the ratio is of.
        ratio: median of `bundle` / median of `against`; below 1 `bundle` is faster.
        low: lower end of the ratio's 95 % confidence interval (bootstrap over blocks).
        high: upper end of it.
    """

    bundle: Latency
    against: Latency
    step: str
    ratio: float
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        interval = f"{CONFIDENCE} % confidence: {self.low:.3f} to {self.high:.3f}"
        if self.low <= 1 <= self.high:
            return f"no difference in {self.step} time can be told (ratio {self.ratio:.3f}; {interval})"
        word = "faster" if self.ratio < 1 else "slower"
        factor = 1 / self.ratio if self.ratio < 1 else self.ratio
        return f"{factor:.2f} times {word} in {self.step} time (ratio {self.ratio:.3f}; {interval})"

    def to_json(self) -> dict[str, Any]:
        """Returns the record that `bench --against --json` writes."""
        return {
            "kind": "comparison",
            "format_version": FORMAT_VERSION,
            "step": self.step,
            "ratio": self.ratio,
            "low": self.low,
            "high": self.high,
            "sentence": self.sentence,
            "bundle": self.bundle.to_json(),
            "against": self.against.to_json(),
        }


def compare(
    bundle: str | Path | Bundle,
    against: str | Path | Bundle,
    *,
    threads: int | None = None,
    seconds: float = SECONDS,
    images: str | Path | None = None,
    backend: str | None = None,
    step: str = "inference",
    progress: Progress | None = None,
) -> Comparison:
    """Measures two bundles in turns.

    Args:
        bundle: the one in question.
        against: the one it is compared with.
        threads: CPU threads of one inference, for both.
        seconds: how long to measure after the warm-up, more than 0; at least 8 turns of each are made.
        images: a folder with images for both; None for the reference pixels of `bundle` as JPEGs of 640 x 480.
        backend: the engine, for both; None for the one each target names.
        step: which of STEPS is compared.
        progress: called with (seconds since the warm-up, all seconds).

    Raises:
        SettingsError: seconds out of range.
        DataError: no image in the folder that can be decoded.
        EdgexferError: what `load` raises.
    """
    check_seconds(seconds)
    with (
        load(bundle, backend=backend, threads=threads) as a,
        load(against, backend=backend, threads=threads) as b,
    ):
        files, description = encoded_images(a.bundle, images)
        host = host_facts(engine=subject_of(a).engine, threads=threads)
        warmups = [warm_up(classifier, files) for classifier in (a, b)]
        sides: tuple[Samples, Samples] = ({step: [] for step in STEPS}, {step: [] for step in STEPS})
        with quiet_collector():
            _take_turns((a, b), files, sides, seconds, progress)
        after = device_state()
        first, second = (
            Latency(
                subject=subject_of(classifier),
                images=description,
                samples_ns={step: tuple(values) for step, values in samples.items()},
                warmup=calls,
                threads=threads,
                warnings=doubts(samples, host, after, steady=steady, target=classifier.bundle.target),
                host={**host, "engine": subject_of(classifier).engine, "after": after},
            )
            for classifier, samples, (calls, steady) in zip((a, b), sides, warmups, strict=True)
        )
    ratio, low, high = ratio_of_medians(first.samples_ns[step], second.samples_ns[step])
    return Comparison(first, second, step, ratio, low, high)


def ratio_of_medians(
    samples: Sequence[int], against: Sequence[int], *, block: int = 2 * _BURST, seed: int = 0
) -> tuple[float, float, float]:
    """Compares two series that were measured in turns.

    Args:
        samples: nanoseconds, in order.
        against: as many of the other side.
        block: samples of each side in one ABBA turn; these are resampled together, since neighbours are alike.
        seed: of the bootstrap.

    Returns:
        median(samples) / median(against), and the ends of its 95 % confidence interval.
    """
    blocks = len(samples) // block
    sides = [np.array(side[: blocks * block], np.float64).reshape(blocks, block) for side in (samples, against)]
    chosen = np.random.default_rng(seed).integers(0, blocks, (_RESAMPLES, blocks))
    ratios = np.array([_ratio(sides[0][rows], sides[1][rows]) for rows in chosen])
    low, high = np.percentile(ratios, [(100 - CONFIDENCE) / 2, (100 + CONFIDENCE) / 2])
    return _ratio(sides[0], sides[1]), float(low), float(high)


def _ratio(samples: NDArray[np.float64], against: NDArray[np.float64]) -> float:
    return float(np.median(samples) / np.median(against))


def _take_turns(
    classifiers: tuple[Classifier, Classifier],
    files: Sequence[bytes],
    sides: tuple[Samples, Samples],
    seconds: float,
    progress: Progress | None,
) -> None:
    started, blocks, turn = time.perf_counter(), 0, 0
    while (passed := time.perf_counter() - started) < seconds or blocks < _LEAST_BLOCKS:
        if progress is not None:
            progress(min(passed, seconds), seconds)
        for order in ((0, 1), (1, 0)):  # A B, then B A; both sides of a turn see the same images
            burst = [files[(turn * _BURST + i) % len(files)] for i in range(_BURST)]
            turn += 1
            for side in order:
                unused: Samples = {step: [] for step in STEPS}
                for data in burst[:_SETTLE]:
                    timed_call(classifiers[side], data, unused)
                for data in burst:
                    timed_call(classifiers[side], data, sides[side])
        blocks += 1
