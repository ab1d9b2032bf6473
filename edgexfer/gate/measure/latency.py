"""Latency: every sample of how long single images took, and on what machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgexfer.gate.measure.record import Subject, to_record
from edgexfer.gate.metrics import Started

STEPS = ("decode", "resize", "inference", "total")
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Latency:
    """How long a bundle took for single images on this machine.

    Attributes:
        subject: what was measured, and with what.
        images: what the images were, in words.
        samples_ns: raw nanoseconds of each call, in order, for each of STEPS.
        warmup: calls before the first sample.
        threads: of one inference; None for the engine's own choice.
        batch: images per call.
        warnings: why the figures are not to be trusted, in sentences.
        host: see edgexfer/gate/machine/host.py.
        started: how long fresh processes took to open the bundle and predict, and how much memory they held; empty
            where none were started.
    """

    subject: Subject
    images: str
    samples_ns: dict[str, tuple[int, ...]]
    warmup: int
    threads: int | None = None
    batch: int = 1
    warnings: tuple[str, ...] = ()
    host: dict[str, Any] = field(default_factory=dict)
    started: tuple[Started, ...] = ()

    def percentile(self, step: str, q: float) -> float:
        """Returns the q-th percentile (0 to 100) of `step` in nanoseconds, interpolated linearly."""
        return float(np.percentile(np.array(self.samples_ns[step]), q))

    def to_json(self) -> dict[str, Any]:
        """Returns the record that `bench --json` writes."""
        figures: dict[str, Any] = {step: self._figures(step) for step in self.samples_ns}
        if self.started:
            figures["load_ms"] = self.load_ms
            figures["peak_memory_mib"] = self.peak_memory_mib
        return to_record("latency", self, figures)

    @property
    def load_ms(self) -> float:
        """Median of `started`: from opening the bundle to the end of the first prediction, in milliseconds."""
        return float(np.median([process.load_ms for process in self.started]))

    @property
    def peak_memory_mib(self) -> float:
        """Median of `started`: the most memory that the process held in RAM, in MiB."""
        return float(np.median([process.peak_memory_mib for process in self.started]))

    def _figures(self, step: str) -> dict[str, float]:
        figures = {f"p{q}_ms": self.percentile(step, q) / 1e6 for q in PERCENTILES}
        return {"calls": len(self.samples_ns[step]), **figures}
