"""Line charts as geometry: numbers in, coordinates of an SVG out. The report's template draws them.

Coordinates are those of the SVG's viewBox, WIDTH x HEIGHT, y downwards; the axis stands at LEFT. No drawing library
and no script: a chart is a few paths, so that the page stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT = 640, 260, 68
_RIGHT, _TOP, _BOTTOM = 12, 12, 28
_TICKS = 5
_SMALLEST = 1e-200


@dataclass(frozen=True)
class Point:
    """One value: where it is drawn, and what is said when it is pointed at."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """One series: its name, its SVG path, its points and its last value in words."""

    name: str
    path: str
    points: tuple[Point, ...]
    last: str


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its coordinate and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart ready to be drawn.

    Attributes:
        title: in words.
        lines: the series, in the order of their colours.
        x_ticks: along the lower edge.
        y_ticks: along the left edge.
        marks: vertical lines, such as the start of a stage of training.
    """

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Tick, ...]


def line_chart(
    title: str,
    series: Mapping[str, Sequence[float]],
    steps: Sequence[str],
    *,
    marks: Mapping[int, str] | None = None,
    from_zero: bool = False,
) -> Chart | None:
    """Lays out one chart; None where no series has a finite value.

    Args:
        title: in words.
        series: values by name, one for each of `steps`; nan and infinity are gaps.
        steps: the text of each step on the x axis, such as the epoch's number.
        marks: {index of a step: text} of vertical lines.
        from_zero: whether the y axis starts at 0.
    """
    values = [value for line in series.values() for value in line if math.isfinite(value)]
    if not values:
        return None
    ticks = nice_ticks(min(0.0, *values) if from_zero else min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def x(index: int) -> float:
        share = index / (len(steps) - 1) if len(steps) > 1 else 0.5
        return round(LEFT + share * (WIDTH - LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    def line(name: str, numbers: Sequence[float]) -> Line:
        shown = [(i, number) for i, number in enumerate(numbers) if math.isfinite(number)]
        points = tuple(Point(x(i), y(number), f"{name}, {steps[i]}: {number:.4g}") for i, number in shown)
        indices = [i for i, _ in shown]
        pieces = [
            f"{'L' if i - 1 in indices else 'M'}{point.x} {point.y}" for i, point in zip(indices, points, strict=True)
        ]
        return Line(name, " ".join(pieces), points, f"{shown[-1][1]:.4g}" if shown else "")

    every = max(1, math.ceil(len(steps) / 10))
    return Chart(
        title,
        tuple(line(name, numbers) for name, numbers in series.items()),
        tuple(Tick(x(i), steps[i]) for i in range(0, len(steps), every)),
        tuple(Tick(y(tick), f"{tick:.6g}") for tick in ticks),
        tuple(Tick(x(i), text) for i, text in (marks or {}).items()),
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """Returns evenly spaced round numbers that cover `low` to `high`: two or more, ascending."""
    scale = max(abs(low), abs(high))
    span = high - low
    if span <= 1e-9 * scale or span < _SMALLEST:  # as good as one value: the axis shows its size, not its noise
        span = scale if scale > _SMALLEST else 1.0
    rough = span / (_TICKS - 1)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [index * step for index in range(first, last + 1)]
