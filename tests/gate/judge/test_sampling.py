from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.gate.judge.limits import Limit, parse_limit
from edgexfer.gate.judge.sampling import judge_calls
from edgexfer.gate.judge.turn_by_turn import judge_turns
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.machine import host
from tests.bundles import make_bundle
from tests.gate.judge.simulated import Level, Machine, evidence_of


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "made.edgx", backend="fake")


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    # What this machine's kernel counts while tests run is not what these tests are about.
    monkeypatch.setattr("edgexfer.gate.judge.stability.disqualifying", lambda *_: [])


def limit(key: str, value: str | float) -> Limit:
    made = parse_limit(key, value, "test")
    assert made is not None
    return made


def verdict_on(
    bundle: Path,
    *,
    slower: float = 1.0,
    level: Level = lambda _: 1.0,
    key: str = "latency_p50_ms.max_regress",
    value: str | float = "2%",
    seconds: float = 45.0,
    seed: int = 0,
) -> tuple[Verdict, float]:
    machine = Machine(level, seed=seed)
    seen = evidence_of(bundle, machine, slower=slower)
    return judge_calls([limit(key, value)], seen, seconds)[key], machine.now_s


def test_a_bundle_against_itself_passes_within_seconds(bundle: Path) -> None:
    verdict, seconds = verdict_on(bundle)
    assert verdict.outcome == "pass"
    assert seconds < 15
    assert verdict.change is not None
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low < verdict.change < verdict.high <= 0.02


def test_five_per_cent_slower_fails_and_says_by_how_much(bundle: Path) -> None:
    verdict, _ = verdict_on(bundle, slower=1.05)
    assert verdict.outcome == "fail"
    assert verdict.change == pytest.approx(0.05, abs=0.02)
    assert verdict.low is not None
    assert verdict.low > 0.02
    assert verdict.value == pytest.approx(5.25, rel=0.02)
    assert verdict.reference == pytest.approx(5.0, rel=0.02)
    assert "%" in verdict.reason


def test_what_lies_at_the_limit_is_measured_until_the_time_is_up(bundle: Path) -> None:
    found = Counter()
    for seed in range(2):
        verdict, seconds = verdict_on(bundle, slower=1.02, seconds=12, seed=seed)
        found[verdict.outcome] += 1
        if verdict.outcome == "inconclusive":
            assert 12 <= seconds < 20
            assert "--seconds" in verdict.reason
    assert found["inconclusive"] >= 1


def test_ten_per_cent_faster_passes(bundle: Path) -> None:
    verdict, _ = verdict_on(bundle, slower=0.9)
    assert verdict.outcome == "pass"
    assert verdict.change == pytest.approx(-0.1, abs=0.02)


@pytest.mark.parametrize(
    ("key", "value", "outcome"),
    [
        ("latency_p50_ms.max", 6.0, "pass"),
        ("latency_p50_ms.max", 4.5, "fail"),
        ("latency_p95_ms.max", 6.0, "pass"),
        ("latency_p99_ms.max", 4.5, "fail"),
        ("latency_p50_ms.max_regress", 0.1, "pass"),  # milliseconds
        ("throughput_images_per_s.min", 150, "pass"),
        ("throughput_images_per_s.min", 250, "fail"),
        ("throughput_images_per_s.max_regress", "2%", "pass"),
        ("inference_p50_ms.max_regress", "2%", "pass"),
    ],
)
def test_every_kind_of_limit_on_time_is_judged(bundle: Path, key: str, value: str | float, outcome: str) -> None:
    assert verdict_on(bundle, key=key, value=value)[0].outcome == outcome


def test_fewer_images_a_second_is_a_regression(bundle: Path) -> None:
    verdict, _ = verdict_on(bundle, slower=1.08, key="throughput_images_per_s.max_regress", value="2%")
    assert verdict.outcome == "fail"
    assert verdict.change == pytest.approx(-0.074, abs=0.02)


def throttling(seconds: float) -> float:
    return 1.0 if seconds % 3 < 1.5 else 1.7


def test_throttling_never_passes(bundle: Path) -> None:
    verdict, _ = verdict_on(bundle, level=throttling)
    assert verdict.outcome == "inconclusive"
    assert "drifted" in verdict.reason


def test_throttling_does_not_hide_a_regression(bundle: Path) -> None:
    verdict, _ = verdict_on(bundle, slower=1.06, level=throttling)
    assert verdict.outcome == "fail"
    assert "drifted" in verdict.reason


def test_an_absolute_limit_that_throttling_broke_is_no_failure(bundle: Path) -> None:
    verdict, _ = verdict_on(bundle, level=throttling, key="latency_p50_ms.max", value=4.0)
    assert verdict.outcome == "inconclusive"


def test_what_the_kernel_counted_keeps_a_verdict_from_passing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = ["the CPU throttled 3 times while measuring"]
    monkeypatch.setattr("edgexfer.gate.judge.stability.disqualifying", lambda *_: reasons)
    verdict, _ = verdict_on(bundle)
    assert verdict.outcome == "inconclusive"
    assert "throttled 3 times" in verdict.reason


def test_several_limits_share_the_samples_and_stop_when_all_are_decided(bundle: Path) -> None:
    seen = evidence_of(bundle, Machine())
    limits = [limit("latency_p50_ms.max_regress", "2%"), limit("latency_p95_ms.max", 7.0)]
    found = judge_calls(limits, seen, 45)
    assert {verdict.outcome for verdict in found.values()} == {"pass"}
    rounds = seen.turns.rounds
    again = judge_calls([limit("latency_p95_ms.max", 8.0)], seen, 45)
    assert again["latency_p95_ms.max"].outcome == "pass"
    assert seen.turns.rounds == rounds


def test_too_little_time_is_inconclusive(bundle: Path) -> None:
    verdict, _ = verdict_on(bundle, seconds=0.3)
    assert verdict.outcome == "inconclusive"
    assert "turns were measured" in verdict.reason


def test_a_tail_that_few_calls_cannot_show_is_left_open() -> None:
    slow = {"total": np.full((24, 2), 50_000_000)}  # 24 turns of a slow network: 48 calls
    for name, outcome in (
        ("latency_p50_ms", "pass"),
        ("latency_p95_ms", "inconclusive"),
        ("latency_p99_ms", "inconclusive"),
    ):
        assert judge_turns(limit(f"{name}.max", 60), slow).outcome == outcome
        assert judge_turns(limit(f"{name}.max_regress", "5%"), slow, slow).outcome == outcome
    many = {"total": np.full((60, 10), 50_000_000)}
    assert judge_turns(limit("latency_p99_ms.max", 60), many).outcome == "pass"
    assert "wants 528" in judge_turns(limit("latency_p99_ms.max", 60), slow).reason


def test_times_that_never_settled_acquit_nobody(bundle: Path) -> None:
    seen = evidence_of(bundle, Machine())
    seen.turns.steady = False
    found = judge_calls([limit("latency_p50_ms.max_regress", "2%")], seen, 45)["latency_p50_ms.max_regress"]
    assert found.outcome == "inconclusive"
    assert "still changing" in found.reason


def test_no_seed_makes_it_cry_wolf(bundle: Path) -> None:
    def bursts(seconds: float) -> float:
        return 6.0 if seconds % 1.7 < 0.1 else 1.0 + 0.2 * (seconds % 9) / 9

    found = [verdict_on(bundle, level=bursts, seed=seed)[0].outcome for seed in range(3)]
    assert "fail" not in found


def test_facts_of_this_machine_are_json(bundle: Path) -> None:
    facts: dict[str, Any] = evidence_of(bundle, Machine()).host
    assert host.machine_class(facts)
