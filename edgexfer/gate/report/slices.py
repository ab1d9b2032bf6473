"""Slices on the page: each as a table, the worst kind of image first, with its gap in words."""

from __future__ import annotations

from dataclasses import dataclass

from edgexfer.gate.measure.slices import SliceReport, gap_in_words
from edgexfer.gate.report.drawing import Table

NO_GAP = "Worst gap: cannot be told; it takes two values with enough images."


@dataclass(frozen=True)
class SliceCard:
    """One slice: its name, its figures, its gap in a sentence, and how many images have no value in it."""

    name: str
    table: Table
    gap: str
    without: int


def slice_card(report: SliceReport) -> SliceCard:
    """Returns what the page shows of a slice."""
    rows = tuple(
        (
            item.value,
            f"{item.images}{' (too small to tell)' if item.too_small else ''}",
            _percent(item.top1),
            _interval(item.top1_interval),
            _percent(item.macro_f1),
            _interval(item.macro_f1_interval),
        )
        for item in report.figures
    )
    head = (report.name, "images", "top-1", "95 %", "macro F1", "95 %")
    said = gap_in_words(report)
    gap = f"{said[:1].upper()}{said[1:]}." if said else NO_GAP
    table = Table(f"Figures by {report.name}, the lowest top-1 first", head, rows)
    return SliceCard(report.name, table, gap, report.without)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %" if ends[0] <= ends[1] else "–"  # nan: it does not exist
