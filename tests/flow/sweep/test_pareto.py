"""Which networks none other beats, and which training falls behind."""

from __future__ import annotations

import math

import hypothesis.strategies as st
from hypothesis import given

from edgexfer.flow.sweep.pareto import falls_behind, pareto_front

# Few values, so that many are equal.
POINTS = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float)), max_size=12)


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] >= other[0] and one[1] <= other[1] and one != other


@given(POINTS)
def test_no_point_beats_one_of_the_front_and_every_other_is_beaten_or_a_copy(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)
    chosen = [points[index] for index in front]
    for index, point in enumerate(points):
        if index in front:
            assert not any(beats(other, point) for other in points)
        else:
            assert any(beats(other, point) or other == point for other in chosen)


@given(POINTS)
def test_along_the_front_both_latency_and_accuracy_rise(points: list[tuple[float, float]]) -> None:
    chosen = [points[index] for index in pareto_front(points)]
    for slower, faster in zip(chosen[1:], chosen, strict=False):
        assert slower[0] > faster[0]
        assert slower[1] > faster[1]


@given(POINTS.filter(bool))
def test_the_most_accurate_and_the_fastest_are_on_the_front(points: list[tuple[float, float]]) -> None:
    chosen = [points[index] for index in pareto_front(points)]
    assert max(point[0] for point in chosen) == max(point[0] for point in points)
    assert min(point[1] for point in chosen) == min(point[1] for point in points)


def test_the_front_of_a_few_points() -> None:
    points = [(0.9, 10.0), (0.8, 5.0), (0.85, 12.0), (0.9, 10.0), (math.nan, 1.0), (0.7, math.nan)]
    assert pareto_front(points) == [1, 0]
    assert pareto_front([]) == []


def test_a_training_below_the_median_of_its_peers_falls_behind() -> None:
    peers = [[0.5, 0.6, 0.9], [0.5, 0.7, 0.9], [0.5, 0.8, 0.9]]
    assert falls_behind([0.5, 0.65], peers)
    assert not falls_behind([0.5, 0.7], peers)
    assert not falls_behind([0.75, 0.65], peers)  # its best counts, not its last


def test_nobody_falls_behind_before_the_first_epoch_or_with_few_peers() -> None:
    peers = [[0.9, 0.9]] * 3
    assert not falls_behind([0.1], peers)
    assert not falls_behind([0.1, 0.1], peers[:2])
    assert falls_behind([0.1, 0.1], peers)


def test_a_peer_that_ended_early_is_judged_by_what_it_reached() -> None:
    peers = [[0.5, 0.8]] * 3
    assert falls_behind([0.5, 0.6, 0.7, 0.75], peers)
    assert not falls_behind([0.5, 0.6, 0.7, 0.85], peers)
