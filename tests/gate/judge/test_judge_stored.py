"""From `accept` to `judge`: a baseline's file without its bundle, on this machine and from another one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgexfer.gate.judge import accept, evidence, sampling, stored
from edgexfer.gate.judge.accept import propose
from edgexfer.gate.judge.baseline import read_baseline, write_baseline
from edgexfer.gate.judge.judge import judge
from edgexfer.gate.judge.limits import parse_limit
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.machine.power import PowerSource
from edgexfer.gate.metrics import Started
from tests.bundles import make_bundle

STEP = "inference_p50_ms"  # decoding a JPEG is not the bundle's doing


@pytest.fixture(autouse=True)
def _a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (accept, sampling):
        monkeypatch.setattr(module, "unsteady", lambda *_: [])
    for module in (sampling, evidence):
        monkeypatch.setattr(module, "kept_waiting", lambda *_: None)
    monkeypatch.setattr(stored, "MOST_DRIFT", 100.0)
    for module in (accept, evidence):
        start = module.started_in_turns
        monkeypatch.setattr(
            module, "started_in_turns", lambda found, start=start, **settings: start(found, 5, **settings)
        )


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline of 2 ms a call, as of a quiet machine; its bundle is gone."""
    folder = tmp_path_factory.mktemp("accepted")
    bundle = bundle_of(folder, 2.0)
    found = propose(bundle, baselines=folder / "baselines", by="Ada", seconds=3.0, threads=1)
    quiet = replace(found.baseline, accepted=replace(found.baseline.accepted, despite=()))
    shutil.rmtree(bundle)
    return replace(found, baseline=quiet).write()


def bundle_of(folder: Path, latency_ms: float) -> Path:
    return make_bundle(folder / "tiny.edgx", backend="fake", options={"latency_ms": latency_ms})


def judged(bundle: Path, baseline: Path, key: str = STEP, value: str = "5%", **settings: Any) -> Verdict:
    limit = parse_limit(f"{key}.max_regress", value, "a test")
    assert limit is not None
    result = judge(bundle, baseline=baseline, limits=[limit], **{"seconds": 6.0, "threads": 1, **settings})
    (verdict,) = result.verdicts
    return verdict


def test_a_slower_bundle_fails_against_the_file_alone(accepted: Path, tmp_path: Path) -> None:
    # By so much that it is seen even while other programs slow the workload, which `fake` does not feel.
    found = judged(bundle_of(tmp_path, 12.0), accepted.parents[1], seconds=10.0)
    assert found.outcome == "fail", found.reason
    assert found.evidence["stored"] is True
    assert found.value == pytest.approx(12, rel=0.2)
    assert found.change is not None
    assert found.change > 0.5


def test_a_faster_bundle_passes(accepted: Path, tmp_path: Path) -> None:
    found = judged(bundle_of(tmp_path, 0.2), accepted, seconds=10.0)
    assert (found.outcome, found.reference is not None) == ("pass", True), found.reason


@pytest.mark.parametrize("metric", [STEP, "load_ms", "peak_memory_mib", "power_w"])
def test_another_machines_file_decides_nothing(accepted: Path, tmp_path: Path, metric: str) -> None:
    foreign = tmp_path / "foreign.json"
    write_baseline(replace(read_baseline(accepted), machine_class="Board Z, 64 cores"), foreign)
    found = judged(bundle_of(tmp_path, 100.0), foreign, metric, seconds=0.5)
    assert found.outcome == "inconclusive"
    assert "measured on 'Board Z, 64 cores', this is '" in found.reason


def test_other_threads_decide_nothing(accepted: Path, tmp_path: Path) -> None:
    found = judged(bundle_of(tmp_path, 1.9), accepted, "peak_memory_mib", threads=None)
    assert "with 1 thread, this is with threads as the engine chooses" in found.reason


def test_memory_is_compared_with_the_stored_processes(accepted: Path, tmp_path: Path) -> None:
    found = judged(bundle_of(tmp_path, 1.9), accepted, "peak_memory_mib", "10%")
    assert found.outcome == "pass"
    assert found.evidence["extra"] == 0.05


@pytest.mark.parametrize("metric", ["peak_memory_mib", "power_w"])
def test_a_forced_file_acquits_no_process_and_no_power(
    accepted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    stored_one = read_baseline(accepted)
    processes = [Started(200.0, peak) for peak in stored_one.peak_memory_mib]
    monkeypatch.setattr(evidence, "started_in_turns", lambda *_, **__: [processes])
    monkeypatch.setattr(evidence, "power_source", lambda: (PowerSource("a sensor", lambda: 4.0), ""))
    monkeypatch.setattr(evidence, "power_in_turns", lambda *_, **__: [(4.0,) * 6])
    forced, bundle = tmp_path / "forced.json", bundle_of(tmp_path, 1.9)
    for despite, outcome in (((), "pass"), (("it was busy",), "inconclusive")):
        who = replace(stored_one.accepted, despite=despite)
        figures = {**stored_one.figures, "power_w": 4.0}
        write_baseline(replace(stored_one, accepted=who, power_w=(4.0,) * 6, figures=figures), forced)
        found = judged(bundle, forced, metric)
        assert found.outcome == outcome, found.reason
        assert ("accepted although it was busy" in found.reason) == bool(despite)


def test_power_is_inconclusive_where_nothing_tells(
    accepted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "power_source", lambda: (None, "this device does not tell"))
    found = judged(bundle_of(tmp_path, 1.9), accepted, "power_w")
    assert (found.outcome, found.reason) == ("inconclusive", "this device does not tell")
    monkeypatch.setattr(evidence, "power_source", lambda: (PowerSource("a sensor", lambda: 5.0), ""))
    turns = evidence.power_in_turns
    monkeypatch.setattr(evidence, "power_in_turns", lambda *given, **more: turns(*given, turns=6, seconds=0.7, **more))
    without = judged(bundle_of(tmp_path, 1.9), accepted, "power_w")
    assert (without.outcome, without.value) == ("inconclusive", 5.0)
    assert "the baseline has no turns" in without.reason
    with_watts = tmp_path / "with.json"
    given = read_baseline(accepted)
    watts = replace(given, power_w=(4.0,) * 6, figures={**given.figures, "power_w": 4.0})
    write_baseline(watts, with_watts)
    found = judged(bundle_of(tmp_path, 1.9), with_watts, "power_w")
    assert (found.outcome, found.change) == ("fail", pytest.approx(0.25))
