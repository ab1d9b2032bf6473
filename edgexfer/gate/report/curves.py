"""Training curves: `history.csv` of a checkpoint or a bundle as drawings. One row per epoch, a column `stage`.

Losses of different stages measure different things (quantization-aware training has the distance to the float
network), so each stage has its own drawing of them; fractions such as top-1 go through all stages in one.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgexfer.gate.report.drawing import COLOURS, DASHES, SERIES, Drawing, Table, draw, legend
from edgexfer.gate.report.svg import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FRACTIONS = ("top1", "top5", "accuracy", "f1", "recall", "precision", "ece", "calibration_error")
_TITLES = {"learning_rate": "Learning rate", "seconds": "Seconds of each epoch"}
_WORDS = {"finetune": "fine-tuning", "qat": "quantization-aware training", "prune": "pruning", "sparsity": "sparsity"}


@dataclass(frozen=True)
class History:
    """Epochs in order.

    Attributes:
        epochs: the number of each, as text; it may start anew with a stage.
        stages: the stage of each; "" where there is none.
        columns: {name: numbers, nan where there is none}, without columns that hold no number.
    """

    epochs: tuple[str, ...]
    stages: tuple[str, ...]
    columns: dict[str, tuple[float, ...]]

    def starts(self) -> dict[int, str]:
        """Returns {index of the first epoch of a stage: its name}; empty where there are no names."""
        found = enumerate(self.stages)
        return {i: stage for i, stage in found if stage and (i == 0 or stage != self.stages[i - 1])}

    def last_epochs(self) -> dict[str, int]:
        """Returns {stage: the number of its last epoch}, without epochs that are no numbers."""
        rows = zip(self.stages, self.epochs, strict=True)
        return {stage: int(epoch) for stage, epoch in rows if epoch.isdecimal() and len(epoch) < 10}


def read_history(raw: bytes | None) -> History | None:
    """Reads the content of `history.csv`; None where there is none, or it has no epoch or no number.

    A cell that is empty or no number is a gap. What was trained by no epochs has a header alone.
    """
    if raw is None:
        return None
    text = raw.decode("utf-8", "replace").replace("\0", "")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    names = [name for name in (rows[0] if rows else ()) if name and name not in ("epoch", "stage")]
    columns = {name: tuple(_number(row.get(name)) for row in rows) for name in names}
    known = {name: values for name, values in columns.items() if any(math.isfinite(value) for value in values)}
    if not known:
        return None
    epochs = tuple(printable(row.get("epoch") or str(index + 1)) for index, row in enumerate(rows))
    return History(epochs, tuple(row.get("stage") or "" for row in rows), known)


def curves(history: History) -> list[Drawing]:
    """Draws losses by stage, fractions, then every other column alone."""
    losses = {name: values for name, values in history.columns.items() if "loss" in name}
    fractions = {name: v for name, v in history.columns.items() if name not in losses and name.endswith(_FRACTIONS)}
    groups = [(title, _within(losses, picked)) for title, picked in _stages(history)]
    groups.append(("Accuracy on held-out images", fractions))
    groups += [
        (_TITLES.get(name, name), {name: values})
        for name, values in history.columns.items()
        if name not in losses and name not in fractions
    ]
    present = [(title, series) for title, series in groups if any(_finite(values) for values in series.values())]
    return [_curve(f"curve-{place}", title, series, history) for place, (title, series) in enumerate(present)]


def _stages(history: History) -> list[tuple[str, range]]:
    starts = history.starts() or {0: ""}
    ends = [*list(starts)[1:], len(history.epochs)]
    found = [(stage, range(start, end)) for (start, stage), end in zip(starts.items(), ends, strict=True)]
    if "qat" not in starts.values():
        return [("Loss", range(len(history.epochs)))]
    return [(f"Loss of {_WORDS.get(stage, stage)}", picked) for stage, picked in found]


def _cut(text: str, letters: int) -> str:
    # What is wider than the drawing would leave it no room.
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _within(series: Mapping[str, Sequence[float]], picked: range) -> dict[str, tuple[float, ...]]:
    return {name: tuple(v if i in picked else math.nan for i, v in enumerate(vs)) for name, vs in series.items()}


def _curve(name: str, title: str, series: Mapping[str, Sequence[float]], history: History) -> Drawing:
    shown = [i for i in range(len(history.epochs)) if any(math.isfinite(values[i]) for values in series.values())]
    first, last = shown[0], shown[-1]
    starts = {i: stage for i, stage in history.starts().items() if first < i <= last or (i == first == 0)}

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        few = last - first < 30
        for place, (key, values) in enumerate(series.items()):
            dots = "os^Dv"[place % 5] if few else ""
            axes.plot(
                shown, [values[i] for i in shown], label=_cut(key.replace("_", " "), 40), marker=dots, markersize=4,
                color=COLOURS[SERIES[place % len(SERIES)]], linestyle=DASHES[place % len(DASHES)],
            )  # fmt: skip
        if all("loss" in key for key in series):
            axes.set_ylim(bottom=0)
        every = max(1, math.ceil(len(shown) / 8))
        axes.set_xticks(shown[::every], [_cut(history.epochs[i], 8) for i in shown[::every]])
        axes.set_xlim(first - 0.3, last + 0.3)
        axes.set_xlabel("epoch")
        if len(starts) > 1:
            for i, stage in starts.items():
                axes.axvline(i - 0.3, color=COLOURS["muted"], linewidth=1, linestyle=(0, (1, 2)))
                axes.text(i - 0.2, 1.01, _cut(stage, 16), transform=axes.get_xaxis_transform(), color=COLOURS["muted"])
        if len(series) > 1:
            legend(axes)

    head = ("epoch", *(["stage"] if any(history.stages) else []), *series)
    rows = [
        (
            history.epochs[i],
            *([history.stages[i]] if any(history.stages) else []),
            *(_cell(values[i]) for values in series.values()),
        )
        for i in shown
    ]
    return draw(name, title, _said(series), paint, table=Table(f"{title}, by epoch", head, tuple(rows)))


def _said(series: Mapping[str, Sequence[float]]) -> str:
    parts = []
    for name, values in series.items():
        known = _finite(values)
        if known:
            parts.append(f"{name.replace('_', ' ')} goes from {known[0]:.4g} to {known[-1]:.4g}")
    return f"Lines over {max(len(_finite(values)) for values in series.values())} epochs: {'; '.join(parts)}."


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _cell(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else "–"


def _number(text: object) -> float:
    try:
        return float(str(text or "nan"))
    except ValueError:
        return math.nan
