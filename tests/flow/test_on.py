"""--on: a real sshd is the device, ONNX Runtime stands in for its engine; what was measured there comes back."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgexfer.cli.main import run
from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import EdgexferError, RemoteError
from edgexfer.core.target import load_target
from edgexfer.flow.export import export
from edgexfer.gate.measure.measured import read_measured
from edgexfer.runtime.classifier import load
from tests.cli.terminal import files_below
from tests.remote.sshd import Server, serve
from tests.train.exports import Exports

pytestmark = pytest.mark.train

X86 = load_target("x86-cpu")


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    with serve(tmp_path_factory.mktemp("sshd"), {"PATH": path, "OMP_NUM_THREADS": "1", "PIP_NO_INDEX": "1"}) as server:
        yield server


@pytest.fixture
def server(_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A device with an empty home, which `ssh device` reaches; afterwards nothing of ours may run there."""
    shutil.rmtree(_server.home)
    _server.home.mkdir()
    monkeypatch.setenv("EDGEXFER_SSH_CONFIG", str(_server.config))
    yield _server
    _server.wait_until_idle()
    assert not list((_server.on / "runs").iterdir())


@pytest.fixture
def quantized_run(exports: Exports, tmp_path: Path) -> Path:
    return exports.copy_of_run(tmp_path / "runs", quantized=True)


def test_the_device_builds_judges_and_measures_and_keeps_the_bundle(
    server: Server, exports: Exports, quantized_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "edgexfer"):
        made = export(quantized_run, X86, tmp_path / "there.edgx", on=("device",))
    (device,) = made.devices
    assert device.error is None
    assert device.host == "device"
    assert made.bundle.manifest["simulated"] is False
    records = read_measured(made.bundle)
    assert [record.precision for record in records] == ["float32", "int8"]
    assert all(record.latency is not None for record in records)
    judged = {image.sha256 for image in exports.ort.measured[0].evaluation.images}
    assert [{image.sha256 for image in record.evaluation.images} for record in records] == [judged, judged]
    assert {image.role for image in records[0].evaluation.images} == {"test"}
    # What lies there is what was made here, whole, and can be opened.
    assert Path(device.bundle).is_relative_to(server.home)
    assert open_bundle(device.bundle).digest == made.bundle.digest
    with load(device.bundle) as classifier:
        assert classifier.bundle.precision == made.bundle.precision
    assert "sending" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "edgexfer"):
        export(quantized_run, X86, tmp_path / "again.edgx", on=("device",))
    # The second time only what differs: manifests, with the new figures, and their like.
    assert all(".onnx" not in record.getMessage() for record in caplog.records)
    assert "sending edgexfer" not in caplog.text
    assert "sending data" not in caplog.text


def test_a_device_that_cannot_be_reached_does_not_stop_the_others(
    server: Server, quantized_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = server.client("one-is-away")
    text = config.read_text(encoding="utf-8")
    config.write_text(f"Host away\n  Port 1\n{text}", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEXFER_SSH_CONFIG", str(config))
        hosts = ["--on", "away", "--on", "device"]
        code = run(["export", str(quantized_run), "--target", "x86-cpu", "--out", str(tmp_path / "b.edgx"), *hosts])
    said = capsys.readouterr()
    assert code == 2
    assert "error: " in said.err
    assert "away" in said.err
    assert open_bundle(tmp_path / "b.edgx").manifest["simulated"] is False
    rows = {line.split()[0]: line for line in said.out.splitlines() if line.strip()}
    assert "–" in rows["away"]
    assert "100.0 %" in rows["device"]


def test_where_no_device_gets_to_the_end_nothing_is_made(server: Server, quantized_run: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEXFER_SSH_CONFIG", str(server.client("away", Port="1")))
        with pytest.raises(RemoteError, match="device"):
            export(quantized_run, X86, tmp_path / "out" / "b.edgx", on=("device",))
    assert files_below(tmp_path / "out") == {}
    assert not (server.on / "bundles").exists()
    (server.on / "runs").mkdir(parents=True, exist_ok=True)


def test_an_error_there_is_told_as_it_was_said_there(
    server: Server, exports: Exports, quantized_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(EdgexferError, match=r"device: .*TensorRT is not installed") as caught:
        export(quantized_run, exports.tensorrt.bundle.target, tmp_path / "b.edgx", on=("device",))
    assert "python3-libnvinfer" in str(caught.value)
    assert server.home.exists()


def test_bench_brings_the_records_of_several_devices_back(
    server: Server, exports: Exports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = server.client("two")
    place, records = str(exports.ort.bundle.folder), tmp_path / "records.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEXFER_SSH_CONFIG", str(config))
        patch.setenv("COLUMNS", "200")
        flags = ["--on", "device", "--on", "other", "--seconds", "0.2", "--threads", "1", "--json", str(records)]
        assert run(["bench", place, *flags]) == 0
    said = capsys.readouterr().out
    record = json.loads(records.read_bytes())
    assert list(record["devices"]) == ["device", "other"]
    for host, latency in record["devices"].items():
        assert latency["kind"] == "latency"
        assert latency["threads"] == 1
        assert latency["subject"]["digest"] == exports.ort.bundle.digest
        rows = [line for line in said.splitlines() if line.split()[:2] == [host, "onnxruntime"]]
        assert f"{latency['summary']['inference']['p50_ms']:.2f}" in rows[0]
    assert run(["bench", place, "--on", "device", "--images", "photos"]) == 2
    assert "--images and --on do not go together" in capsys.readouterr().err
    assert run(["bench", place, "--on=-oProxyCommand=id"]) == 2
