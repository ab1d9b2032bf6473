"""load opens a bundle with what `build` chose on this machine, and else with the target's own engine."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgexfer import load
from edgexfer.backends import find_backend
from edgexfer.core.bundle import open_bundle
from edgexfer.core.cpu import cpu_device
from edgexfer.core.engine_choice import EngineChoice, write_choice
from edgexfer.core.errors import ArtifactError, MissingPartError
from edgexfer.gate.measure.record import subject_of
from tests.bundles import make_bundle
from tests.gate.machines import RASPBERRY_PI_5, plant

for name in ("onnxruntime", "openvino"):
    pytest.importorskip(name, reason=f"{name} is not installed (pip install 'edgexfer[cpu,openvino]')")
pytestmark = pytest.mark.openvino


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "b.edgx", rivals=["openvino"])


def choose(folder: Path, **other: str) -> None:
    """Records OpenVINO as it is here, but for what is other."""
    engine = find_backend("openvino").engine_version()
    choice = EngineChoice("float32", "openvino", engine, cpu_device(), (engine,))
    write_choice(open_bundle(folder), replace(choice, **other), reason="")


def opened_with(folder: Path, backend: str | None = None) -> str:
    with load(folder, backend=backend) as classifier:
        answers = classifier.probabilities(np.full((1, 8, 8, 3), (220, 30, 30), np.uint8))
        assert answers.argmax() == 0
        assert not subject_of(classifier).simulated
        return classifier.backend


def test_what_was_chosen_here(folder: Path) -> None:
    assert opened_with(folder) == "ort"
    choose(folder)
    assert opened_with(folder) == "openvino"
    assert opened_with(folder, "ort") == "ort"
    with load(open_bundle(folder).at("float32")) as classifier:
        assert classifier.backend == "openvino"


def test_an_engine_that_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(folder)
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    assert opened_with(folder) == "ort"
    with pytest.raises(MissingPartError, match="openvino is not installed; pip install") as caught:
        load(folder, backend="openvino")
    assert caught.value.hint == ""


def test_an_engine_of_another_version(folder: Path) -> None:
    choose(folder, engine="openvino 2025.0.0")
    assert opened_with(folder) == "ort"


def test_another_cpu(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(folder)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("edgexfer.core.cpu.ROOT", plant(tmp_path / "pi", RASPBERRY_PI_5))
        assert opened_with(folder) == "ort"
    assert opened_with(folder) == "openvino"
    monkeypatch.setattr("os.cpu_count", lambda: 1000)
    assert opened_with(folder) == "ort"


def test_what_the_target_does_not_name_is_not_opened(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b.edgx")
    choose(folder)
    assert opened_with(folder) == "ort"


def test_a_damaged_record_is_named(folder: Path) -> None:
    choose(folder)
    (folder / "engines" / "chosen.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"chosen\.json is damaged"):
        load(folder)


def test_a_rival_that_is_here_is_named_where_the_targets_engine_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPartError, match="onnxruntime is not installed") as caught:
        load(folder)
    assert caught.value.hint == f"or let `edgexfer build {folder}` take openvino, which is here"
    choose(folder)
    assert opened_with(folder) == "openvino"
