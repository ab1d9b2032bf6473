"""Turn by turn: a limit on latency and the samples so far in, a verdict out, or the wish for more samples.

A limit is broken where the whole confidence interval of the change lies beyond it, and held where the whole interval
lies within. Anything between wants more samples (a sequential test of two one-sided hypotheses; Schuirmann 1987,
"A comparison of the two one-sided tests procedure and the power approach"). So neither noise nor patience decides.
"""

from __future__ import annotations

from dataclasses import replace

from edgexfer.gate.judge.interval import CONFIDENCE, Interval, alone, ratio
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.verdict import Verdict, outcome_of
from edgexfer.gate.measure.turns import Blocks
from edgexfer.gate.words import change_in_words, value_in_words

LEAST_BLOCKS = 24
"""Fewer blocks have no interval worth the name."""


def judge_turns(limit: Limit, candidate: Blocks, reference: Blocks | None = None, *, seed: int = 0) -> Verdict:
    """Judges one limit by what has been measured so far.

    Args:
        limit: on a metric of "calls"; "max" or "min" of the candidate alone, "max_regress" against the reference.
        candidate: {step: nanoseconds [blocks, calls]}.
        reference: the same, measured in turns with the candidate; needed for "max_regress".
        seed: of the bootstrap.

    Returns:
        "inconclusive" where the interval still holds the limit: more samples may decide.
    """
    blocks, calls = candidate["total"].shape
    evidence = {"blocks": blocks, "calls": blocks * calls, "confidence": CONFIDENCE}
    if limit.kind == "max_regress" and reference is not None:
        return _against(limit, candidate, reference, seed, evidence)
    found = alone(candidate, limit.of.value, seed=seed)
    outcome = outcome_of(found.low, found.high, limit.value, lower=limit.kind == "max")
    if too_few(limit, candidate):
        outcome = "inconclusive"
    verdict = Verdict(limit, outcome, "", found.value, low=found.low, high=found.high, evidence=evidence)
    said = f"{value_in_words(limit.of, found.value)} ({_confidence()}: {value_in_words(limit.of, found.low)} to "
    return _with_reason(verdict, f"{said}{value_in_words(limit.of, found.high)})", candidate)


def _against(
    limit: Limit, candidate: Blocks, reference: Blocks, seed: int, evidence: dict[str, float | int]
) -> Verdict:
    metric = limit.of
    found = ratio(candidate, reference, metric.value, seed=seed)
    base = alone_value(reference, limit)
    scale = 1.0 if limit.relative else base
    change = Interval(*(scale * (end - 1) for end in (found.value, found.low, found.high)))
    worse = (change.low, change.high) if metric.better == "lower" else (-change.high, -change.low)
    blocks = len(candidate["total"])
    outcome = "inconclusive" if too_few(limit, candidate) else outcome_of(*worse, limit.value, lower=True)
    verdict = Verdict(
        limit,
        outcome,
        "",
        alone_value(candidate, limit),
        base,
        change.value,
        change.low,
        change.high,
        {**evidence, "ratio": found.value, "ratio_low": found.low, "ratio_high": found.high},
    )
    return _with_reason(verdict, f"{change_in_words(verdict)} in {blocks} turns", candidate)


def alone_value(side: Blocks, limit: Limit) -> float:
    """Returns the limit's metric of all calls of one side, as they were measured."""
    return float(limit.of.value({step: values.reshape(-1).astype(float) for step, values in side.items()}))


def too_few(limit: Limit, samples: Blocks) -> str:
    """Returns why the samples say nothing of the limit's metric, in words; "" where there are enough."""
    blocks, calls = samples["total"].shape
    if blocks < LEAST_BLOCKS:
        return f"only {blocks} turns were measured, {LEAST_BLOCKS} are the least"
    if blocks * calls < limit.of.least_calls:
        return f"only {blocks * calls} calls were measured, {limit.metric} wants {limit.of.least_calls}"
    return ""


def _with_reason(verdict: Verdict, said: str, samples: Blocks) -> Verdict:
    if verdict.outcome != "inconclusive":
        return replace(verdict, reason=said)
    why = too_few(verdict.limit, samples) or "the limit lies within what noise allows"
    return replace(verdict, reason=f"{said}: {why}; measure longer with --seconds, or on a quieter machine")


def _confidence() -> str:
    return f"{100 * CONFIDENCE:g} % confidence"
