from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgexfer.gate.judge.interval import alone, drift, ratio
from edgexfer.gate.metrics import METRICS

P50 = METRICS["latency_p50_ms"].value
P95 = METRICS["latency_p95_ms"].value
THROUGHPUT = METRICS["throughput_images_per_s"].value


def noisy(blocks: int, seed: int, level: NDArray[np.float64] | float = 1.0) -> dict[str, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    calls = 5e6 * np.reshape(level, (-1, 1)) * rng.lognormal(0, 0.05, (blocks, 10))
    return {"total": calls.astype(np.int64), "inference": (calls / 2).astype(np.int64)}


def slower(side: dict[str, NDArray[np.int64]], factor: float) -> dict[str, NDArray[np.int64]]:
    return {step: (values * factor).astype(np.int64) for step, values in side.items()}


@pytest.mark.parametrize("figure", [P50, P95])
def test_the_ratio_knows_what_it_cannot_tell(figure: object) -> None:
    same = ratio(noisy(60, 0), noisy(60, 1), figure)  # type: ignore[arg-type]
    assert same.low < 1 < same.high
    assert same.low < same.value < same.high
    twice = ratio(slower(noisy(60, 0), 2), noisy(60, 1), figure)  # type: ignore[arg-type]
    assert 1.8 < twice.low < twice.value < twice.high < 2.2
    assert ratio(noisy(60, 0), noisy(60, 1), figure) == same  # type: ignore[arg-type]


def test_throughput_is_the_other_way_round() -> None:
    found = ratio(slower(noisy(60, 0), 2), noisy(60, 1), THROUGHPUT)
    assert found.value == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "level",
    [
        np.linspace(1, 2, 60),  # it slows down to half its speed
        np.where(np.arange(60) % 20 < 9, 1.0, 1.6),  # it throttles and recovers
        np.where(np.arange(60) % 15 == 3, 8.0, 1.0),  # bursts of something else
    ],
    ids=["drift", "throttling", "bursts"],
)
def test_what_weighs_on_both_sides_is_not_taken_for_a_difference(level: NDArray[np.float64]) -> None:
    same = ratio(noisy(60, 2, level), noisy(60, 3, level), P50)
    assert same.low <= 1 <= same.high
    assert same.high - same.low < 0.06
    caught = ratio(slower(noisy(60, 2, level), 1.1), noisy(60, 3, level), P50)
    assert caught.low > 1.05


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    found = [ratio(noisy(30, 2 * i), noisy(30, 2 * i + 1), P50, confidence=0.9, seed=i) for i in range(40)]
    assert sum(one.low <= 1 <= one.high for one in found) >= 30


def test_one_side_alone_has_its_figure_in_its_unit() -> None:
    found = alone(noisy(60, 4), P50)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(5, abs=0.1)


def test_drift_is_seen_and_quiet_is_quiet() -> None:
    assert drift((noisy(60, 5), noisy(60, 6))) < 1.1
    throttled = np.where(np.arange(60) < 30, 1.0, 1.6)
    assert drift((noisy(60, 5, throttled), noisy(60, 6, throttled))) > 1.4
    # It is the machine's, not the sides': one twice as slow as the other is no drift.
    assert drift((noisy(60, 5), slower(noisy(60, 6), 2))) < 1.1
