"""Limits: what a metric may be, from a target's `[gates]`, from `--set`, or from a test.

    [gates.latency_p95_ms]
    max = 12.0               # absolute, in the metric's unit; `min` likewise
    max_regress = "5%"       # against the baseline
    [gates.top1]
    max_drop = 0.01          # against the float network
    [gates."recall:stop"]    # of one class; [gates.recall] is of each
    min = 0.9

A fraction's drop is in points: 0.01 and "1%" are both one point. For every other metric "5%" is a part of the
reference, and a plain number is in the metric's unit. "off" takes a limit away.

A class's own limit replaces the one for each class, whichever is stricter and wherever they come from; its "off" takes
that class out. Both are of one kind: `recall:stop.min` replaces nothing of `recall.max_drop`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.gate.metrics import METRICS, Metric

Kind: TypeAlias = Literal["max", "min", "max_drop", "max_regress"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STANDARD: dict[str, dict[str, Any]] = {
    "latency_p50_ms": {"max_regress": "2%"},
    "top1": {"max_drop": "1%", "max_regress": "1%"},
    "size_bytes": {"max_regress": "10%"},
}
"""What holds where nothing else is said: without limits nothing could fail."""


@dataclass(frozen=True)
class Limit:
    """One limit on one metric.

    Attributes:
        metric: name of the metric.
        kind: "max" and "min" are absolute, "max_drop" is against the float network, "max_regress" the baseline.
        value: 0 or more for the last two; a fraction of the reference where `relative`.
        relative: whether `value` is a part of the reference.
        label: the class that it is for, or None for each.
        source: who set it, such as "standard", "target raspberry-pi-5" or "--set".
        except_labels: where it is for each class, those that it is not for: they have a limit of their own, or "off".
    """

    metric: str
    kind: Kind
    value: float
    relative: bool = False
    label: str | None = None
    source: str = ""
    except_labels: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Such as "latency_p95_ms.max_regress" or "recall:stop.min"."""
        return f"{self.subject}.{self.kind}"

    @property
    def subject(self) -> str:
        """Such as "latency_p95_ms" or "recall:stop"."""
        return self.metric if self.label is None else f"{self.metric}:{self.label}"

    @property
    def of(self) -> Metric:
        """The metric that it limits."""
        return METRICS[self.metric]


def limits_of(
    gates: Mapping[str, Any], settings: Iterable[str] = (), *, target: str = "", max_drop: float | None = None
) -> tuple[Limit, ...]:
    """Gathers what holds for a bundle; a later source replaces the same limit of an earlier one.

    Args:
        gates: the target's table `[gates]`.
        settings: texts such as "latency_p95_ms.max=12" or "top1.max_regress=off".
        target: its name, for `source`.
        max_drop: of the target: what top-1 may lose against float unless `gates` says otherwise.

    Raises:
        SettingsError: an unknown metric or kind ("did you mean"), or a value that is none.
    """
    found: dict[str, Limit | None] = {}
    standard = {name: dict(kinds) for name, kinds in STANDARD.items()}
    if max_drop is not None:
        standard["top1"]["max_drop"] = max_drop
    for tables, source in ((standard, "standard"), (gates, f"target {target}".strip())):
        for subject, kinds in tables.items():
            if not isinstance(kinds, Mapping):
                raise SettingsError(f"gates.{subject} is {kinds!r}, expected a table such as {{ max = 1.0 }}")
            for kind, value in kinds.items():
                _set(found, f"{subject}.{kind}", value, source)
    for text in settings:
        key, equals, value = text.rpartition("=")  # a label may hold "=", a value never does
        if not equals:
            raise SettingsError(
                f"--set {text}: expected METRIC.KIND=VALUE", "such as --set latency_p95_ms.max_regress=5%"
            )
        _set(found, key.strip(), value.strip(), "--set")
    return tuple(_except_own(limit, found) for limit in found.values() if limit is not None)


def parse_limit(key: str, value: Any, source: str) -> Limit | None:
    """Reads one limit; None for "off".

    Args:
        key: such as "latency_p95_ms.max_regress" or "recall:stop.min".
        value: a number, a text with one, such as "5%", or "off".
        source: who set it.

    Raises:
        SettingsError: an unknown metric or kind ("did you mean"), or a value that is none.
    """
    subject, _, kind = key.rpartition(".")
    name, colon, label = subject.partition(":")
    if name not in METRICS:
        raise SettingsError(f"{source}: unknown metric '{name or key}'", did_you_mean(name or key, METRICS))
    if kind not in KINDS:
        raise SettingsError(f"{source}: unknown limit '{kind}' of {subject}", did_you_mean(kind, KINDS))
    metric = METRICS[name]
    if colon and metric.of != "classes":
        raise SettingsError(f"{source}: {name} is no figure of single classes", f"write {name}.{kind}")
    if value == "off":
        return None
    number, percent = _number(value, f"{source}: {key}")
    relative = percent and not metric.is_fraction
    if relative and kind in ("max", "min"):
        raise SettingsError(f"{source}: {key} is {value!r}, expected a number in {metric.unit}")
    if kind in ("max_drop", "max_regress") and number < 0:
        raise SettingsError(f"{source}: {key} is {value!r}, expected 0 or more")
    if metric.is_fraction:
        _check_fraction(kind, number, f"{source}: {key} is {value!r}", percent=percent)
    if kind == "max_drop" and metric.of not in ("answers", "classes"):
        raise SettingsError(
            f"{source}: max_drop is against the float network, which {name} does not know", "write max_regress"
        )
    return Limit(name, kind, number, relative, label if colon else None, source)


def _set(found: dict[str, Limit | None], key: str, value: Any, source: str) -> None:
    found[key] = parse_limit(key, value, source)


def _except_own(limit: Limit, found: Mapping[str, Limit | None]) -> Limit:
    if limit.of.of != "classes" or limit.label is not None:
        return limit
    before, after = f"{limit.metric}:", f".{limit.kind}"
    own = (key for key in found if key.startswith(before) and key.endswith(after))
    return replace(limit, except_labels=tuple(key[len(before) : -len(after)] for key in own))


def _check_fraction(kind: str, number: float, found: str, *, percent: bool) -> None:
    # Such as 1, meant as 1 %: a limit of 100 points would hold whatever happens.
    is_change = kind in ("max_drop", "max_regress")
    if 0 <= number < 1 or (number == 1 and not is_change):
        return
    meant = "" if percent or not 1 <= number <= 100 else f"write {number:g}% or {number / 100:g}"
    raise SettingsError(f"{found}, expected 0 to 1, or 0% to 100%{', and less than all' if is_change else ''}", meant)


def _number(value: Any, where: str) -> tuple[float, bool]:
    text = str(value).strip()
    match = re.fullmatch(r"([+-]?[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*(%?)", text, re.IGNORECASE)
    if match is None or isinstance(value, bool) or not math.isfinite(float(match[1])):
        raise SettingsError(f"{where} is {value!r}, expected a number, such as 0.01 or '5%', or 'off'")
    return float(match[1]) / (100 if match[2] else 1), bool(match[2])
