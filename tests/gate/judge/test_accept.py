"""Accepting: measured on a tiny bundle, refused where the machine was not fit, written whole and with a reason."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.core.errors import SettingsError
from edgexfer.gate.judge import accept, evidence
from edgexfer.gate.judge.accept import Proposal, git_user, propose
from edgexfer.gate.judge.baseline import find_baseline, read_baseline
from edgexfer.gate.machine.host import host_facts, machine_class
from edgexfer.gate.machine.power import PowerSource
from edgexfer.gate.measure.workload import WORKLOAD
from edgexfer.gate.metrics import METRICS
from tests.bundles import make_bundle
from tests.gate.images import write_folders


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine runs other tests as well; here it is taken for a quiet one."""
    monkeypatch.setattr(accept, "unsteady", lambda *_: [])
    monkeypatch.setattr(accept, "contended", lambda *_: [])


@pytest.fixture(autouse=True)
def _two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nine are for people, who have more patience.
    start = accept.started_in_turns
    monkeypatch.setattr(accept, "started_in_turns", lambda bundles, **settings: start(bundles, 2, **settings))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "tiny.edgx", backend="fake", options={"latency_ms": 0.5})


def proposed(bundle: Path, folder: Path, **settings: Any) -> Proposal:
    return propose(bundle, baselines=folder, by="Ada", **{"seconds": 1.0, "threads": 1, **settings})


@pytest.mark.usefixtures("steady")
def test_everything_is_measured_and_comes_back(bundle: Path, tmp_path: Path) -> None:
    data = write_folders(tmp_path / "data")
    found = proposed(bundle, tmp_path / "b", data=data)
    assert (found.before, found.doubts, found.notes) == (None, (), ())
    assert not found.place.exists()
    assert found.write() == found.place
    here = machine_class(host_facts())
    assert find_baseline(tmp_path / "b", "tiny", "test", here) == found.place
    baseline = read_baseline(found.place)
    assert baseline == found.baseline
    assert (baseline.accepted.by, baseline.accepted.why, baseline.accepted.despite) == ("Ada", "", ())
    assert (baseline.machine_class, baseline.threads, baseline.workload_name) == (here, 1, WORKLOAD)
    calls, ticks = baseline.calls(), baseline.workload()
    assert len(calls["total"]) == len(ticks["total"]) >= 24
    assert np.median(calls["inference"]) >= 500_000
    evaluation = baseline.evaluation()
    assert evaluation is not None
    assert (evaluation.top1, len(evaluation.images)) == (1.0, 12)
    assert len(baseline.started()) == 2
    one_number = {name for name, metric in METRICS.items() if metric.of != "classes"}
    assert set(baseline.figures) == one_number | {"images", "calls", "workload_p50_ms"}
    assert baseline.figures["top1"] == 1
    assert baseline.figures["size_bytes"] == (bundle / "model.onnx").stat().st_size
    assert baseline.figures["load_ms"] == pytest.approx(np.median(baseline.load_ms), rel=1e-4)


@pytest.mark.usefixtures("steady")
def test_a_change_wants_a_reason_before_anything_is_measured(bundle: Path, tmp_path: Path) -> None:
    first = proposed(bundle, tmp_path / "b")
    assert first.notes == ("the bundle records no answers from its export: give images with --data",)
    first.write()
    with pytest.raises(SettingsError, match="is there already: say why it changes"):
        proposed(bundle, tmp_path / "b", seconds=3600.0)
    slower = make_bundle(tmp_path / "slow" / "tiny.edgx", backend="fake", options={"latency_ms": 20})
    second = proposed(slower, tmp_path / "b", why=" a larger head ")
    assert (second.place, second.before) == (first.place, first.baseline)
    (p50,) = [(old, new) for name, old, new in second.changes() if name == "inference_p50_ms"]
    assert p50[0] is not None
    assert p50[1] is not None
    assert p50[1] >= 20 > p50[0]
    second.write()
    assert read_baseline(first.place).accepted.why == "a larger head"


@pytest.mark.usefixtures("steady")
def test_a_damaged_file_can_be_replaced(bundle: Path, tmp_path: Path) -> None:
    first = proposed(bundle, tmp_path / "b")
    first.place.parent.mkdir(parents=True)
    first.place.write_text("{")
    again = proposed(bundle, tmp_path / "b", why="the old file was damaged")
    assert again.before is None
    again.write()
    assert read_baseline(again.place) == again.baseline


def test_what_speaks_against_the_machine_is_kept(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "unsteady", lambda *_: ["it drifted", "it swapped"])
    monkeypatch.setattr(accept, "contended", lambda *_: ["it swapped", "it was busy"])
    found = proposed(bundle, tmp_path / "b")
    assert found.doubts == ("it drifted", "it swapped", "it was busy")
    found.write()
    assert read_baseline(found.place).accepted.despite == found.doubts


@pytest.mark.usefixtures("steady")
def test_an_engine_that_only_simulates_the_target_is_doubted(tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "tiny.edgx", backend="tensorrt")
    (doubt,) = proposed(other, tmp_path / "b", backend="fake").doubts
    assert "simulates the target test" in doubt


def test_somebody_accepts_it(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "git_user", lambda: "")
    with pytest.raises(SettingsError, match="nobody is named") as raised:
        propose(bundle, baselines=tmp_path / "b")
    assert raised.value.hint == "give --by NAME"


def test_git_knows_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert git_user() == ""
    try:
        subprocess.run(["git", "config", "--global", "user.name", "Ada  Lovelace"], check=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    assert git_user() == "Ada Lovelace"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_user() == ""


@pytest.mark.usefixtures("steady")
def test_the_file_holds_no_more_than_is_needed(bundle: Path, tmp_path: Path) -> None:
    record = json.loads(proposed(bundle, tmp_path / "b").write().read_bytes())
    assert set(record["host"]) == {"machine_class", *accept._HOST_FACTS}
    assert record["packed_calls"].keys() == {"decode", "resize", "inference", "total"}


@pytest.mark.usefixtures("steady")
def test_power_is_kept_where_the_device_tells(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = evidence.power_in_turns
    monkeypatch.setattr(evidence, "power_source", lambda: (PowerSource("a sensor", lambda: 5.25), ""))
    monkeypatch.setattr(
        evidence, "power_in_turns", lambda *given, **settings: turns(*given, turns=2, seconds=0.7, **settings)
    )
    found = read_baseline(proposed(bundle, tmp_path / "b").write())
    assert (found.power_w, found.figures["power_w"]) == ((5.25, 5.25), 5.25)
