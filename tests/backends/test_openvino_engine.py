"""What OpenVINO compiled is kept in the bundle by a build, opened where it fits, and never written by anyone else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.backends import builder_of, find_backend
from edgexfer.backends.openvino import networks
from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.cpu import cpu_device
from edgexfer.core.errors import ArtifactError, BackendError, SettingsError
from edgexfer.runtime.classifier import load
from tests.bundles import hue_probabilities, make_bundle
from tests.gate.machines import RASPBERRY_PI_5, plant

pytest.importorskip("openvino", reason="openvino is not installed (pip install 'edgexfer[openvino]')")
pytestmark = pytest.mark.openvino
BUILDER = builder_of(find_backend("openvino"))
assert BUILDER is not None


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches that were compiled from the file, one after the other."""
    batches: list[int] = []
    whole = networks.compile_network

    def counted(bundle: Bundle, batch: int, properties: dict[str, str]) -> Any:
        batches.append(batch)
        return whole(bundle, batch, properties)

    monkeypatch.setattr("edgexfer.backends.openvino.compile_network", counted)
    return batches


def answers(bundle: Bundle) -> None:
    """Opens the bundle and compares its answers to single images and to batches with what they must be."""
    pixels, _ = bundle.references()
    with load(bundle, backend="openvino", threads=1) as classifier:
        for images in (1, 3, 16):
            found = classifier.probabilities(pixels[:images])
            assert np.abs(found - hue_probabilities(pixels[:images], 3)).max() < 1e-5


def test_opening_writes_nothing(bundle: Bundle, compiled: list[int]) -> None:
    answers(bundle)
    assert compiled == [1, networks.ANY]
    assert not (bundle.folder / "engines").exists()


def test_what_was_built_is_opened_and_not_compiled_again(bundle: Bundle, compiled: list[int]) -> None:
    told: list[tuple[int, int]] = []
    built = BUILDER.build_engine(bundle, progress=lambda done, of: told.append((done, of)))
    assert (built.reused, built.precision, told) == (False, "float32", [(1, 2), (2, 2)])
    assert built.reason == "float32 is built: no engine was built yet"
    assert compiled == [1, networks.ANY]
    answers(bundle)
    again = BUILDER.build_engine(bundle)
    assert (again.reused, again.folder, again.size_bytes) == (True, built.folder, built.size_bytes)
    assert len(compiled) == 2
    assert not BUILDER.build_engine(bundle, rebuild=True).reused
    assert len(compiled) == 4


def test_threads_are_chosen_when_it_is_opened(bundle: Bundle) -> None:
    BUILDER.build_engine(bundle)
    for threads in (1, 2):
        session = find_backend("openvino").open_session(bundle, threads=threads)
        network = session._networks[1]._compiled  # type: ignore[attr-defined]
        assert network.get_property("INFERENCE_NUM_THREADS") == threads


@pytest.mark.parametrize(("options", "threads"), [({"threads": 1, "allow_spinning": False}, 1), ({"threads": 2}, 2)])
def test_a_rival_takes_as_many_threads_as_the_target_says(
    tmp_path: Path, options: dict[str, Any], threads: int
) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "b.edgx", rivals=["openvino"], options=options))
    session = find_backend("openvino").open_session(bundle, threads=None)
    network = session._networks[1]._compiled  # type: ignore[attr-defined]
    assert network.get_property("INFERENCE_NUM_THREADS") == threads
    wrong = open_bundle(make_bundle(tmp_path / "w.edgx", rivals=["openvino"], options={"threads": "two"}))
    with pytest.raises(SettingsError, match="threads"):
        find_backend("openvino").open_session(wrong, threads=None)


def test_another_cpu_compiles_its_own(
    bundle: Bundle, compiled: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BUILDER.build_engine(bundle)
    here = cpu_device()
    monkeypatch.setattr("edgexfer.core.cpu.ROOT", plant(tmp_path / "pi", RASPBERRY_PI_5))
    answers(bundle)
    assert len(compiled) == 4
    assert f"the CPU was {here} and is Cortex-A76, " in BUILDER.build_engine(bundle).reason


def test_another_release_compiles_its_own(bundle: Bundle, compiled: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    BUILDER.build_engine(bundle)
    monkeypatch.setattr("openvino.get_version", lambda: "2030.1.0-1-abc")
    answers(bundle)
    assert len(compiled) == 4
    assert "OpenVINO was 20" in BUILDER.build_engine(bundle).reason


def test_what_was_tampered_with_is_refused(bundle: Bundle) -> None:
    engine = BUILDER.build_engine(bundle).folder / "engine.bin"
    whole = engine.read_bytes()
    engine.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtifactError, match="was changed after it was written") as caught:
        load(bundle, backend="openvino")
    assert caught.value.hint == f"edgexfer build {bundle.folder} --rebuild"
    BUILDER.build_engine(bundle, rebuild=True)
    answers(bundle)


def test_what_openvino_does_not_read_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgexfer.backends.openvino.packed", lambda _: bytes(64))
    BUILDER.build_engine(bundle)
    with pytest.raises(BackendError, match="OpenVINO refuses the engine of") as caught:
        load(bundle, backend="openvino")
    assert caught.value.hint == f"edgexfer build {bundle.folder} --rebuild"


@pytest.mark.parametrize(
    ("precision", "weight_bits", "flags", "refused"),
    [
        ("int8", 8, "fpu avx2", True),
        ("int8", 7, "fpu avx2", False),
        ("float32", 8, "fpu avx2", False),
        ("int8", 8, "fpu avx2 avx_vnni", False),
    ],
)
def test_a_cpu_on_which_products_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, weight_bits: int, flags: str, refused: bool
) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "b.edgx", precision=precision, weight_bits=weight_bits))
    monkeypatch.setattr("edgexfer.core.cpu.ROOT", plant(tmp_path, {"proc/cpuinfo": f"flags\t\t: {flags}\n"}))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    if not refused:
        answers(bundle)
        return
    for attempt in (lambda: BUILDER.build_engine(bundle), lambda: load(bundle, backend="openvino")):
        with pytest.raises(BackendError, match="this CPU has no VNNI") as caught:
            attempt()
        assert "--backend ort" in caught.value.hint


def test_ctrl_c_arrives_where_networks_came_and_went(bundle_folder: Path) -> None:
    """The engine gives the thread a signal stack of its own; where that is freed, the next signal ends the process."""
    code = """
import os, signal, sys, time
from edgexfer import load, open_bundle
references = open_bundle(sys.argv[1]).references()[0][:3]
for _ in range(4):
    with load(sys.argv[1], backend="openvino", threads=1) as classifier:
        classifier.probabilities(references)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""
    command = [sys.executable, "-c", code, str(bundle_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
