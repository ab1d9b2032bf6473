"""Exactly: a limit on what has no noise, such as the size of the file."""

from __future__ import annotations

from edgexfer.core.bundle import Bundle
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.reference import Reference
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.words import change_in_words, value_in_words


def judge_bundle(limit: Limit, bundle: Bundle, reference: Reference) -> Verdict:
    """Judges a limit on a metric of "bundle" by the plain numbers."""
    metric = limit.of
    value = float(metric.value(bundle))
    if limit.kind in ("max", "min"):
        broken = value > limit.value if limit.kind == "max" else value < limit.value
        return Verdict(limit, "fail" if broken else "pass", value_in_words(metric, value), value)
    base = float(metric.value(reference.bundle)) if reference.bundle is not None else None
    if base is None and reference.stored is not None:
        base = reference.stored.figures.get(metric.name)
    if base is None:
        return Verdict(limit, "inconclusive", reference.missing or f"{reference.words} has no {metric.name}", value)
    change = value - base if not limit.relative else (value / base - 1 if base else float(value > 0))
    worse = change if metric.better == "lower" else -change
    verdict = Verdict(limit, "fail" if worse > limit.value else "pass", "", value, base, change)
    return Verdict(limit, verdict.outcome, change_in_words(verdict), value, base, change)
