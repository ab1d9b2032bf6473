"""Figures: raw values of a bundle in, every metric that is one number out. What a reviewer of a baseline sees.

`accept.py` writes them into the file, and who reads it compares them with what its raw values give (baseline.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgexfer.core.bundle import Bundle
from edgexfer.gate.judge.answers import answers_of
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.turns import Blocks
from edgexfer.gate.metrics import METRICS, Metric, Started

_DIGITS = 6


def figures_of(
    calls: Blocks,
    ticks: Blocks,
    evaluation: Evaluation | None,
    started: Sequence[Started],
    watts: Sequence[float],
    *,
    bundle: Bundle | None = None,
) -> dict[str, float | None]:
    """Returns each figure in its unit, to six digits; None for what was not measured.

    Args:
        calls: {step: nanoseconds [blocks, calls]}.
        ticks: {"total": nanoseconds [blocks, calls]} of the reference workload.
        evaluation: answers to images of known class; None for none.
        started: what fresh processes said of themselves.
        watts: mean of each turn; none where the device does not tell.
        bundle: for the metrics of the bundle itself, which are left out where it is None.
    """
    flat = {step: values.reshape(-1).astype(np.float64) for step, values in calls.items()}
    answers = None if evaluation is None else answers_of(evaluation)
    readings = np.array(watts, np.float64)
    given: dict[str, Callable[[Metric], Any]] = {
        "calls": lambda metric: metric.value(flat),
        "answers": lambda metric: None if answers is None else metric.value(answers),
        "process": lambda metric: np.median([metric.value(one) for one in started]) if started else None,
        "power": lambda metric: metric.value(readings) if len(readings) else None,
    }
    if bundle is not None:
        given["bundle"] = lambda metric: metric.value(bundle)
    found = {name: given[metric.of](metric) for name, metric in METRICS.items() if metric.of in given}
    found["images"] = None if evaluation is None else len(evaluation.images)
    found["calls"] = calls["total"].size
    found["workload_p50_ms"] = float(np.median(ticks["total"])) / 1e6
    return {name: None if value is None else float(f"{float(value):.{_DIGITS}g}") for name, value in found.items()}
