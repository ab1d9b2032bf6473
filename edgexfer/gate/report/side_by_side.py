"""Side by side: the precisions that export measured, side by side, as rows of text for the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgexfer.core.target import PRECISIONS
from edgexfer.gate.measure.measured import Measured


@dataclass(frozen=True)
class Row:
    """One figure of every precision.

    Attributes:
        name: of the figure, with its unit.
        cells: the figure in words, one for each precision; "–" where it was not measured.
        change: what ships against the most precise (or the last, where that ships), in words; empty where that says
            nothing.
    """

    name: str
    cells: tuple[str, ...]
    change: str


@dataclass(frozen=True)
class Comparison:
    """A table, the most precise first.

    Attributes:
        precisions: heads of the columns, each with whether it is shipped.
        rows: the figures.
        paired: in words, how many images one precision alone got right; empty with fewer than two precisions.
        machine: where latency was measured; empty where it was not.
    """

    precisions: tuple[tuple[str, bool], ...]
    rows: tuple[Row, ...]
    paired: str
    machine: str


def compared(records: Sequence[Measured]) -> Comparison | None:
    """Lays the records side by side, the most precise first; None where nothing was measured."""
    if not records:
        return None
    ordered = sorted(records, key=lambda record: PRECISIONS.index(record.precision))
    second = next((r for r in ordered[1:] if r.shipped), ordered[-1])
    rows = [
        _row("Top-1", ordered, second, lambda r: r.evaluation.top1, _percent, _points),
        _row("Macro F1", ordered, second, lambda r: r.evaluation.macro_f1, _percent, _points),
        _row("Calibration error", ordered, second, lambda r: r.evaluation.ece, _percent, _points),
        _row("Images", ordered, second, lambda r: len(r.evaluation.images), lambda n: f"{n:.0f}"),
        _row("ONNX file", ordered, second, lambda r: r.size_bytes, lambda n: f"{n / 1e6:.2f} MB", _times),
    ]
    for step, q in (("inference", 50), ("inference", 95), ("total", 50), ("total", 95)):
        row = _row(f"{step.capitalize()} p{q}", ordered, second, _latency(step, q), lambda ms: f"{ms:.2f} ms", _times)
        rows += [row] if any(cell != "–" for cell in row.cells) else []
    machine = next((str(r.latency.host.get("cpu") or "") for r in ordered if r.latency), "")
    return Comparison(
        tuple((r.precision, r.shipped) for r in ordered), tuple(rows), _paired(ordered[0], second), machine
    )


def _row(
    name: str,
    records: Sequence[Measured],
    second: Measured,
    figure: Callable[[Measured], float],
    text: Callable[[float], str],
    change: Callable[[float, float], str] | None = None,
) -> Row:
    values = [figure(record) for record in records]
    cells = tuple(text(value) if math.isfinite(value) else "–" for value in values)
    first, other = values[0], figure(second)
    said = change is not None and len(values) > 1 and math.isfinite(first) and math.isfinite(other)
    return Row(name, cells, change(first, other) if said and change else "")


def _latency(step: str, q: float) -> Callable[[Measured], float]:
    def milliseconds(record: Measured) -> float:
        if record.latency is None or not record.latency.samples_ns.get(step):
            return math.nan
        return record.latency.percentile(step, q) / 1e6

    return milliseconds


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(first: float, last: float) -> str:
    return f"{100 * (last - first):+.2f} points"


def _times(first: float, last: float) -> str:
    return f"{last / first:.2f} ×" if first else ""


def _paired(first: Measured, second: Measured) -> str:
    if first is second:
        return ""
    right = {i.path: i.label == i.predicted for i in first.evaluation.images}
    pairs = [(right[i.path], i.label == i.predicted) for i in second.evaluation.images if i.path in right]
    return (
        f"Image by image, over {len(pairs)} images: {pairs.count((True, True))} right in both, "
        f"{pairs.count((True, False))} in {first.precision} alone, {pairs.count((False, True))} in {second.precision} "
        f"alone, {pairs.count((False, False))} in neither."
    )
