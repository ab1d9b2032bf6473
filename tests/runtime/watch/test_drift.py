"""Drift: exact tests, a rate of false alarms that holds, and shifts that are found."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.core.expected import Expected, count_answers
from edgexfer.runtime.watch.drift import Windows, compare, p_value

LABELS = tuple("abcdefghij")


def drawn(
    random: np.random.Generator, number: int, shares: list[float] | None = None, scores: float = 8.0
) -> list[tuple[str, float]]:
    """Predictions, each by itself: classes by their shares, scores from a beta distribution."""
    classes = random.choice(len(LABELS), number, p=shares)
    return [(LABELS[k], float(score)) for k, score in zip(classes, random.beta(scores, 1, number), strict=True)]


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_p_values_are_fishers(of: int, of_others: int, data: st.DataObject) -> None:
    hits, others = data.draw(st.integers(0, of)), data.draw(st.integers(0, of_others))

    def chance(k: int) -> Fraction:
        return Fraction(comb(of, k) * comb(of_others, hits + others - k), comb(of + of_others, hits + others))

    possible = range(max(0, hits + others - of_others), min(of, hits + others) + 1)
    exact = sum(chance(k) for k in possible if chance(k) <= chance(hits))
    assert p_value(hits, of, others, of_others) == pytest.approx(float(exact), rel=1e-9)


def test_p_values_of_large_sets_stay_numbers() -> None:
    assert p_value(0, 500, 40_000, 50_000) < 1e-200
    assert p_value(400, 500, 40_000, 50_000) == pytest.approx(1)
    assert p_value(0, 500, 0, 310) == p_value(500, 500, 310, 310) == 1


def test_false_alarms_stay_below_the_level() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        found = compare(count_answers(drawn(random, 310)), drawn(random, 200), level=0.05)
        alarms += bool(found.classes or found.scores)
    assert alarms <= 0.05 * 400


@pytest.mark.parametrize(("what", "first"), [("classes", "class 'a'"), ("scores", "scores below")])
def test_a_shift_is_found_and_named(what: str, first: str) -> None:
    random = np.random.default_rng(0)
    shares = [0.37, *[0.07] * 9] if what == "classes" else None
    seen = drawn(random, 500, shares, scores=8.0 if what == "classes" else 5.0)
    found = compare(count_answers(drawn(random, 310)), seen, level=0.001)
    other = {"classes": found.scores, "scores": found.classes}[what]
    assert other == ()
    difference = getattr(found, what)[0]
    assert str(difference).startswith(first)
    assert difference.p_value < 1e-4
    assert difference.share > 1.5 * difference.expected


def test_a_class_that_was_never_predicted_at_export_is_named() -> None:
    expected = count_answers([("a", 0.95)] * 100)
    found = compare(expected, [("z", 0.95)] * 20 + [("a", 0.95)] * 80, level=0.001)
    assert {each.what for each in found.classes} == {"class 'a'", "class 'z'"}


def test_windows_are_compared_when_they_are_full() -> None:
    expected = Expected(100, {"a": 50, "b": 50}, (0.5,), (0, 100))
    windows = Windows(expected, size=100, level=0.001)
    assert windows.add([("a", 0.9), ("b", 0.9)] * 49) is None
    ended = windows.add([("a", 0.9)] * 60)
    assert ended is not None
    assert (ended.classes, ended.scores) == ((), ())
    assert windows.add([("a", 0.9)] * 42) is windows.last
    assert windows.last is not None
    assert {each.what for each in windows.last.classes} == {"class 'a'", "class 'b'"}
    assert (windows.compared, windows.alarms["classes"], windows.alarms["scores"]) == (2, 1, 0)


def test_nothing_to_compare_with_keeps_nothing() -> None:
    windows = Windows(None, size=100, level=0.001)
    assert windows.add([("a", 0.9)] * 1000) is None
    assert (windows.compared, windows.last, windows._seen) == (0, None, [])
