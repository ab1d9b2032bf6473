"""Compare: two bundles, one machine, one process, taking turns; the ratio of their latencies and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.core.bundle import Bundle
from edgexfer.gate.judge.interval import ratio
from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.machine.host import host_facts
from edgexfer.gate.measure.latency import Latency
from edgexfer.gate.measure.record import FORMAT_VERSIONS, subject_of
from edgexfer.gate.measure.timing import Progress, check_seconds, doubts, encoded_images
from edgexfer.gate.measure.turns import ROUND_SECONDS, Turns, bundle_side
from edgexfer.runtime.classifier import load

SECONDS = 10.0
CONFIDENCE = 95  # percent
_LEAST_BLOCKS = 8


@dataclass(frozen=True)
class Comparison:
    """How the latency of `bundle` compares with that of `against`.

    Attributes:
        bundle: its samples, block after block.
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
            "format_version": FORMAT_VERSIONS["comparison"],
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
    against_backend: str | None = None,
    step: str = "inference",
    progress: Progress | None = None,
) -> Comparison:
    """Measures two bundles in turns.

    Args:
        bundle: the one in question.
        against: the one it is compared with.
        threads: CPU threads of one inference, for both.
        seconds: how long to measure, opening and warm-up included, more than 0; at least 8 blocks are made.
        images: a folder with images for both; None for the reference pixels of `bundle` as JPEGs of 640 x 480.
        backend: the engine, for both; None for the one that `load` takes for each.
        against_backend: the engine for `against`, where it is another one than that of `bundle`.
        step: which of STEPS is compared.
        progress: called with (seconds of measuring, all of them).

    Raises:
        SettingsError: seconds out of range.
        DataError: no image in the folder that can be decoded.
        EdgexferError: what `load` raises.
    """
    check_seconds(seconds)
    engines = (backend, against_backend or backend)
    with (
        load(bundle, backend=engines[0], threads=threads) as a,
        load(against, backend=engines[1], threads=threads) as b,
    ):
        subjects = tuple(subject_of(classifier) for classifier in (a, b))
        bundles = (a.bundle, b.bundle)
    files, description = encoded_images(bundles[0], images)
    host = host_facts(engine=subjects[0].engine, threads=threads)
    openers = [
        partial(bundle_side, one, files, backend=engine, threads=threads)
        for one, engine in zip(bundles, engines, strict=True)
    ]
    turns = Turns(openers, threads=threads)
    while turns.seconds < seconds or len(turns.sides[0]["total"]) < _LEAST_BLOCKS:
        turns.more(min(ROUND_SECONDS, seconds))
        if progress is not None:
            progress(min(turns.seconds, seconds), seconds)
    after = device_state()
    sides = turns.sides
    flat = [{step: tuple(values.reshape(-1).tolist()) for step, values in side.items()} for side in sides]
    first, second = (
        Latency(
            subject=subject,
            images=description,
            samples_ns=samples,
            warmup=turns.warmup[number],
            threads=threads,
            warnings=doubts(samples, host, after, steady=turns.steady, target=opened.target),
            host={**host, "engine": subject.engine, "after": after},
        )
        for number, (subject, opened, samples) in enumerate(zip(subjects, bundles, flat, strict=True))
    )
    found = ratio(sides[0], sides[1], lambda calls: float(np.median(calls[step])), confidence=CONFIDENCE / 100)
    return Comparison(first, second, step, found.value, found.low, found.high)
