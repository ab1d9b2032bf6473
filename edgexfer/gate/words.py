"""Words: figures, changes and limits of a gate as people read them; the same in the terminal, in files and in pages."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.verdict import Outcome, Verdict
from edgexfer.gate.metrics import Metric

NOTHING = "–"
_MEGABYTE = 1e6
_WORSE = {
    ("ms", "lower"): "slower",
    ("images/s", "higher"): "slower",
    ("bytes", "lower"): "larger",
    ("", "higher"): "below",
    ("", "lower"): "above",
}
_REFERENCES = {"max_drop": "the float network", "max_regress": "the baseline"}


def value_in_words(metric: Metric, value: float | None) -> str:
    """Returns such as "4.85 ms", "99.35 %" or "3.81 MB"; "–" for what was not measured."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if metric.is_fraction:
        return f"{_number(100 * value, 2)} %"
    if metric.unit == "bytes":
        return f"{_significant(value / _MEGABYTE)} MB"
    return f"{_significant(value)} {metric.unit}"


def change_in_words(verdict: Verdict, *, interval: bool = True) -> str:
    """Returns such as "+3.1 % (+2.4 to +3.9)" or "-2.0 points"; "" where nothing was compared.

    Args:
        verdict: on any limit.
        interval: with the ends of the confidence interval where there are any.
    """
    if verdict.change is None:
        return ""
    scale, unit = _scale(verdict.limit)
    said = f"{_signed(verdict.change * scale)} {unit}"
    ends = _ends(verdict.low, verdict.high)
    if not interval or ends is None:
        return said
    return f"{said} ({_signed(ends[0] * scale)} to {_signed(ends[1] * scale)})"


def interval_in_words(verdict: Verdict) -> str:
    """Returns the interval alone: of the change, such as "+2.4 to +3.9 %", or of the value; "" where there is none."""
    ends = _ends(verdict.low, verdict.high)
    if ends is None:
        return ""
    if verdict.change is None:
        return f"{value_in_words(verdict.limit.of, ends[0])} to {value_in_words(verdict.limit.of, ends[1])}"
    scale, unit = _scale(verdict.limit)
    return f"{_signed(ends[0] * scale)} to {_signed(ends[1] * scale)} {unit}"


def limit_in_words(limit: Limit) -> str:
    """Returns such as "at most 12 ms", "at least 90 %" or "at most 5 % slower than the baseline"."""
    metric = limit.of
    if limit.kind in ("max", "min"):
        word = "most" if limit.kind == "max" else "least"
        return f"at {word} {_plain_value(metric, limit.value)}"
    worse = _worse(metric)
    than = worse if worse in ("below", "above") else f"{worse} than"
    if limit.value == 0:
        return f"not {than} {_REFERENCES[limit.kind]}"
    return f"at most {_amount(limit)} {than} {_REFERENCES[limit.kind]}"


def allowed_in_words(limit: Limit) -> str:
    """Returns the limit where its kind is said beside it: "≤ 12 ms", "≥ 90 %", "≤ 2 % slower", "≤ 1 point below"."""
    metric = limit.of
    if limit.kind in ("max", "min"):
        return f"{'≤' if limit.kind == 'max' else '≥'} {_plain_value(metric, limit.value)}"
    return f"≤ {_amount(limit)} {_worse(metric)}"


def told(verdicts: Iterable[Verdict]) -> list[tuple[Outcome, str, str]]:
    """Returns (outcome, keys of the limits, reason) of what a reader must know beside the table, each reason once.

    Told are all that did not pass, and passes on accuracy, whose reasons say what so many images cannot show.
    """
    found: dict[tuple[Outcome, str], list[str]] = {}
    for verdict in verdicts:
        if verdict.outcome != "pass" or (verdict.limit.of.of == "answers" and verdict.reason):
            found.setdefault((verdict.outcome, verdict.reason), []).append(verdict.limit.key)
    return [(outcome, ", ".join(keys), reason) for (outcome, reason), keys in found.items()]


def points_in_words(fraction: float) -> str:
    """Returns such as "1 point" or "2.9 points" for a difference of two fractions, without its sign."""
    number = f"{100 * abs(fraction):.1f}".removesuffix(".0")
    if number == "0" and fraction:
        number = f"{100 * abs(fraction):.2g}"  # never "0 points" for what is more than none
    return f"{number} {'point' if number == '1' else 'points'}"


def _worse(metric: Metric) -> str:
    return _WORSE.get((metric.unit, metric.better), "more" if metric.better == "lower" else "less")


def _amount(limit: Limit) -> str:
    if limit.relative:
        return f"{_trimmed(100 * limit.value)} %"
    return points_in_words(limit.value) if limit.of.is_fraction else _plain_value(limit.of, limit.value)


def _plain_value(metric: Metric, value: float) -> str:
    # As somebody wrote it: "90 %", not "90.00 %".
    if metric.is_fraction:
        return f"{_trimmed(100 * value)} %"
    if metric.unit == "bytes":
        return f"{_trimmed(value / _MEGABYTE)} MB"
    return f"{_trimmed(value)} {metric.unit}"


def _scale(limit: Limit) -> tuple[float, str]:
    if limit.relative:
        return 100.0, "%"
    if limit.of.is_fraction:
        return 100.0, "points"
    return (1 / _MEGABYTE, "MB") if limit.of.unit == "bytes" else (1.0, limit.of.unit)


def _ends(low: float | None, high: float | None) -> tuple[float, float] | None:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    return low, high


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    if text in ("+0.0", "-0.0"):
        # A tenth is too coarse for such as -0.04 ms; what is nothing at all has no sign.
        text = f"{value:+.2g}" if abs(value) >= 0.001 else "0.0"
    return text


def _number(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _significant(value: float) -> str:
    # Three digits, and never an exponent: 3.81, 12.3, 812, 24715.
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def _trimmed(value: float) -> str:
    text = f"{value:.6f}"
    return text.rstrip("0").rstrip(".") if float(text) else f"{value:g}"
