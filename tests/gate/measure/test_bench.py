from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import DataError, SettingsError
from edgexfer.core.target import load_target
from edgexfer.gate.judge.compare import compare
from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.measure.bench import bench
from edgexfer.gate.measure.latency import STEPS, Latency
from edgexfer.gate.measure.measurement import measurement_from_json
from edgexfer.gate.measure.timing import doubts, encoded_images
from tests.bundles import make_bundle
from tests.gate.images import write_folders


def timed_bundle(folder: Path, latency_ms: float) -> Path:
    return make_bundle(folder, backend="fake", options={"latency_ms": latency_ms})


def test_every_sample_is_kept_and_the_steps_make_the_total(tmp_path: Path) -> None:
    result = bench(timed_bundle(tmp_path / "b.edgx", 2.0), seconds=0.2)
    assert set(result.samples_ns) == set(STEPS)
    count = len(result.samples_ns["total"])
    assert count >= 30
    assert {len(samples) for samples in result.samples_ns.values()} == {count}
    for decode, resize, inference, total in zip(*(result.samples_ns[step] for step in STEPS), strict=True):
        assert decode + resize + inference == total
        assert inference >= 2_000_000
    assert result.warmup >= 10
    assert result.images == "16 reference images as JPEG of 640 x 480 pixels"
    assert result.host["engine"] == result.subject.engine == "fake 1"


def test_percentiles_are_those_of_the_raw_samples(tmp_path: Path) -> None:
    result = bench(timed_bundle(tmp_path / "b.edgx", 0.0), seconds=0.05, threads=1)
    samples = np.array(result.samples_ns["inference"])
    assert result.percentile("inference", 50) == np.median(samples)
    assert samples.min() <= result.percentile("inference", 50) <= result.percentile("inference", 99) <= samples.max()
    summary = result.to_json()["summary"]
    assert summary["total"]["p95_ms"] == pytest.approx(result.percentile("total", 95) / 1e6)
    assert (summary["total"]["calls"], result.threads) == (len(samples), 1)


def test_the_record_comes_back(tmp_path: Path) -> None:
    result = bench(timed_bundle(tmp_path / "b.edgx", 0.0), seconds=0.01)
    again = measurement_from_json(json.loads(json.dumps(result.to_json(), allow_nan=False)))
    assert isinstance(again, Latency)
    assert again == result


def test_fresh_processes_tell_load_time_and_memory(tmp_path: Path) -> None:
    result = bench(timed_bundle(tmp_path / "b.edgx", 30.0), seconds=0.01, threads=1, processes=1)
    # load runs the network once, and the first prediction once more
    assert [process.load_ms > 60 for process in result.started] == [True]
    summary = result.to_json()["summary"]
    assert (summary["load_ms"], summary["peak_memory_mib"]) == (result.load_ms, result.peak_memory_mib)
    assert measurement_from_json(json.loads(json.dumps(result.to_json()))) == result


def test_what_is_not_in_a_fresh_process_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = timed_bundle(tmp_path / "b.edgx", 0.0)
    monkeypatch.setattr("sys.path", [])
    result = bench(bundle, seconds=0.01, processes=1)
    assert result.started == ()
    assert "load time and peak memory are not known: a fresh process" in result.warnings[-1]


def test_own_images_are_used_and_bad_ones_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_folders(tmp_path / "data", each=30)
    (tmp_path / "bad").mkdir()
    result = bench(timed_bundle(tmp_path / "b.edgx", 0.0), seconds=0.01, images=data)
    assert re.fullmatch(r"64 of 90 images of data \(sha256 [0-9a-f]{12}\)", result.images)
    monkeypatch.chdir(tmp_path)
    for typed in ("data", "./data/", tmp_path / "bad" / ".." / "data"):
        assert encoded_images(open_bundle(tmp_path / "b.edgx"), typed)[1] == result.images
    (data / "a" / "0.png").write_bytes((data / "b" / "0.png").read_bytes())
    assert encoded_images(open_bundle(tmp_path / "b.edgx"), data)[1] != result.images
    with pytest.raises(DataError, match="does not exist"):
        bench(tmp_path / "b.edgx", images=tmp_path / "nothing")
    with pytest.raises(DataError, match="no file is named like one"):
        bench(tmp_path / "b.edgx", images=tmp_path / "bad")
    (tmp_path / "bad" / "x.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"no image that can be decoded: x\.png"):
        bench(tmp_path / "b.edgx", images=tmp_path / "bad")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e9])
def test_seconds_out_of_range(bundle_folder: Path, seconds: float) -> None:
    with pytest.raises(SettingsError, match="seconds is"):
        bench(bundle_folder, seconds=seconds)


def test_the_real_engine(bundle_folder: Path) -> None:
    result = bench(bundle_folder, seconds=0.05, threads=1)
    assert result.subject.backend == "ort"
    assert result.percentile("inference", 50) > 0


def test_a_faster_bundle_is_told_from_a_slower_one(tmp_path: Path) -> None:
    fast, slow = timed_bundle(tmp_path / "fast.edgx", 2.0), timed_bundle(tmp_path / "slow.edgx", 20.0)
    result = compare(fast, slow, seconds=0.1)
    # On a machine with other work a call of 2 ms may take ten times as long: then it still is the faster one.
    assert 0.05 < result.low <= result.ratio <= result.high < 1
    assert "times faster in inference time" in result.sentence
    assert len(result.bundle.samples_ns["total"]) == len(result.against.samples_ns["total"]) >= 16
    record = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert (record["kind"], record["format_version"]) == ("comparison", 1)
    assert measurement_from_json(record["against"]) == result.against


def test_what_makes_samples_doubtful_is_said() -> None:
    calm = {"thermal_events": 1, "raspberry_pi": None, "hottest_celsius": None}
    host = {
        "load_average": 3.0,
        "cores_logical": 2,
        "governor": ["powersave"],
        "board": "Some Board",
        "throttling": calm,
    }
    even = {"inference": [100, 101, 102] * 10}
    hot = {"throttling": {**calm, "thermal_events": 4}}
    found = doubts({"inference": [100] * 20 + [900] * 10}, host, hot, steady=False)
    assert len(found) == 5
    for word in ("throttled 3", "warm-up", "varies much", "busy", "powersave"):
        assert any(word in reason for reason in found)
    quiet = {**host, "load_average": 0.1, "governor": ["performance"], "board": None}
    assert doubts(even, quiet, {"throttling": calm}, steady=True) == ()


def test_a_jetson_in_another_mode_than_its_targets_is_doubted() -> None:
    calm = {"thermal_events": None, "raspberry_pi": None, "hottest_celsius": None}
    host = {
        "load_average": None,
        "cores_logical": 6,
        "governor": [],
        "board": "B",
        "throttling": calm,
        "power_mode": "7W",
    }
    (said,) = doubts(
        {"inference": [100] * 30}, host, {"throttling": calm}, steady=True, target=load_target("jetson-orin-nano")
    )
    assert said == "the power mode is 7W, the target jetson-orin-nano means 15W"


def test_the_state_before_and_after_is_kept(tmp_path: Path) -> None:
    result = bench(timed_bundle(tmp_path / "b.edgx", 0.5), seconds=0.02)
    assert set(result.host["after"]) == set(device_state())
    assert set(result.host["after"]) < set(result.host)
    sides = compare(timed_bundle(tmp_path / "c.edgx", 0.5), tmp_path / "b.edgx", seconds=0.02)
    assert set(sides.bundle.host) == set(sides.against.host) == set(result.host)
