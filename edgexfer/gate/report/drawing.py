"""Drawings: what is painted with matplotlib becomes inline SVG that takes its colours and its font from the page.

A painter uses the colours of COLOURS, which no eye could tell apart; in the SVG each becomes a variable of the page
(`var(--series-1)`), so that one drawing serves the light and the dark page. Text stays text. Equal figures give equal
bytes: no date, no random name.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgexfer.core.errors import MissingPartError
from edgexfer.gate.report.svg import inline_svg, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = 4.7  # 338 units of the SVG: a phone shows them one to one, a wide page enlarges them
SERIES = tuple(f"series-{number}" for number in range(1, 6))
_NAMES = ("ink", "muted", "line", "card", "good", "bad", "fill", *SERIES)
COLOURS = {name: f"#0100{number:02x}" for number, name in enumerate(_NAMES, start=16)}
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)))
_VARIABLES = {"": "var(--ink)", **{colour: f"var(--{name})" for name, colour in COLOURS.items()}}
_SETTINGS: Any = {  # matplotlib's releases differ in how they type it
    "axes.axisbelow": True,
    "axes.edgecolor": COLOURS["muted"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 9.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.xmargin": 0.02,
    "figure.facecolor": "none",
    "font.size": 9.5,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.8,
    "hatch.color": COLOURS["card"],
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgexfer",
    "text.color": COLOURS["ink"],
    "text.parse_math": False,  # "$" in a name is a dollar sign
    "xtick.color": COLOURS["muted"],
    "xtick.labelsize": 9.5,
    "ytick.color": COLOURS["muted"],
    "ytick.labelsize": 9.5,
}


@dataclass(frozen=True)
class Table:
    """Numbers as text, for whoever does not see the drawing.

    Attributes:
        caption: what they are.
        head: names of the columns; the first one names the rows.
        rows: cells in words.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Drawing:
    """One figure of the page.

    Attributes:
        name: its id on the page.
        title: in words.
        caption: how to read it.
        svg: the element `<svg>`, named by its own title and description.
        table: its numbers; None where they stand beside it on the page.
    """

    name: str
    title: str
    caption: str
    svg: str
    table: Table | None = None


def draw(
    name: str,
    title: str,
    description: str,
    paint: Callable[[Figure], None],
    *,
    caption: str = "",
    table: Table | None = None,
    height_inches: float = 2.9,
) -> Drawing:
    """Paints one figure.

    Args:
        name: its id; letters, digits and hyphens, and no other drawing's on the page.
        title: in words.
        description: what is to be seen, for whoever does not see it.
        paint: draws on a figure of matplotlib with the colours of COLOURS.
        caption: how to read it.
        table: its numbers.
        height_inches: of the figure; WIDTH_INCHES is its width.

    Raises:
        MissingPartError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
        from matplotlib.text import Text
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise MissingPartError(
            "the report needs matplotlib, which is not installed", "pip install 'edgexfer[report]'"
        ) from error
    memory = io.BytesIO()
    with warnings.catch_warnings(), rc_context(_SETTINGS):
        # The page's font draws the text, not the one that matplotlib measures with.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        paint(figure)
        for text in figure.findobj(Text):
            text.set_text(printable(text.get_text()))
        # What `savefig` does, without its rehearsal, which takes as long again.
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(memory, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = inline_svg(memory.getvalue(), name, title, description, _VARIABLES)
    return Drawing(name, title, caption, svg, table)


def legend(axes: Axes, **more: Any) -> None:
    """Puts the names of the series above the drawing, side by side."""
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper left", frameon=False, handlelength=2.4,
        columnspacing=1.4, borderaxespad=0.2, labelcolor=COLOURS["ink"], **{"ncols": 2, **more},
    )  # fmt: skip
