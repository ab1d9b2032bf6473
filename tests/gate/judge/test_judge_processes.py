"""Limits on processes, power and stored answers: who else used the machine, and who gave the answers, is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgexfer.gate.judge import evidence
from edgexfer.gate.judge.answers import answers_of
from edgexfer.gate.judge.baseline import baseline_place, write_baseline
from edgexfer.gate.judge.judge import judge
from edgexfer.gate.judge.limits import Limit, parse_limit
from edgexfer.gate.machine.host import host_facts, machine_class
from edgexfer.gate.machine.power import PowerSource
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.metrics import METRICS, Started
from tests.bundles import make_bundle
from tests.gate.baselines import make_baseline
from tests.gate.images import write_folders

WAITED = "it waited for a CPU for 30.0 % of its time"


def limits(*keys: str, value: float | str) -> list[Limit]:
    return [one for key in keys if (one := parse_limit(key, value, "a test")) is not None]


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle that takes 200 ms to open, 100 MiB and 5 W, on a machine on which it has to wait for a CPU."""
    monkeypatch.setattr("edgexfer.gate.judge.judge.disqualifying", lambda *_: [])
    monkeypatch.setattr(evidence, "kept_waiting", lambda *_: WAITED, raising=False)
    monkeypatch.setattr(evidence, "power_source", lambda: (PowerSource("a sensor", lambda: 5.0), ""))
    monkeypatch.setattr(evidence, "started_in_turns", lambda made, **_: [[Started(200.0, 100.0)] * 9 for _ in made])
    monkeypatch.setattr(evidence, "power_in_turns", lambda sides, *_, **__: [(5.0,) * 6 for _ in sides])
    monkeypatch.chdir(tmp_path)
    return make_bundle(tmp_path / "tiny.edgx", backend="fake")


def test_a_busy_machine_decides_nothing_of_one_side_alone(bundle: Path) -> None:
    found = judge(bundle, limits=limits("load_ms.max", "power_w.max", "peak_memory_mib.max", value=1))
    load, power, memory = found.verdicts
    for verdict in (load, power):
        assert verdict.outcome == "inconclusive"
        assert WAITED in verdict.reason
    assert memory.outcome == "fail"  # it holds as much, however long it waits
    assert judge(bundle, baseline=bundle, limits=limits("load_ms.max", value=1)).outcome == "inconclusive"


def test_in_turns_with_the_old_bundle_both_waited(bundle: Path) -> None:
    found = judge(bundle, baseline=bundle, limits=limits("load_ms.max_regress", "power_w.max_regress", value="5%"))
    assert [verdict.outcome for verdict in found.verdicts] == ["pass", "pass"]


def test_a_quiet_machine_decides(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "kept_waiting", lambda *_: None)
    found = judge(bundle, limits=limits("load_ms.max", "power_w.max", value=1))
    assert [verdict.outcome for verdict in found.verdicts] == ["fail", "fail"]


def test_the_bar_moves_while_processes_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = evidence.started_in_turns
    monkeypatch.setattr(evidence, "started_in_turns", lambda made, **settings: start(made, 1, **settings))
    moved: list[tuple[float, float]] = []
    made = make_bundle(tmp_path / "tiny.edgx", backend="fake")
    judge(made, limits=limits("load_ms.max", value=1), progress=lambda done, whole: moved.append((done, whole)))
    assert moved == [(1, 2), (2, 2)]


def test_answers_of_another_machine_or_engine_are_said_to_be(bundle: Path, tmp_path: Path) -> None:
    data = write_folders(tmp_path / "data")
    answered = evaluate(bundle, str(data), backend="fake")
    here = machine_class(host_facts())

    def warnings(of: str, *, simulated: bool) -> tuple[str, ...]:
        subject = replace(answered.subject, digest="ab" * 32, simulated=simulated)  # the old bundle is gone
        given = replace(answered, subject=subject)
        made = make_baseline(evaluation=given, subject=subject, machine_class=of, labels=answered.labels)
        made = replace(made, host={**made.host, "machine_class": of})
        figures = {**made.figures, "top1": METRICS["top1"].value(answers_of(given))}
        place = baseline_place(tmp_path / "b", "tiny", "test", of)
        write_baseline(replace(made, figures=figures), place)
        return judge(bundle, baseline=place, data=data, limits=limits("top1.max_regress", value="1%")).warnings

    assert warnings(here, simulated=False) == ()
    (other,) = warnings("Board Z, 64 cores", simulated=False)
    assert other == f"the baseline's answers were given on 'Board Z, 64 cores', these on '{here}'"
    (simulated,) = warnings(here, simulated=True)
    assert "the baseline's answers were given by an engine that simulates the target" in simulated
