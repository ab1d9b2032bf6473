"""A slice as the terminal shows it: one row a kind of image, the worst first, and how far they lie apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgexfer.cli import show

if TYPE_CHECKING:
    from edgexfer.gate.measure.slices import SliceReport

_LISTED = 20


def print_slice(report: SliceReport) -> None:
    """Prints the figures of one slice."""
    from edgexfer.gate.measure.slices import FEW_IMAGES, gap_in_words

    heads = (report.name, "images", "top-1", "95 %", "macro F1", "95 % ", "")
    made = show.table(*heads, right=("images", "top-1", "95 %", "macro F1", "95 % "))
    for item in report.figures[:_LISTED]:
        made.add_row(
            show.cell(item.value),
            str(item.images),
            show.percent(item.top1),
            _interval(item.top1_interval),
            show.percent(item.macro_f1),
            _interval(item.macro_f1_interval),
            "too small to tell" if item.too_small else "",
        )
    show.line(report.name if report.name == "slice" else f"slice {report.name}", "bold")
    show.console().print(made)
    if (rest := len(report.figures) - _LISTED) > 0:
        show.line(f"and {rest} more at or above that top-1; --json FILE has all")
    if report.without:
        show.line(f"{show.count(report.without, 'image')} without a value of it")
    show.line(gap_in_words(report) or f"worst gap: cannot be told; it takes two values of {FEW_IMAGES} images or more")


def _interval(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}" if ends[0] <= ends[1] else "–"  # nan: it does not exist
