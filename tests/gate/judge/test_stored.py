"""Against a stored baseline: other speeds of one machine class compare, other machines do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgexfer.gate.judge.baseline import Accepted
from edgexfer.gate.judge.limits import Limit, parse_limit
from edgexfer.gate.judge.stored import EXTRA, extra_of, judge_stored, mismatch
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.measure.turns import Blocks
from tests.gate.baselines import MACHINE, make_baseline, ticks, times

BASELINE = make_baseline(times(5.0), ticks())


def limit(metric: str = "latency_p50_ms", value: str = "5%") -> Limit:
    found = parse_limit(f"{metric}.max_regress", value, "a test")
    assert found is not None
    return found


def judged(candidate: Blocks, workload: Blocks, what: Limit | None = None, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {"machine_class": MACHINE, "threads": 1, "images": BASELINE.images, **changes}
    return judge_stored(what or limit(), candidate, workload, facts.pop("baseline", BASELINE), **facts)


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.6])
def test_the_same_bundle_passes_at_any_speed_of_the_machine(speed: float) -> None:
    found = judged(times(5.0, seed=7, speed=speed), ticks(seed=8, speed=speed))
    assert found.outcome == "pass"
    assert found.change == pytest.approx(0, abs=0.01)
    assert found.value == pytest.approx(5.0 / speed, rel=0.01)
    assert found.reference == pytest.approx(5.0 / speed, rel=0.02)
    assert found.evidence["reference_then"] == pytest.approx(5.0, rel=0.01)
    assert found.evidence["workload_ms"] == pytest.approx(1 / speed, rel=0.01)


@pytest.mark.parametrize(("factor", "outcome"), [(1.10, "pass"), (1.15, "inconclusive"), (1.20, "fail"), (0.5, "pass")])
def test_slower_by_more_than_limit_and_extra_fails(factor: float, outcome: str) -> None:
    found = judged(times(5.0 * factor, seed=7, speed=0.8), ticks(seed=8, speed=0.8))
    assert found.outcome == outcome
    assert found.change is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.change < found.high
    assert found.change == pytest.approx(factor - 1, abs=0.02)


def test_the_wider_tolerance_is_shown() -> None:
    found = judged(times(5.0, seed=7), ticks(seed=8))
    assert (found.evidence["extra"], found.evidence["tolerance"]) == (EXTRA, pytest.approx(0.05 + EXTRA))
    assert "the limit of 5.0 % and 10.0 % for two different runs" in found.reason
    assert extra_of(limit("latency_p99_ms")) > extra_of(limit("latency_p95_ms")) > extra_of(limit())


def test_a_limit_in_milliseconds_is_of_this_machines_speed() -> None:
    what = limit(value="0.5")
    slow = judged(times(10.0, seed=7, speed=0.5), ticks(seed=8, speed=0.5), what)
    assert slow.outcome == "fail"  # 20 ms instead of 10: limit and extra are 1.5 ms
    assert slow.change == pytest.approx(10.0, rel=0.05)
    assert slow.reference == pytest.approx(10.0, rel=0.05)
    assert slow.evidence["tolerance"] == pytest.approx(1.5, rel=0.02)
    assert "ms" in slow.reason
    assert judged(times(5.0, seed=7, speed=0.5), ticks(seed=8, speed=0.5), what).outcome == "pass"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "pass"), (1.4, "fail"), (0.7, "pass")])
def test_throughput_is_better_the_higher_it_is(factor: float, outcome: str) -> None:
    found = judged(times(5.0 * factor, seed=7, speed=2), ticks(seed=8, speed=2), limit("throughput_images_per_s"))
    assert found.outcome == outcome
    assert found.change == pytest.approx(1 / factor - 1, abs=0.02)


def test_a_slower_second_half_of_the_run_is_not_the_bundles() -> None:
    candidate, workload = times(5.0, seed=7), ticks(seed=8)
    for side in (candidate, workload):
        for values in side.values():
            values[20:] = values[20:] * 3 // 2
    found = judged(candidate, workload)
    assert found.outcome == "pass"
    assert found.change == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"machine_class": "PC, 2 cores"}, f"measured on '{MACHINE}', this is 'PC, 2 cores'"),
        ({"threads": 2}, "measured with 1 thread, this is with 2 threads"),
        ({"threads": None}, "this is with threads as the engine chooses"),
        ({"images": "photographs"}, "this is with photographs"),
        ({"baseline": make_baseline(workload_name="0, numpy 1.0")}, "beside workload 0, numpy 1.0, this edgexfer has"),
    ],
)
def test_what_does_not_compare_is_inconclusive_and_says_why(changes: dict[str, Any], said: str) -> None:
    found = judged(times(50.0), ticks(), **changes)
    assert found.outcome == "inconclusive"
    assert said in found.reason
    assert "edgexfer baseline accept" in found.reason
    assert (found.reference, found.change, found.low, found.high) == (None, None, None, None)
    assert found.value == pytest.approx(50, rel=0.01)


def test_what_compares_has_no_mismatch() -> None:
    assert mismatch(BASELINE, machine_class=MACHINE, threads=1, images=BASELINE.images) is None


@pytest.mark.parametrize("short", ["now", "then"])
def test_few_turns_decide_nothing(short: str) -> None:
    few, many = (times(50.0, blocks=8), ticks(blocks=8)), (times(5.0), ticks())
    candidate, stored = (few, many) if short == "now" else (many, few)
    found = judged(*candidate, baseline=make_baseline(*stored))
    assert found.outcome == "inconclusive"
    assert "24 are the least" in found.reason


def test_a_baseline_that_was_forced_on_a_drifting_machine_acquits_nobody() -> None:
    calls, workload = times(5.0), ticks()
    for side in (calls, workload):
        for values in side.values():
            values[:10] *= 2
    found = judged(times(5.0, seed=7), ticks(seed=8), baseline=make_baseline(calls, workload))
    assert found.outcome == "inconclusive"
    assert "when the baseline was accepted (at most" in found.reason


def test_a_forced_baseline_acquits_nobody_and_still_convicts() -> None:
    forced = make_baseline(accepted=Accepted("Ada", "2025-11-21T08:30:00Z", "", ("it swapped", "it was busy")))
    found = judged(times(5.0, seed=7), ticks(seed=8), baseline=forced)
    assert found.outcome == "inconclusive"
    assert "the baseline was accepted although it swapped; it was busy: accept it again" in found.reason
    assert found.change == pytest.approx(0, abs=0.01)
    assert judged(times(6.5, seed=7), ticks(seed=8), baseline=forced).outcome == "fail"


def test_the_same_samples_give_the_same_verdict() -> None:
    first, again = (judged(times(5.5, seed=7), ticks(seed=8)) for _ in range(2))
    assert first == again


def test_two_runs_of_one_bundle_do_not_fail_by_chance() -> None:
    # Speeds that differ by a quarter, and 6 % that the workload does not follow, as between runs on a shared machine.
    rng = np.random.default_rng(0)
    outcomes = []
    for seed in range(12):
        speed, unseen = rng.uniform(0.8, 1.0), rng.normal(1, 0.03, 2)
        stored = make_baseline(times(5.0 * unseen[0], seed=seed), ticks(seed=seed + 500))
        now = times(5.0 * unseen[1], seed=seed + 1000, speed=speed), ticks(seed=seed + 2000, speed=speed)
        outcomes.append(judged(*now, baseline=stored).outcome)
    assert "fail" not in outcomes
    assert outcomes.count("pass") > 9
