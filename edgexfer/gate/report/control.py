"""Accuracy control: `control.json` of a bundle as a table: what was tried because INT8 missed its limit."""

from __future__ import annotations

from edgexfer.core.control import Attempt, Control
from edgexfer.gate.report.content import ControlCard
from edgexfer.gate.report.drawing import Table
from edgexfer.gate.report.summary import size


def control_card(control: Control) -> ControlCard:
    """Returns the section's content."""
    left = () if control.chosen is None else control.attempts[control.chosen].float_layers
    head = ("tried", "float layers", "top-1", "change", "lost", "won", "answers changed", "size", "limit")
    rows = tuple(
        (
            _tried(index, attempt),
            str(len(attempt.float_layers)),
            f"{100 * attempt.top1:.2f} %",
            f"{100 * (attempt.top1 - control.float_top1):+.2f}",
            str(attempt.lost),
            str(attempt.won),
            str(attempt.changed),
            size(attempt.size_bytes),
            "kept" if index == control.chosen else "holds" if attempt.holds else "misses",
        )
        for index, attempt in enumerate(control.attempts)
    )
    caption = f"Attempts on {control.images} validation images; float has {100 * control.float_top1:.2f} % of top-1"
    return ControlCard(f"{control.sentence()}.", Table(caption, head, rows), left)


def _tried(index: int, attempt: Attempt) -> str:
    if index == 0:
        return f"as trained, ranges by {attempt.estimator}"
    if not attempt.float_layers:
        return f"ranges by {attempt.estimator}"
    first, *more = attempt.float_layers
    return f"in float: {first}{f' and {len(more)} more' if more else ''}"
