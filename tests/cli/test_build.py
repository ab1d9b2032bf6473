"""`edgexfer build`: what it prints, what it refuses in one line, and the trtexec lines."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from edgexfer.core.bundle import open_bundle
from tests.backends.tensorrt.machine import Machine
from tests.bundles import make_bundle
from tests.cli.terminal import Terminal, files_below
from tests.gate.report.made import rewrite

FAST = ("--seconds", "0.1")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle for TensorRT that lies in the working folder."""
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "tiny.edgx", backend="tensorrt", dialect="tensorrt", options={"workspace_mib": 64})
    return Path("tiny.edgx")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    there = Machine("10.3.0")
    there.install(monkeypatch)
    return there


def one_line(said: object) -> str:
    assert isinstance(said, str)
    lines = said.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], said
    return said


def test_what_is_built_is_told_and_opened(edgexfer: Terminal, bundle: Path, machine: Machine) -> None:
    said = edgexfer("build", bundle, *FAST)
    assert said.code == 0
    for words in (
        "tensorrt 10.3.0, Orin, compute capability 8.7",
        "float32 with tensorrt 10.3.0 is what `load` opens here",
    ):
        assert words in said.out
    assert "float32 is built: no engine was built yet, for Orin" in said.err
    assert len(machine.builds) == 1
    again = edgexfer("build", bundle, "--if-needed")
    assert again.code == 0
    assert "was chosen on this machine before" in again.out
    assert len(machine.builds) == 1


def test_the_record_on_standard_output_is_alone_there(edgexfer: Terminal, bundle: Path, machine: Machine) -> None:
    said = edgexfer("build", bundle, *FAST, "--json", "-")
    record = json.loads(said.out)
    assert (record["kind"], record["engine"], record["precision"]) == ("build", "tensorrt 10.3.0", "float32")
    assert len(machine.builds) == 1


def test_the_engine_that_was_chosen_is_told_with_the_reason(
    edgexfer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    monkeypatch.chdir(tmp_path)
    # Its own engine sleeps 3 ms an image; ONNX Runtime needs a fraction of that for so small a network.
    make_bundle(tmp_path / "slow.edgx", backend="fake", rivals=["ort"], options={"latency_ms": 3})
    said = edgexfer("build", "slow.edgx", *FAST, "--threads", "1")
    assert said.code == 0
    assert "nothing to compile: the file runs as it is" in said.out
    assert re.search(r"onnxruntime [\d.]+ against fake 1: [\d.]+ times faster in inference time \(ratio", said.out)
    assert re.search(r"float32 with onnxruntime [\d.]+ is what `load` opens here", said.out)
    photo = tmp_path / "red.png"
    Image.new("RGB", (20, 20), (220, 30, 30)).save(photo)
    assert edgexfer("predict", "slow.edgx", photo).out.split()[1] == "a"
    bench = json.loads(edgexfer("bench", "slow.edgx", *FAST, "--json", "-").out)
    assert (bench["subject"]["backend"], bench["subject"]["simulated"]) == ("ort", False)
    own = json.loads(edgexfer("bench", "slow.edgx", *FAST, "--backend", "fake", "--json", "-").out)
    assert own["subject"]["engine"] == "fake 1"
    kept = edgexfer("build", "slow.edgx", "--if-needed")
    assert "was chosen on this machine before, with onnxruntime" in kept.out


def test_no_tensorrt_on_the_machine(edgexfer: Terminal, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # as if it were not installed
    before = files_below(bundle)
    for verb in (["build"], ["bench"]):
        said = edgexfer(*verb, bundle)
        assert said.code == 2
        assert "cannot run here: TensorRT" in one_line(said.err)
        assert "python3-libnvinfer" in said.err
    assert files_below(bundle) == before


def test_wrong_compute_capability(
    edgexfer: Terminal, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_bundle(tmp_path / "tiny.edgx", backend="tensorrt", dialect="tensorrt")
    target = {**open_bundle(folder).manifest["target"], "host": {"compute_capability": "11.0"}}
    rewrite(folder, "bundle", target=target)
    said = edgexfer("build", "tiny.edgx")
    assert said.code == 2
    assert "wrong compute capability: this machine has 8.7 (Orin), target 'test' is for 11.0" in one_line(said.err)
    assert machine.builds == []


def test_foreign_and_tampered_engines(edgexfer: Terminal, bundle: Path, machine: Machine) -> None:
    assert edgexfer("build", bundle, *FAST).code == 0
    (engine,) = bundle.glob("engines/*/engine.bin")
    whole = engine.read_bytes()
    engine.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for verb in ("build", "bench"):
        said = edgexfer(verb, bundle)
        assert said.code == 2
        assert "was changed after it was written" in said.err
        assert f"hint:  edgexfer build {bundle} --rebuild" in said.err
    engine.write_bytes(whole)
    # An engine of another machine that was put where this machine's would be.
    machine.gpu = "Thor"
    assert edgexfer("build", bundle, "--rebuild", *FAST).code == 0
    (theirs,) = bundle.glob("engines/*/")
    machine.gpu = "Orin"
    ours = engine.parent
    theirs.rename(ours)
    said = edgexfer("build", bundle)
    assert said.code == 2
    assert "foreign engine" in said.err
    assert "--rebuild" in said.err
    assert edgexfer("build", bundle, "--rebuild", *FAST).code == 0


def test_too_little_memory(edgexfer: Terminal, bundle: Path, machine: Machine) -> None:
    machine.free_mib = 100
    said = edgexfer("build", bundle)
    assert said.code == 2
    assert "too little memory: 100 MiB" in said.err
    assert "hint:  stop other programs or add swap" in said.err
    assert said.err.count("too little memory") == 1
    assert machine.builds == []


def test_flags_that_contradict_each_other(edgexfer: Terminal, bundle: Path) -> None:
    said = edgexfer("build", bundle, "--rebuild", "--if-needed")
    assert (said.code, one_line(said.err).count("--if-needed")) == (2, 1)


def test_the_lines_for_trtexec(edgexfer: Terminal, bundle_folder: Path) -> None:
    said = edgexfer("build", bundle_folder, "--trtexec")
    assert said.code == 2
    assert "is made for ort, not for TensorRT" in one_line(said.err)


@pytest.mark.train
def test_the_lines_for_trtexec_of_every_candidate(edgexfer: Terminal, exports: object) -> None:
    folder = exports.tensorrt.bundle.folder  # type: ignore[attr-defined]
    said = edgexfer("build", folder, "--trtexec")
    assert said.code == 0
    lines = [line for line in said.out.splitlines() if line.startswith("/usr/src/tensorrt/bin/trtexec ")]
    assert len(lines) == 3
    assert ["--int8" in line for line in lines] == [True, True, False]
    assert all(f"{folder.name}/" in line for line in lines)
