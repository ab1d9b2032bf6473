from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgexfer.gate.judge.mcnemar import ALPHA, holm, images_needed, least_loss, p_value, tango_interval

COUNTS = st.integers(0, 400)


@settings(deadline=None)
@given(COUNTS, COUNTS)
@example(0, 0)
def test_p_values_are_those_of_the_binomial_test(lost: int, won: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with scikit-learn, in the extra [train]")
    expected = stats.binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    assert p_value(lost, won) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_what_is_lost_the_one_way_is_won_the_other(lost: int, won: int) -> None:
    # P(X >= lost) and P(X >= won) cover everything, and what they share is P(X = lost).
    together = p_value(lost, won) + p_value(won, lost)
    assert together == pytest.approx(1 + math.comb(lost + won, lost) / 2 ** (lost + won))


def test_many_images_are_no_overflow() -> None:
    assert p_value(50_400, 49_600) == pytest.approx(0.0057, abs=0.0001)
    assert p_value(100_000, 0) == 0


def test_five_lost_images_are_the_least_that_is_significant() -> None:
    assert p_value(4, 0) > ALPHA > p_value(5, 0)
    assert [least_loss(discordant) for discordant in (0, 4, 5, 6, 20)] == [5, 5, 5, 6, 10]
    assert least_loss(alpha=ALPHA / 43) == 10


@settings(deadline=None)
@given(st.integers(0, 2000))
def test_the_least_loss_is_significant_and_one_image_less_is_not(discordant: int) -> None:
    loss = least_loss(discordant)
    images = max(discordant, 5)
    lost = (images + loss) // 2
    assert p_value(lost, images - lost) <= ALPHA < p_value(lost - 1, images - lost + 1)


def test_the_images_that_are_needed_show_the_drop() -> None:
    # By simulation: Connor's number of images has the power that it is for, and far fewer have not.
    rng = np.random.default_rng(0)

    def power(images: int, drop: float, discordant: float) -> float:
        rates = ((discordant + drop) / 2, (discordant - drop) / 2)
        counts = rng.multinomial(images, (*rates, 1 - discordant), size=400)
        return float(np.mean([p_value(int(lost), int(won)) <= ALPHA for lost, won, _ in counts]))

    for drop, discordant in ((0.03, 0.05), (0.02, 0.1)):
        images = images_needed(drop, discordant)
        assert 0.7 < power(images, drop, discordant) < 0.9
        assert power(images // 3, drop, discordant) < 0.55
    assert images_needed(0.01, 0.0) == images_needed(0.01, 0.01) == 617
    assert images_needed(1.0, 1.0) == 5


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 300), st.sampled_from([0.8, 0.9, 0.95, 0.999]))
@example(1, 0, 0, 0.9)
@example(0, 0, 1, 0.9)
def test_tango_mirrors_and_holds_the_change(lost: int, won: int, others: int, confidence: float) -> None:
    images = lost + won + others
    low, high = tango_interval(lost, won, images, confidence)
    if images == 0:
        assert math.isnan(low)
        assert math.isnan(high)
        return
    assert -1 <= low <= (won - lost) / images <= high <= 1
    assert low < high
    mirrored = tango_interval(won, lost, images, confidence)
    assert (low, high) == pytest.approx((-mirrored[1], -mirrored[0]), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 200))
def test_tango_is_the_score_test_turned_round(lost: int, won: int, others: int) -> None:
    # The likeliest rates under each change are found numerically here, by a closed form there.
    optimize = pytest.importorskip("scipy.optimize", reason="scipy comes with scikit-learn, in the extra [train]")
    images = lost + won + others

    def score(change: float) -> float:
        def unlikelihood(rate: float) -> float:
            return -float(
                lost * np.log(rate) + won * np.log(rate + change) + others * np.log(1 - 2 * rate - change)
            )  # fmt: skip

        low, high = max(0.0, -change) + 1e-12, (1 - change) / 2 - 1e-12
        rate = optimize.minimize_scalar(unlikelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
        return float((won - lost - images * change) / math.sqrt(images * (2 * rate + change - change * change)))

    low, high = tango_interval(lost, won, images, 0.95)
    assert score(low) == pytest.approx(1.959964, abs=1e-3)
    assert score(high) == pytest.approx(-1.959964, abs=1e-3)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= new <= 1 for p, new in zip(p_values, adjusted, strict=True))
    assert all(new <= min(1, len(p_values) * p) + 1e-12 for p, new in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
