"""Started: limits on load time, peak memory and power, judged by a handful of processes or turns.

So few values have no distribution that could be assumed, and one that is far off must not decide. So intervals go by
ranks, exactly: of a ratio that of Hodges and Lehmann, from all pairs and the distribution of Mann and Whitney's U
(Hollander and Wolfe, "Nonparametric Statistical Methods", chapter 4); of one side the sign test's of its median.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import comb

import numpy as np

from edgexfer.gate.judge.interval import CONFIDENCE, Interval
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.verdict import Outcome, Verdict, outcome_of
from edgexfer.gate.metrics import Started

CONFIDENCE_ALONE = 0.95
"""Of one side's median: 9 processes are that sure without their fastest and their slowest."""


def judge_started(
    limit: Limit, candidate: Sequence[Started], reference: Sequence[Started] | None = None, *, extra: float = 0.0
) -> Verdict:
    """Judges one limit on a metric of "process".

    Args:
        limit: "max" or "min" of the candidate alone, "max_regress" against the reference.
        candidate: its processes, one or more.
        reference: those of the baseline, in turns with the candidate's; needed for "max_regress".
        extra: added to the limit as a fraction of the reference, where they were not measured in turns.
    """
    values = [float(limit.of.value(process)) for process in candidate]
    others = None if reference is None else [float(limit.of.value(process)) for process in reference]
    return judge_by_ranks(limit, values, others, "fresh processes", extra=extra)


def judge_power(
    limit: Limit, candidate: Sequence[float], reference: Sequence[float] | None = None, *, extra: float = 0.0
) -> Verdict:
    """Judges one limit on a metric of "power" by mean watts of turns; arguments as those of `judge_started`."""
    return judge_by_ranks(limit, candidate, reference, "turns", extra=extra)


def judge_by_ranks(
    limit: Limit, values: Sequence[float], others: Sequence[float] | None, noun: str, *, extra: float = 0.0
) -> Verdict:
    """Judges one limit by a handful of positive figures.

    Args:
        limit: as in `judge_started`.
        values: of the candidate.
        others: of the reference; None where there is none.
        noun: what each figure is of, such as "turns".
        extra: as in `judge_started`.
    """
    evidence: dict[str, float | int] = {"samples": len(values)}
    if not values:
        return Verdict(limit, "inconclusive", f"nothing was measured in {noun}", evidence=evidence)
    value = float(np.median(values))
    if limit.kind != "max_regress":
        found = interval_of_median(values)
        if found is None:
            return Verdict(
                limit, "inconclusive", _too_few(len(values), noun, CONFIDENCE_ALONE), value, evidence=evidence
            )
        outcome = outcome_of(found.low, found.high, limit.value, lower=limit.kind == "max")
        shown = f"{_amount(limit, value)} ({_amount(limit, found.low)} to {_amount(limit, found.high)}"
        reason = f"{shown} in {len(values)} {noun}; {_percent(CONFIDENCE_ALONE)} confidence)"
        evidence["confidence"] = CONFIDENCE_ALONE
        return Verdict(
            limit, outcome, reason + _then(outcome), value, low=found.low, high=found.high, evidence=evidence
        )
    if not others:
        return Verdict(limit, "inconclusive", f"the baseline has no {noun} to compare with", value)
    base = float(np.median(others))
    evidence["samples_before"] = len(others)
    ratio = ratio_by_ranks(values, others)
    if ratio is None:
        few = _too_few(min(len(values), len(others)), noun, CONFIDENCE)
        return Verdict(limit, "inconclusive", few, value, base, evidence=evidence)
    scale = 1.0 if limit.relative else base
    change, low, high = (scale * (end - 1) for end in (ratio.value, ratio.low, ratio.high))
    allowed = limit.value + scale * extra
    worse = (low, high) if limit.of.better == "lower" else (-high, -low)
    outcome = outcome_of(*worse, allowed, lower=True)
    wider = f"; {_change(limit, scale * extra)} are added for two different runs" if extra else ""
    reason = (
        f"{_change(limit, change)} ({_change(limit, low)} to {_change(limit, high)}: {_amount(limit, base)} before, "
        f"{_amount(limit, value)} now, in {len(values)} {noun}; {_percent(CONFIDENCE)} confidence{wider})"
    )
    evidence |= {"confidence": CONFIDENCE, "ratio": ratio.value, "extra": scale * extra, "tolerance": allowed}
    return Verdict(limit, outcome, reason + _then(outcome), value, base, change, low, high, evidence)


def ratio_by_ranks(values: Sequence[float], others: Sequence[float]) -> Interval | None:
    """Returns by what factor `values` are larger, positive numbers all; None where there are too few for an interval.

    The factor is the median of the ratios of all pairs; the interval leaves out as many of them at each end as
    Mann and Whitney's U allows for `CONFIDENCE`.
    """
    pairs = sorted(value / other for value in values for other in others)
    left_out = _pairs_left_out(len(values), len(others), (1 - CONFIDENCE) / 2)
    if left_out is None:
        return None
    return Interval(float(np.median(pairs)), pairs[left_out], pairs[-1 - left_out])


def interval_of_median(values: Sequence[float]) -> Interval | None:
    """Returns the median and its interval by the sign test; None where there are too few for `CONFIDENCE_ALONE`."""
    count, tail = len(values), (1 - CONFIDENCE_ALONE) / 2
    below = list(accumulate(comb(count, number) / 2**count for number in range(count)))
    left_out = sum(chance <= tail for chance in below)
    if left_out == 0:
        return None
    ordered = sorted(values)
    return Interval(float(np.median(ordered)), ordered[left_out - 1], ordered[-left_out])


def _pairs_left_out(one: int, other: int, tail: float) -> int | None:
    # The most pairs u with P(U < u + 1) <= tail; None where not even the whole range is that sure.
    ways = _arrangements(one, other)
    below = [count / comb(one + other, one) for count in accumulate(ways)]
    sure = sum(chance <= tail for chance in below)
    return None if sure == 0 else sure - 1


def _arrangements(one: int, other: int) -> list[int]:
    # How many orders of `one` and `other` values have U = 0, 1, ...: coefficients of the Gaussian binomial
    # (Mann and Whitney 1947), the product of (1 - q^(other + i)) / (1 - q^i) for i = 1 ... one.
    ways = [1] + [0] * (one * other)
    for i in range(1, one + 1):
        for u in range(len(ways) - 1, other + i - 1, -1):
            ways[u] -= ways[u - other - i]
        for u in range(i, len(ways)):
            ways[u] += ways[u - i]
    return ways


def _then(outcome: Outcome) -> str:
    return ": the limit lies within; measure again on a quieter machine" if outcome == "inconclusive" else ""


def _too_few(count: int, noun: str, confidence: float) -> str:
    return f"{count} {noun} are too few for an interval of {_percent(confidence)} confidence"


def _amount(limit: Limit, number: float) -> str:
    return f"{number:.4g} {limit.of.unit}"


def _change(limit: Limit, number: float) -> str:
    return f"{100 * number:+.1f} %" if limit.relative else f"{number:+.3g} {limit.of.unit}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"
