from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.gate.judge.limits import Limit, parse_limit
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.metrics import METRICS
from edgexfer.gate.words import (
    change_in_words,
    interval_in_words,
    limit_in_words,
    points_in_words,
    value_in_words,
)


def limit(key: str, value: object) -> Limit:
    found = parse_limit(key, value, "a test")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("latency_p95_ms", 4.8512, "4.85 ms"),
        ("latency_p95_ms", 0.0423, "0.0423 ms"),
        ("latency_p95_ms", 123.4, "123 ms"),
        ("throughput_images_per_s", 24715.3, "24715 images/s"),
        ("top1", 308 / 310, "99.35 %"),
        ("top1", 1.0, "100.00 %"),
        ("size_bytes", 3809711.0, "3.81 MB"),
        ("power_w", 0.0, "0 W"),
        ("top1", None, "–"),
        ("macro_f1", math.nan, "–"),
    ],
)
def test_a_value(name: str, value: float | None, words: str) -> None:
    assert value_in_words(METRICS[name], value) == words


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("latency_p95_ms.max", 12, "at most 12 ms"),
        ("top1.min", "90%", "at least 90 %"),
        ("recall:stop.min", 0.955, "at least 95.5 %"),
        ("size_bytes.max", 4_000_000, "at most 4 MB"),
        ("latency_p95_ms.max_regress", "5%", "at most 5 % slower than the baseline"),
        ("latency_p95_ms.max_regress", 0.5, "at most 0.5 ms slower than the baseline"),
        ("throughput_images_per_s.max_regress", "2.5%", "at most 2.5 % slower than the baseline"),
        ("size_bytes.max_regress", "10%", "at most 10 % larger than the baseline"),
        ("peak_memory_mib.max_regress", "10%", "at most 10 % more than the baseline"),
        ("power_w.max_regress", 0.25, "at most 0.25 W more than the baseline"),
        ("top1.max_drop", 0.01, "at most 1 point below the float network"),
        ("top1.max_regress", "0.5%", "at most 0.5 points below the baseline"),
        ("calibration_error.max_regress", 0.02, "at most 2 points above the baseline"),
        ("top1.max_drop", 0, "not below the float network"),
        ("latency_p50_ms.max_regress", 0, "not slower than the baseline"),
    ],
)
def test_a_limit(key: str, value: object, words: str) -> None:
    assert limit_in_words(limit(key, value)) == words


@pytest.mark.parametrize(
    ("key", "value", "change", "ends", "words", "interval"),
    [
        ("latency_p95_ms.max_regress", "5%", 0.031, (0.024, 0.039), "+3.1 % (+2.4 to +3.9)", "+2.4 to +3.9 %"),
        ("top1.max_regress", "1%", -0.02, (None, None), "-2.0 points", ""),
        ("latency_p95_ms.max_regress", 0.5, 0.0412, (None, None), "+0.041 ms", ""),
        ("latency_p95_ms.max_regress", 0.5, 0.0, (-0.2, math.nan), "0.0 ms", ""),
        ("size_bytes.max_regress", 100_000, -250_000.0, (None, None), "-0.2 MB", ""),
        ("top1.min", 0.9, None, (0.87, 0.93), "", "87.00 % to 93.00 %"),
    ],
)
def test_a_change(
    key: str,
    value: object,
    change: float | None,
    ends: tuple[float | None, float | None],
    words: str,
    interval: str,
) -> None:
    verdict = Verdict(limit(key, value), "pass", "", 1.0, 1.0, change, *ends)
    assert change_in_words(verdict) == words
    assert change_in_words(verdict, interval=False) == words.partition(" (")[0]
    assert interval_in_words(verdict) == interval


@given(st.floats(0, 1))
def test_points_are_never_none_for_what_is_more_than_none(fraction: float) -> None:
    words = points_in_words(fraction)
    assert words == points_in_words(-fraction)
    assert (words == "0 points") == (fraction == 0)
    assert words.endswith(" point") == words.startswith("1 ")
