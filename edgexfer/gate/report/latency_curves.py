"""Latency: where the time of one image goes, and how it is distributed, step by step, for each precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgexfer.gate.measure.latency import PERCENTILES, STEPS, Latency
from edgexfer.gate.report.drawing import COLOURS, DASHES, SERIES, Drawing, Table, draw, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARTS = ("decode", "resize", "inference")
_MEANING = {
    "decode": "bytes of a file to RGB",
    "resize": "to the network's pixels",
    "inference": "pixels to probabilities",
    "total": "all three, one image after the other",
}
_MOST_POINTS = 400  # of one curve: more are not to be seen, and would make the page large
_MARKS = dict(zip(PERCENTILES, "os^", strict=True))


def latency_drawings(measured: Sequence[tuple[str, Latency]]) -> list[Drawing]:
    """Draws the medians of the steps, then the distribution of each step.

    Args:
        measured: (precision, samples), the most precise first.
    """
    if not measured:
        return []
    drawings = [_parts(measured)] if all(_has(latency, _PARTS) for _, latency in measured) else []
    for step in ("total", "inference", "decode", "resize"):
        known = [(name, np.array(lat.samples_ns[step], np.float64)) for name, lat in measured if _has(lat, (step,))]
        drawings += [_distribution(step, known)] if known else []
    return drawings


def latency_table(measured: Sequence[tuple[str, Latency]]) -> Table:
    """Returns percentiles of every step and precision in milliseconds."""
    rows = tuple(
        (
            step,
            name,
            str(len(latency.samples_ns[step])),
            *(f"{latency.percentile(step, q) / 1e6:.2f}" for q in PERCENTILES),
        )
        for step in STEPS
        for name, latency in measured
        if _has(latency, (step,))
    )
    return Table("Milliseconds by step", ("step", "precision", "calls", *(f"p{q}" for q in PERCENTILES)), rows)


def _parts(measured: Sequence[tuple[str, Latency]]) -> Drawing:
    medians = [(name, [latency.percentile(step, 50) / 1e6 for step in _PARTS]) for name, latency in measured]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        starts = np.zeros(len(medians))
        hatches = ("", "///", "...")
        for place, step in enumerate(_PARTS):
            values = np.array([parts[place] for _, parts in medians])
            axes.barh(
                range(len(medians)), values, left=starts, height=0.42, label=step, color=COLOURS[SERIES[place]],
                hatch=hatches[place], edgecolor=COLOURS["card"], linewidth=1,
            )  # fmt: skip
            starts += values
        for place, (name, parts) in enumerate(medians):
            axes.text(0, place - 0.27, f"{name}: {sum(parts):.2f} ms", va="bottom")
        axes.set_ylim(len(medians) - 0.6, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("milliseconds")
        legend(axes, ncols=3)

    said = "; ".join(
        f"{name}: {', '.join(f'{step} {_ms(ms)}' for step, ms in zip(_PARTS, parts, strict=True))}"
        for name, parts in medians
    )
    rows = tuple((name, *(_ms(ms) for ms in parts), _ms(sum(parts))) for name, parts in medians)
    return draw(
        "latency-parts", "Where the time goes", f"Bars of the medians of the three steps of one image. {said}.",
        paint, height_inches=1.0 + 0.55 * len(medians), caption="Medians of the steps of one image.",
        table=Table("Medians of the steps", ("precision", *_PARTS, "sum"), rows),
    )  # fmt: skip


def _distribution(step: str, known: Sequence[tuple[str, NDArray[np.float64]]]) -> Drawing:
    highest = max(_percentile(values, 99) for _, values in known)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, (name, values) in enumerate(known):
            shares = np.linspace(0, 1, min(len(values), _MOST_POINTS))
            colour = COLOURS[SERIES[place % len(SERIES)]]
            dashes = DASHES[place % len(DASHES)]
            axes.plot(np.quantile(values, shares) / 1e6, 100 * shares, color=colour, label=name, linestyle=dashes)
            for q, mark in _MARKS.items():
                axes.plot(
                    [_percentile(values, q)], [q], marker=mark, markersize=6, color=colour, linestyle="",
                    markeredgecolor=COLOURS["card"], zorder=3, clip_on=False,
                )  # fmt: skip
        axes.set_ylim(0, 101)
        # The slowest call of many can lie far outside: it stands in the table, and does not flatten the rest.
        axes.set_xlim(0, 1.12 * highest)
        axes.set_yticks((0, 25, 50, 75, 95))
        axes.set_ylabel("% of calls")
        axes.set_xlabel("milliseconds")
        if len(known) > 1:
            legend(axes, ncols=3)

    rows = tuple(
        (name, str(len(values)), *(_ms(_percentile(values, q)) for q in (0, *PERCENTILES, 100)))
        for name, values in known
    )
    said = "; ".join(
        f"{name} " + ", ".join(f"p{q} {_ms(_percentile(values, q))}" for q in PERCENTILES) for name, values in known
    )
    head = ("precision", "calls", "fastest", *(f"p{q}" for q in PERCENTILES), "slowest")
    return draw(
        f"latency-{step}", f"{step.capitalize()}: {_MEANING[step]}",
        f"Cumulative distribution of the time of a call. {said}.", paint, height_inches=2.7,
        caption="How many of 100 calls are done within that time. Circle p50, square p95, triangle p99.",
        table=Table(f"{step.capitalize()} in milliseconds", head, rows),
    )  # fmt: skip


def _percentile(values: NDArray[np.float64], q: float) -> float:
    return float(np.percentile(values, q)) / 1e6


def _has(latency: Latency, steps: Sequence[str]) -> bool:
    return all(latency.samples_ns.get(step) for step in steps)


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f} ms" if milliseconds < 100 else f"{milliseconds:.0f} ms"
