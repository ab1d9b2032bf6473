"""Side by side: the precisions that export measured, side by side, as rows of text for the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgexfer.gate.measured import Measured


@dataclass(frozen=True)
class Row:
    """One figure of every precision.

    Attributes:
        name: of the figure, with its unit.
        cells: the figure in words, one for each precision; "–" where it was not measured.
        change: the last precision against the first, in words; empty where that says nothing.
    """

    name: str
    cells: tuple[str, ...]
    change: str


@dataclass(frozen=True)
class Comparison:
    """A table, float first.

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
    """Lays the records side by side, float first; None where nothing was measured."""
    if not records:
        return None
    ordered = sorted(records, key=lambda record: record.precision != "float32")
    rows = [
        _row("Top-1", ordered, lambda r: r.evaluation.top1, _percent, _points),
        _row("Macro F1", ordered, lambda r: r.evaluation.macro_f1, _percent, _points),
        _row("Calibration error", ordered, lambda r: r.evaluation.ece, _percent, _points),
        _row("Images", ordered, lambda r: len(r.evaluation.images), lambda n: f"{n:.0f}"),
        _row("ONNX file", ordered, lambda r: r.size_bytes, lambda n: f"{n / 1e6:.2f} MB", _times),
    ]
    for step, q in (("inference", 50), ("inference", 95), ("total", 50), ("total", 95)):
        row = _row(f"{step.capitalize()} p{q}", ordered, _latency(step, q), lambda ms: f"{ms:.2f} ms", _times)
        rows += [row] if any(cell != "–" for cell in row.cells) else []
    machine = next((str(r.latency.host.get("cpu") or "") for r in ordered if r.latency), "")
    return Comparison(tuple((r.precision, r.shipped) for r in ordered), tuple(rows), _paired(ordered), machine)


def _row(
    name: str,
    records: Sequence[Measured],
    figure: Callable[[Measured], float],
    text: Callable[[float], str],
    change: Callable[[float, float], str] | None = None,
) -> Row:
    values = [figure(record) for record in records]
    said = len(values) > 1 and change is not None and math.isfinite(values[0]) and math.isfinite(values[-1])
    cells = tuple(text(value) if math.isfinite(value) else "–" for value in values)
    return Row(name, cells, change(values[0], values[-1]) if said and change else "")


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


def _paired(records: Sequence[Measured]) -> str:
    if len(records) < 2:
        return ""
    first, last = records[0], records[-1]
    right = {i.path: i.label == i.predicted for i in first.evaluation.images}
    pairs = [(right[i.path], i.label == i.predicted) for i in last.evaluation.images if i.path in right]
    return (
        f"Image by image, over {len(pairs)} images: {pairs.count((True, True))} right in both, "
        f"{pairs.count((True, False))} in {first.precision} alone, {pairs.count((False, True))} in {last.precision} "
        f"alone, {pairs.count((False, False))} in neither."
    )
