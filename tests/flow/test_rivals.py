"""build lets other engines compete for the same file: who answers alike and is surely faster runs it from then on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from edgexfer.core.errors import MissingPartError
from edgexfer.flow.build import build
from edgexfer.gate.judge.compare import Comparison, compare
from edgexfer.runtime.classifier import load
from tests.bundles import make_bundle
from tests.flow import rival

SECONDS = 0.1
COLOURS = {"a": (220, 30, 30), "b": (30, 220, 30), "c": (30, 30, 220)}
Install = Callable[..., ModuleType]


@pytest.fixture(autouse=True)
def _short_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgexfer.gate.measure.timing._WARMUP_SECONDS", SECONDS)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def installed(name: str, latency_ms: float) -> ModuleType:
        (tmp_path / name).mkdir()
        return rival.install(name, tmp_path / name, monkeypatch, latency_ms=latency_ms)

    return installed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose own engine takes 3 ms an image, and that an engine called "swift" could run as well."""
    return make_bundle(tmp_path / "b.edgx", backend="fake", options={"latency_ms": 3}, rivals=["swift"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four photographs of each class, in plain colours."""
    for label, colour in COLOURS.items():
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((8, 8, 3), colour, np.uint8) + np.uint8(number)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")
    return tmp_path / "data"


def chosen(folder: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads((folder / "engines" / "chosen.json").read_bytes())
    return record


def opened_with(folder: Path) -> str:
    with load(folder) as classifier:
        return classifier.backend


def test_a_faster_rival_runs_it_from_then_on(folder: Path, install: Install) -> None:
    install("swift", 0)
    made = build(folder, seconds=SECONDS)
    assert (made.backend, made.engine) == ("swift", "swift 1.0")
    (found,) = made.rivals
    assert found.chosen
    assert found.comparison is not None
    assert found.comparison.high < 1
    assert (found.comparison.bundle.subject.engine, found.comparison.against.subject.engine) == ("swift 1.0", "fake 1")
    assert not found.comparison.bundle.subject.simulated
    assert "swift 1.0 against fake 1: " in made.decision
    assert " times faster in inference time" in made.decision
    record = chosen(folder)
    assert (record["backend"], record["engine"], record["device"]) == ("swift", "swift 1.0", made.device)
    assert record["considered"] == ["fake 1", "swift 1.0"]
    assert record["reason"] == made.decision
    assert opened_with(folder) == "swift"


def test_a_slower_rival_does_not(folder: Path, install: Install) -> None:
    install("swift", 9)
    made = build(folder, seconds=SECONDS)
    assert (made.backend, [found.chosen for found in made.rivals]) == ("fake", [False])
    assert " times slower in inference time" in made.decision
    assert chosen(folder)["backend"] == "fake"
    assert opened_with(folder) == "fake"


def test_it_must_be_surely_faster(folder: Path, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubtful(*sides: object, **options: object) -> Comparison:
        return dataclasses.replace(compare(*sides, **options), ratio=0.9, low=0.79, high=1.01)  # type: ignore[arg-type]

    install("swift", 0)
    monkeypatch.setattr("edgexfer.flow.rivals.compare", doubtful)
    made = build(folder, seconds=SECONDS)
    assert (made.backend, opened_with(folder)) == ("fake", "fake")
    assert "no difference in inference time can be told (ratio 0.900" in made.decision


def test_one_that_answers_otherwise_is_never_timed(folder: Path, install: Install) -> None:
    install("swift", 0).alter = lambda _, answers: np.roll(answers, 1, axis=1)  # type: ignore[attr-defined]
    made = build(folder, seconds=SECONDS)
    assert made.backend == "fake"
    assert made.rivals[0].comparison is None
    assert "swift 1.0 was left out: float32 does not answer here as it did at export: 16 of 16" in made.decision


def test_one_that_is_wrong_about_the_images_is_never_timed(folder: Path, install: Install, data: Path) -> None:
    def wrong_about_plain(pixels: np.ndarray, answers: np.ndarray) -> np.ndarray:
        plain = pixels.std(axis=(1, 2)).max(axis=1) == 0
        return np.where(plain[:, None], np.roll(answers, 1, axis=1), answers)

    install("swift", 0).alter = wrong_about_plain  # type: ignore[attr-defined]
    made = build(folder, data=data, seconds=SECONDS)
    assert made.backend == "fake"
    assert made.rivals[0].comparison is None
    assert "it loses 100.00 points of top-1, the limit is 1.00; 12 of 12 images change class" in made.decision
    assert build(folder, seconds=SECONDS).backend == "swift"  # by the references alone nobody could tell


def test_images_say_how_many_answers_change(folder: Path, install: Install, data: Path) -> None:
    install("swift", 0)
    made = build(folder, data=data, seconds=SECONDS)
    assert made.backend == "swift"
    assert made.decision.endswith("; 0 of 12 images change class")
    assert [record.evaluation.subject.engine for record in made.measured] == ["fake 1"]


def test_rivals_compete_with_the_best_so_far(tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    latency_ms = {"fake": 6.0, "swift": 3.0, "slow": 5.0, "best": 0.5}

    def exact(*sides: object, backend: str, against_backend: str, **options: object) -> Comparison:
        made = compare(*sides, backend=backend, against_backend=against_backend, **options)  # type: ignore[arg-type]
        ratio = latency_ms[backend] / latency_ms[against_backend]
        return dataclasses.replace(made, ratio=ratio, low=0.99 * ratio, high=1.01 * ratio)

    rivals = ["swift", "slow", "best"]
    folder = make_bundle(tmp_path / "b.edgx", backend="fake", rivals=rivals)
    for name in rivals:
        install(name, 0)
    monkeypatch.setattr("edgexfer.flow.rivals.compare", exact)
    made = build(folder, seconds=SECONDS)
    assert [found.chosen for found in made.rivals] == [True, False, True]
    assert [text.split(":")[0] for text in made.decision.split("; ") if " against " in text] == [
        "swift 1.0 against fake 1",
        "slow 1.0 against swift 1.0",
        "best 1.0 against swift 1.0",
    ]
    assert opened_with(folder) == "best"


def test_a_choice_is_kept_where_that_is_asked_for(folder: Path, install: Install) -> None:
    swift = install("swift", 0)
    build(folder, seconds=SECONDS)
    swift.LATENCY_S = 0.009  # type: ignore[attr-defined]
    kept = build(folder, if_needed=True, seconds=SECONDS)
    assert (kept.backend, kept.measured, kept.rivals) == ("swift", (), ())
    assert "was chosen on this machine before, with swift 1.0" in kept.decision
    assert build(folder, seconds=SECONDS).backend == "fake"


def test_an_engine_that_was_not_considered_is_tried_even_so(folder: Path, install: Install) -> None:
    first = build(folder, seconds=SECONDS)
    assert first.backend == "fake"
    assert "swift was not considered: swift is not on this machine" in first.decision
    assert build(folder, if_needed=True, seconds=SECONDS).decision.startswith("float32 was chosen")
    swift = install("swift", 0)
    assert build(folder, if_needed=True, seconds=SECONDS).backend == "swift"
    swift.VERSION = "1.1"  # type: ignore[attr-defined]
    assert opened_with(folder) == "fake"
    again = build(folder, if_needed=True, seconds=SECONDS)
    assert (again.engine, len(again.rivals)) == ("swift 1.1", 1)


def test_a_rival_that_is_gone_leaves_the_targets_own(folder: Path, install: Install) -> None:
    swift = install("swift", 0)
    build(folder, seconds=SECONDS)
    swift.MISSING = "swift is not installed; pip install swift"  # type: ignore[attr-defined]
    assert opened_with(folder) == "fake"
    made = build(folder, seconds=SECONDS)
    assert (made.backend, made.rivals) == ("fake", ())
    assert "swift was not considered: swift is not installed; pip install swift" in made.decision


def test_a_rival_runs_it_where_the_targets_own_engine_is_not(tmp_path: Path, install: Install) -> None:
    folder = make_bundle(tmp_path / "b.edgx", backend="absent", rivals=["swift"])
    with pytest.raises(MissingPartError, match="made for 'absent'"):
        build(folder, seconds=SECONDS)
    install("swift", 0)
    made = build(folder, seconds=SECONDS)
    assert (made.backend, made.rivals) == ("swift", ())
    assert opened_with(folder) == "swift"


@pytest.mark.openvino
def test_onnx_runtime_and_openvino_on_this_machine(tmp_path: Path, data: Path) -> None:
    for name in ("onnxruntime", "openvino"):
        pytest.importorskip(name, reason=f"{name} is not installed (pip install 'edgexfer[cpu,openvino]')")
    folder = make_bundle(tmp_path / "b.edgx", rivals=["openvino"])
    made = build(folder, data=data, seconds=SECONDS, threads=1)
    (found,) = made.rivals
    assert found.backend == "openvino"
    assert found.comparison is not None
    assert found.comparison.bundle.threads == 1
    assert found.chosen is (found.comparison.high < 1)
    assert made.backend == ("openvino" if found.chosen else "ort")
    assert "0 of 12 images change class" in made.decision
    assert opened_with(folder) == made.backend
    record = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert (record["kind"], record["format_version"], record["backend"]) == ("build", 2, made.backend)
    assert record["rivals"][0]["comparison"]["ratio"] == found.comparison.ratio
