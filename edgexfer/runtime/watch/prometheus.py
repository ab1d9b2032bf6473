"""Counters as text for Prometheus, text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

The format is five rules, so that a device needs no package for it; a test reads what is written here with Prometheus's
own parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate

from edgexfer.runtime.watch.counts import Histogram

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def family(
    name: str, kind: str, text: str, values: Iterable[tuple[Mapping[str, str], float]], suffix: str = ""
) -> list[str]:
    """Returns the lines of one metric.

    Args:
        name: of the metric, in base units.
        kind: "counter" or "gauge".
        text: what it is, in one line.
        values: labels with their values, and the value.
        suffix: "_total" for a counter.
    """
    head = [f"# HELP {name}{suffix} {text}", f"# TYPE {name}{suffix} {kind}"]
    return head + [f"{name}{suffix}{_labels(labels)} {_number(value)}" for labels, value in values]


def histogram(name: str, text: str, values: Histogram) -> list[str]:
    """Returns the lines of one histogram."""
    below = list(accumulate(values.counts))
    edges = [*map(_number, values.edges), "+Inf"]
    lines = [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
    lines += [f'{name}_bucket{{le="{edge}"}} {count}' for edge, count in zip(edges, below, strict=True)]
    return [*lines, f"{name}_sum {_number(values.total)}", f"{name}_count {values.count}"]


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
