"""`history.csv` of a checkpoint, read back as charts: one row per epoch, a column `stage`, the rest numbers."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from edgexfer.gate.report.chart import Chart, line_chart

_FRACTIONS = ("top1", "top5", "accuracy", "f1", "recall", "precision", "ece")


def history_charts(path: Path) -> list[Chart]:
    """Reads `history.csv` and lays out its charts: losses, fractions, then every other numeric column alone.

    Columns that hold no number are left out; a cell that is empty or no number is a gap. A missing or empty
    file gives no charts: a checkpoint that was trained by no epochs has none.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return []
    stages = [row.get("stage") or "" for row in rows]
    columns = {name: [_number(row.get(name)) for row in rows] for name in rows[0] if name not in ("epoch", "stage")}
    numeric = {name: values for name, values in columns.items() if any(math.isfinite(value) for value in values)}
    steps = [f"{row.get('epoch') or index + 1}" for index, row in enumerate(rows)]
    starts = {i: stage for i, stage in enumerate(stages) if stage and (i == 0 or stage != stages[i - 1])}
    losses = {name: values for name, values in numeric.items() if "loss" in name}
    fractions = {name: v for name, v in numeric.items() if name not in losses and name.endswith(_FRACTIONS)}
    groups = {"Loss": losses, "Accuracy, as a fraction": fractions}
    groups |= {name: {name: v} for name, v in numeric.items() if name not in losses and name not in fractions}
    charts = (
        line_chart(title, series, steps, marks=starts, from_zero=title == "Loss") for title, series in groups.items()
    )
    return [chart for chart in charts if chart is not None]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
