"""Charts: numbers land where they belong, gaps stay gaps, axes are round numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.gate.report.chart import HEIGHT, WIDTH, line_chart, nice_ticks


def test_higher_values_are_drawn_higher_and_later_ones_further_right() -> None:
    chart = line_chart("Loss", {"train": [3.0, 2.0, 1.0]}, ["1", "2", "3"])
    assert chart is not None
    points = chart.lines[0].points
    assert [p.y for p in points] == sorted(p.y for p in points)
    assert [p.x for p in points] == sorted(p.x for p in points)
    assert points[0].text == "train, 1: 3"
    assert chart.lines[0].last == "1"


def test_a_gap_breaks_the_line() -> None:
    chart = line_chart("Loss", {"val": [1.0, math.nan, 2.0, 3.0]}, list("1234"))
    assert chart is not None
    assert chart.lines[0].path.count("M") == 2
    assert chart.lines[0].path.count("L") == 1


def test_nothing_finite_is_no_chart() -> None:
    assert line_chart("Loss", {"val": [math.nan, math.inf]}, ["1", "2"]) is None
    assert line_chart("Loss", {}, []) is None


def test_one_epoch_is_drawn_in_the_middle() -> None:
    chart = line_chart("Loss", {"val": [0.5]}, ["1"], from_zero=True, marks={0: "head"})
    assert chart is not None
    assert chart.lines[0].points[0].x == chart.marks[0].at
    assert chart.y_ticks[0].text == "0"


def test_many_epochs_do_not_crowd_the_axis() -> None:
    chart = line_chart("Loss", {"val": [1.0] * 300}, [str(i) for i in range(300)])
    assert chart is not None
    assert len(chart.x_ticks) == 10


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20))
def test_every_point_lies_inside_the_picture(values: list[float]) -> None:
    chart = line_chart("any", {"a": values}, [str(i) for i in range(len(values))])
    assert chart is not None
    for point in chart.lines[0].points:
        assert 0 <= point.x <= WIDTH
        assert 0 <= point.y <= HEIGHT


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0, 1.3, [0, 0.5, 1, 1.5]),
        (0.91, 0.97, [0.9, 0.92, 0.94, 0.96, 0.98]),
        (5, 5, [4, 6]),
        (0, 0, [0, 0.25]),
    ],
)
def test_ticks_are_round_and_cover_the_range(low: float, high: float, expected: list[float]) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert len(ticks) >= 2
    if low != high:
        assert ticks == pytest.approx(expected)
