"""Stored: the candidate against the samples of a baseline's file, where the old bundle itself is not at hand.

Both were measured in turns with the reference workload, each on its own day. A call counts in units of the workload's
median, so that a machine that is slower today is slower on both sides:

    ratio = (candidate / workload, now) / (baseline / workload, then)

What two runs of one bundle still differ by after that is no regression. `EXTRA` is what they were seen to differ by,
and is added to the limit; the verdict says so. To see less, give the old bundle itself: `--baseline BUNDLE`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgexfer.gate.judge.baseline import Baseline
from edgexfer.gate.judge.interval import CONFIDENCE, drift, ratio_in_units
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.stability import MOST_DRIFT
from edgexfer.gate.judge.turn_by_turn import LEAST_BLOCKS, alone_value
from edgexfer.gate.judge.verdict import Outcome, Verdict, outcome_of
from edgexfer.gate.measure.turns import Blocks
from edgexfer.gate.measure.workload import WORKLOAD

EXTRA = 0.10
"""Of the reference. Medians of INT8 bundles in units of the workload, on a cloud machine with two cores: 7 steady runs
lay within 6 % of each other, and runs that a neighbour slowed by up to 48 % followed within 8 %."""
EXTRA_OF = {
    "latency_p95_ms": 0.25,
    "inference_p95_ms": 0.25,
    "latency_p99_ms": 0.50,
    "load_ms": 0.50,
    "peak_memory_mib": 0.05,
}
"""Tails and load times are made by what else the machine does, which the workload's median does not know: in the same
steady runs p95 lay within 15 % and p99 within 49 %. Peak memory of one bundle came out up to 3 % apart."""


def extra_of(limit: Limit) -> float:
    """Returns how much is added to a limit against a stored baseline, as a fraction of the reference."""
    return EXTRA_OF.get(limit.metric, EXTRA)


def mismatch(baseline: Baseline, *, machine_class: str, threads: int | None, images: str) -> str | None:
    """Returns why today's times cannot be compared with those of the baseline, in words; None where they can.

    Args:
        baseline: what was accepted.
        machine_class: of this machine.
        threads: of one inference today.
        images: what is measured with today, in words.
    """
    if reason := foreign(baseline, machine_class=machine_class, threads=threads):
        return reason
    if baseline.workload_name != WORKLOAD:
        return f"the baseline was measured beside workload {baseline.workload_name}, this edgexfer has {WORKLOAD}"
    if baseline.images != images:
        return f"the baseline was measured with {baseline.images}, this is with {images}"
    return None


def foreign(baseline: Baseline, *, machine_class: str, threads: int | None) -> str | None:
    """Returns why nothing that was measured on the baseline's machine compares with this one; arguments as above."""
    if baseline.machine_class != machine_class:
        return f"the baseline was measured on '{baseline.machine_class}', this is '{machine_class}'"
    if baseline.threads != threads:
        return f"the baseline was measured with {_threads(baseline.threads)}, this is with {_threads(threads)}"
    return None


def judge_stored(
    limit: Limit,
    candidate: Blocks,
    workload: Blocks,
    baseline: Baseline,
    *,
    machine_class: str,
    threads: int | None = None,
    images: str = "",
    seed: int = 0,
) -> Verdict:
    """Judges "max_regress" of a metric of "calls".

    Args:
        limit: what the metric may lose.
        candidate: {step: nanoseconds [blocks, calls]}.
        workload: {"total": nanoseconds [blocks, calls]} of the reference workload, in turns with the candidate.
        baseline: what was accepted.
        machine_class: of this machine; another one than the baseline's is inconclusive.
        threads: of one inference; likewise.
        images: what was measured with, in words; likewise.
        seed: of the bootstrap.

    Returns:
        `reference` is the baseline's figure at this machine's speed of today.
    """
    value = alone_value(candidate, limit)
    if reason := mismatch(baseline, machine_class=machine_class, threads=threads, images=images):
        return Verdict(
            limit, "inconclusive", f"{reason}: accept a baseline here with `edgexfer baseline accept`", value
        )
    then, then_workload = baseline.calls(), baseline.workload()
    blocks, blocks_then = len(candidate["total"]), len(then["total"])
    if min(blocks, blocks_then) < LEAST_BLOCKS:
        said = f"only {blocks} turns were measured and {blocks_then} are stored, {LEAST_BLOCKS} are the least"
        return Verdict(limit, "inconclusive", f"{said}: measure longer with --seconds", value)
    if (factor := drift((then, then_workload))) > MOST_DRIFT:
        said = f"the machine drifted by {factor:.2f} when the baseline was accepted (at most {MOST_DRIFT:g} is steady)"
        return Verdict(limit, "inconclusive", f"{said}: accept it again on a quiet machine", value)
    ratio = ratio_in_units((candidate, workload), (then, then_workload), limit.of.value, seed=seed)
    reference = value / ratio.value
    scale = 1.0 if limit.relative else reference
    change = [scale * (end - 1) for end in (ratio.value, ratio.low, ratio.high)]
    extra = scale * extra_of(limit)
    worse = (change[1], change[2]) if limit.of.better == "lower" else (-change[2], -change[1])
    outcome = outcome_of(*worse, limit.value + extra, lower=True)
    evidence: dict[str, Any] = {
        "stored": True,
        "blocks": blocks,
        "blocks_then": blocks_then,
        "confidence": CONFIDENCE,
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "reference_then": alone_value(then, limit),
        "workload_ms": _median_ms(workload),
        "workload_then_ms": _median_ms(then_workload),
        "extra": extra,
        "tolerance": limit.value + extra,
    }
    verdict = Verdict(
        limit,
        outcome,
        _reason(limit, change, extra, outcome),
        value,
        reference,
        change[0],
        change[1],
        change[2],
        evidence,
    )
    return acquitted(verdict, baseline)


def acquitted(verdict: Verdict, baseline: Baseline) -> Verdict:
    """Returns the verdict as far as the baseline may acquit: what was forced on an unfit machine may be too slow to."""
    if verdict.outcome != "pass" or not baseline.accepted.despite:
        return verdict
    said = f"the baseline was accepted although {'; '.join(baseline.accepted.despite)}"
    return replace(
        verdict, outcome="inconclusive", reason=f"{verdict.reason}, but {said}: accept it again on a fit machine"
    )


def _median_ms(workload: Blocks) -> float:
    return float(np.median(workload["total"])) / 1e6


def _reason(limit: Limit, change: list[float], extra: float, outcome: Outcome) -> str:
    def amount(number: float, sign: str = "+") -> str:
        return f"{100 * number:{sign}.1f} %" if limit.relative else f"{number:{sign}.3g} {limit.of.unit}"

    said = (
        f"{amount(change[0])} against the stored baseline at this machine's speed of today ({100 * CONFIDENCE:g} % "
        f"confidence: {amount(change[1])} to {amount(change[2])}; the limit of {amount(limit.value, '')} and "
        f"{amount(extra, '')} for two different runs)"
    )
    if outcome == "inconclusive":
        return f"{said}: measure longer with --seconds, or against the old bundle itself with --baseline BUNDLE"
    return said


def _threads(number: int | None) -> str:
    if number is None:
        return "threads as the engine chooses"
    return "1 thread" if number == 1 else f"{number} threads"
