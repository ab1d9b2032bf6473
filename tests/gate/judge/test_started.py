"""Load time and peak memory by a handful of processes: intervals by ranks, one value far off does not decide."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgexfer.core.target import load_target
from edgexfer.gate.judge.limits import Limit, limits_of, parse_limit
from edgexfer.gate.judge.started import interval_of_median, judge_power, judge_started, ratio_by_ranks
from edgexfer.gate.metrics import Started

LOADS = (210.0, 214.0, 208.0, 221.0, 209.0, 212.0, 213.0, 211.0, 900.0)  # one was disturbed
BUSY = (
    (489.0, 559.0, 479.0, 482.0, 240.0, 226.0, 270.0, 366.0, 207.0),
    (462.0, 499.0, 487.0, 451.0, 500.0, 233.0, 225.0, 349.0, 224.0),
)


def processes(factor: float = 1.0, *, loads: tuple[float, ...] = LOADS, memory: float = 75.6) -> list[Started]:
    return [Started(factor * load, memory + 0.1 * (number % 3)) for number, load in enumerate(loads)]


def limit(key: str, value: str) -> Limit:
    found = parse_limit(key, value, "a test")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("key", "value", "outcome"),
    [
        ("load_ms.max", "1000", "pass"),
        ("load_ms.max", "150", "fail"),
        ("load_ms.max", "212", "inconclusive"),
        ("load_ms.min", "100", "pass"),
        ("load_ms.min", "800", "fail"),
        ("peak_memory_mib.max", "76", "pass"),
        ("peak_memory_mib.max", "75", "fail"),
    ],
)
def test_a_limit_on_one_side(key: str, value: str, outcome: str) -> None:
    found = judge_started(limit(key, value), processes())
    assert found.outcome == outcome
    assert found.value == np.median([getattr(one, found.limit.metric) for one in processes()])
    assert found.evidence["samples"] == 9
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert ("9 fresh processes" in found.reason, "quieter" in found.reason) == (True, outcome == "inconclusive")


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "pass"), (0.5, "pass"), (1.10, "inconclusive"), (1.3, "fail")])
def test_against_the_reference(factor: float, outcome: str) -> None:
    found = judge_started(limit("load_ms.max_regress", "10%"), processes(factor), processes())
    assert found.outcome == outcome
    assert found.change == pytest.approx(factor - 1, abs=0.01)
    assert (found.value, found.reference) == (pytest.approx(212 * factor), 212)
    assert found.low is not None
    assert found.high is not None
    assert found.low < factor - 1 < found.high < factor * 1.06 - 1
    assert "212 ms before" in found.reason


@pytest.mark.parametrize("name", ["x86-cpu", "x86-cpu-avx2", "raspberry-pi-4", "raspberry-pi-5"])
@pytest.mark.parametrize(
    ("now", "before", "outcomes"),
    [
        (processes(), processes(), {"load_ms": "pass", "peak_memory_mib": "pass"}),
        (processes(1.2, memory=80.0), processes(), {"load_ms": "pass", "peak_memory_mib": "pass"}),
        (processes(1.8, memory=85.0), processes(), {"load_ms": "fail", "peak_memory_mib": "fail"}),
        # One bundle on 2 cores with a load of 10: half of the processes were kept waiting.
        (processes(loads=BUSY[0]), processes(loads=BUSY[1]), {"load_ms": "inconclusive", "peak_memory_mib": "pass"}),
    ],
)
def test_what_the_profiles_of_cpus_hold(
    name: str, now: list[Started], before: list[Started], outcomes: dict[str, str]
) -> None:
    limits = [one for one in limits_of(load_target(name).gates) if one.of.of == "process"]
    assert {one.metric: judge_started(one, now, before).outcome for one in limits} == outcomes


def test_a_difference_in_the_metrics_own_unit() -> None:
    what = limit("peak_memory_mib.max_regress", "4")
    found = judge_started(what, processes(memory=85.6), processes())
    assert (found.outcome, found.change) == ("fail", pytest.approx(10, abs=0.1))
    assert "MiB" in found.reason
    assert judge_started(what, processes(memory=77.6), processes()).outcome == "pass"


def test_another_days_processes_get_more_room() -> None:
    what = limit("load_ms.max_regress", "10%")
    strict, wide = (judge_started(what, processes(1.2), processes(), extra=extra) for extra in (0.0, 0.25))
    assert (strict.outcome, wide.outcome) == ("fail", "pass")
    assert (wide.evidence["extra"], wide.evidence["tolerance"]) == (0.25, pytest.approx(0.35))
    assert "+25.0 % are added" in wide.reason


def test_too_few_processes_decide_nothing() -> None:
    few = processes(loads=(1.0, 1.0, 1.0, 1.0))
    found = judge_started(limit("load_ms.max_regress", "10%"), few, few)
    assert found.outcome == "inconclusive"
    assert "4 fresh processes are too few for an interval of 99 % confidence" in found.reason
    alone = judge_started(limit("load_ms.max", "1000"), few)
    assert alone.outcome == "inconclusive"
    assert "too few for an interval of 95 % confidence" in alone.reason
    nothing = judge_started(limit("load_ms.max_regress", "10%"), processes(), None)
    assert (nothing.outcome, nothing.change) == ("inconclusive", None)


def test_power_is_judged_by_turns() -> None:
    calm = [5.1, 5.0, 5.2, 5.1, 5.0, 5.1]
    what = limit("power_w.max_regress", "10%")
    assert judge_power(what, calm, calm).outcome == "pass"
    found = judge_power(what, [1.2 * watts for watts in calm], calm)
    assert (found.outcome, found.change) == ("fail", pytest.approx(0.2, abs=0.02))
    assert "5.1 W before" in found.reason
    assert "6 turns" in found.reason
    assert judge_power(limit("power_w.max", "6"), calm).outcome == "pass"
    silent = judge_power(what, [], calm)
    assert (silent.outcome, silent.value) == ("inconclusive", None)


def test_the_ratios_interval_leaves_out_what_the_tables_say() -> None:
    # Critical values of Mann and Whitney's U at 1 %, two-sided: 0 for 5 and 5, 4 for 7 and 7, 7 for 8 and 8.
    for count, critical in ((5, 0), (7, 4), (8, 7)):
        values = [1.5 ** (3 * number) for number in range(count)]
        others = [1.1**number for number in range(count)]
        pairs = sorted(value / other for value, other in itertools.product(values, others))
        found = ratio_by_ranks(values, others)
        assert found is not None
        assert (found.low, found.high) == (pairs[critical], pairs[-1 - critical])


def test_intervals_hold_what_they_promise() -> None:
    # Skewed times of processes that do not differ: the truth is missed in about one of a hundred.
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(400):
        one, other = (rng.gamma(2.0, 1.0, 7) + 1 for _ in range(2))
        found = ratio_by_ranks(one.tolist(), other.tolist())
        assert found is not None
        missed += not found.low <= 1 <= found.high
    assert missed <= 10


def test_the_medians_interval() -> None:
    assert interval_of_median([1, 2, 3, 4, 5]) is None
    nine = interval_of_median([9, 1, 2, 3, 4, 5, 6, 7, 8])
    assert nine is not None
    assert (nine.value, nine.low, nine.high) == (5, 2, 8)
    many = interval_of_median(list(range(101)))
    assert many is not None
    assert (many.low, many.value, many.high) == (40, 50, 60)
