"""The table of what was tried where INT8 missed its target's limit, for `export` and `compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgexfer.cli import show


def print_control(folder: Path, manifest: dict[str, Any]) -> None:
    """Prints what `control.json` of a checkpoint or a bundle says; nothing where there is none."""
    from edgexfer.core.control import read_control

    control = read_control(folder, manifest)
    if control is None:
        return
    right = ("float layers", "top-1", "change", "lost", "won", "changed", "MB")
    table = show.table("ranges by", *right, "", right=right)
    for index, attempt in enumerate(control.attempts):
        verdict = "kept" if index == control.chosen else "holds" if attempt.holds else "misses"
        table.add_row(
            show.cell(attempt.estimator),
            str(len(attempt.float_layers)),
            show.percent(attempt.top1),
            f"{100 * (attempt.top1 - control.float_top1):+.2f}",
            str(attempt.lost),
            str(attempt.won),
            str(attempt.changed),
            f"{attempt.size_bytes / 1e6:.2f}",
            verdict,
        )
    show.line(f"{control.sentence()}. What was tried, on those images:")
    show.console().print(table)
    left = () if control.chosen is None else control.attempts[control.chosen].float_layers
    if left:
        show.line(f"in float: {', '.join(left)}", "dim")
