"""The cells of strategies.py, one JSON file each, and the tables they make."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

AUTO = "auto"
WITHIN_POINTS = 1.0  # auto may stay this far below the best single strategy
FEW_SHOTS = ("signs-1", "signs-5")  # where the frozen features should be ahead of fine-tuning
FROZEN, FULL = ("prototype", "linear-probe"), "finetune"


@dataclass(frozen=True)
class Cell:
    """One strategy on one draw of a case.

    Attributes:
        case: its name.
        strategy: its name.
        draw: number of the draw.
        top1: share of the judged images that were recognised, None where it failed.
        images: how many were judged.
        seconds: what `finetune` took.
        counts: images given by split.
        notes: what the strategy wrote down.
        failed: why there is no top-1.
    """

    case: str
    strategy: str
    draw: int
    top1: float | None = None
    images: int = 0
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    failed: str = ""

    def file(self, folder: Path) -> Path:
        """Returns where it is kept."""
        return folder / f"{self.case}.{self.strategy}.{self.draw}.json"

    def write(self, folder: Path) -> None:
        """Keeps it in `folder`."""
        self.file(folder).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def kept(self, folder: Path) -> Cell | None:
        """Returns what was found for it before, None where nothing was or where it failed."""
        file = self.file(folder)
        before = Cell(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
        return before if before is not None and not before.failed else None


def read_cells(folder: Path, cases: Sequence[str]) -> list[Cell]:
    """Returns the cells in `folder` of the given cases, those that failed as well."""
    files = sorted(folder.glob("*.*.*.json"))
    cells = [Cell(**json.loads(file.read_text(encoding="utf-8"))) for file in files]
    return [cell for cell in cells if cell.case in cases]


def accuracy_table(cells: Sequence[Cell], cases: Sequence[str], strategies: Sequence[str]) -> str:
    """Returns a Markdown table: top-1 in percent, mean and standard deviation over the draws that all have."""
    singles = [name for name in strategies if name != AUTO]
    heads = ["", "draws", "judged", *strategies, "auto - best single", f"within {WITHIN_POINTS:g}"]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for case in cases:
        found = _common(cells, case, strategies)
        if not found:
            continue
        means = {name: statistics.mean(values.values()) for name, values in found.items()}
        best = max((name for name in singles if name in means), key=lambda name: means[name], default=None)
        shown = [_cell(found.get(name), bold=name == best) for name in strategies]
        behind, verdict = "", ""
        if best is not None and AUTO in means:
            points = 100 * (means[AUTO] - means[best])
            behind, verdict = f"{points:+.2f}", "yes" if points >= -WITHIN_POINTS - 1e-6 else "**no**"
        draws = len(next(iter(found.values())))
        judged = max(cell.images for cell in cells if cell.case == case)
        lines.append(_row([case, str(draws), str(judged), *shown, behind, verdict]))
    return "\n".join(lines)


def seconds_table(cells: Sequence[Cell], cases: Sequence[str], strategies: Sequence[str]) -> str:
    """Returns a Markdown table: the mean of what `finetune` took, in seconds."""
    lines = [_row(["s", *strategies]), _row(["---"] * (len(strategies) + 1))]
    for case in cases:
        taken = [[cell.seconds for cell in _of(cells, case, name)] for name in strategies]
        if any(taken):
            lines.append(_row([case, *(f"{statistics.mean(values):.1f}" if values else "" for values in taken)]))
    return "\n".join(lines)


def remarks(cells: Sequence[Cell], cases: Sequence[str], strategies: Sequence[str]) -> list[str]:
    """Returns what the figures say about few images, what auto chose, and what failed and why."""
    lines = []
    for case in cases:
        found = {name: statistics.mean(values.values()) for name, values in _common(cells, case, strategies).items()}
        if case in FEW_SHOTS and {*FROZEN, FULL} <= set(found):
            ahead = all(found[name] > found[FULL] for name in FROZEN)
            told = ", ".join(f"{name} {100 * found[name]:.2f} %" for name in (*FROZEN, FULL))
            lines.append(f"{case}: {told}: frozen features {'ahead' if ahead else '**not ahead**'}")
        plans = [cell.notes[AUTO] for cell in _of(cells, case, AUTO) if AUTO in cell.notes]
        if plans:
            lines.append(f"{case}: auto chose {', '.join(map(_told, plans))}")
    return [*lines, *(f"{c.case}, {c.strategy}, draw {c.draw}: {c.failed}" for c in cells if c.failed)]


def _told(plan: Mapping[str, Any]) -> str:
    rate, epochs = plan.get("learning_rate"), plan.get("epochs")
    return plan["strategy"] + (f" ({rate:.1e}, {epochs} epochs)" if rate else "")


def _common(cells: Sequence[Cell], case: str, strategies: Sequence[str]) -> dict[str, dict[int, float]]:
    """Returns top-1 by strategy and draw, of the draws that every strategy with any result has."""
    found = {name: {cell.draw: cell.top1 or 0.0 for cell in _of(cells, case, name)} for name in strategies}
    found = {name: values for name, values in found.items() if values}
    draws = set.intersection(*(set(values) for values in found.values())) if found else set()
    return {name: {draw: values[draw] for draw in sorted(draws)} for name, values in found.items()} if draws else {}


def _of(cells: Sequence[Cell], case: str, strategy: str) -> list[Cell]:
    return [cell for cell in cells if (cell.case, cell.strategy) == (case, strategy) and cell.top1 is not None]


def _cell(values: Mapping[int, float] | None, *, bold: bool) -> str:
    if values is None:
        return ""
    percent = [100 * value for value in values.values()]
    spread = f" ± {statistics.stdev(percent):.2f}" if len(percent) > 1 else ""
    text = f"{statistics.mean(percent):.2f}{spread}"
    return f"**{text}**" if bold else text


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
