"""Pruning as a stage: the goal is reached, the checkpoint is like any other, and export ships what it computes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from edgexfer.backends import find_backend, layer_timer_of, missing_here, ort
from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import ArtifactError, EdgexferError, MissingPartError
from edgexfer.core.target import load_target
from edgexfer.flow import export as exporting
from edgexfer.flow import prune as flow
from edgexfer.gate.report.checkpoint_page import checkpoint_page
from edgexfer.runtime.classifier import load
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.dialects.parity import answers_of
from edgexfer.train.dialects.to_onnx import example_for, to_onnx
from edgexfer.train.finetune import finetune
from edgexfer.train.prune import latency_table
from edgexfer.train.prune.goal import Goal
from edgexfer.train.prune.groups import channel_groups
from edgexfer.train.prune.moments import Moments
from edgexfer.train.prune.narrow_onnx import narrow_onnx
from edgexfer.train.prune.prune import prune
from edgexfer.train.prune.recover import epochs_learned, recover, recovery
from edgexfer.train.prune.remove import remove_channels
from edgexfer.train.prune.stand_ins import Engine, Engines, Timed
from edgexfer.train.quantize.learning_images import images_again
from edgexfer.train.settings import FinetuneSettings
from tests.train.exports import BENCH_SECONDS, Exports

pytestmark = pytest.mark.train

X86 = load_target("x86-cpu")
LESS = Goal("macs", 0.75)


def test_the_goal_is_reached_and_recorded(exports: Exports, pruned: Checkpoint) -> None:
    record = pruned.manifest["pruning"]
    first, *between, last = record["points"]
    assert (pruned.manifest["parent"], record["parent"]) == (exports.run.digest, exports.run.digest)
    assert 0.7 < last["macs"] / first["macs"] <= 0.75
    assert [point["ratio"] for point in (first, *between, last)] == [1.0, *LESS.points_from(1.0)]
    assert last["params"] == sum(p.numel() for p in pruned.float_network().parameters())
    train = {row.sha256 for row in exports.run.rows if row.split == "train"}
    assert set(record["images"]) <= train
    assert all(after % 16 == 0 and after < before for before, after in record["removed"].values())


def test_the_history_goes_on_where_the_parents_ended(exports: Exports, pruned: Checkpoint) -> None:
    rows = [
        list(csv.DictReader((made.folder / "history.csv").read_text(encoding="utf-8").splitlines()))
        for made in (exports.run, pruned)
    ]
    assert rows[1][: len(rows[0])] == rows[0]
    assert [int(row["epoch"]) for row in rows[1]] == list(range(len(rows[1])))
    assert {row["stage"] for row in rows[1][len(rows[0]) :]} == {"prune"}
    table = checkpoint_page(pruned.folder).pruning
    assert table is not None
    assert [row[0] for row in table.rows] == ["1.00", "0.87", "0.75"]


def test_what_lost_nothing_is_not_waited_for(exports: Exports, tmp_path: Path) -> None:
    network, teacher = exports.run.float_network(), exports.run.float_network()
    groups = channel_groups(network.network, example_for(exports.run, network))
    kept = [torch.arange(group.width) for group in groups]
    with images_again(exports.run, network, exports.data, None) as (images, _):
        schedule = recovery(len(images.indices("train")), epochs=12, last=False, seed=0)
        best = recover(network, teacher, groups, kept, images, schedule, tmp_path, mirror=True, device="cpu")
    assert best["epoch"] == 0
    assert epochs_learned(tmp_path) == 3


def test_export_ships_what_the_pruned_network_computes(
    exports: Exports, pruned: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BENCH_SECONDS", BENCH_SECONDS)
    made = exporting.export(pruned.folder, X86, tmp_path / "pruned.edgx", precision="int8", epochs=0, device="cpu")
    assert made.bundle.manifest["provenance"]["pruning"]["goal"] == "macs=0.75"
    assert made.bundle.model.stat().st_size < 0.9 * exports.ort.bundle.model.stat().st_size
    quantized = open_checkpoint(pruned.folder.with_name(f"{pruned.folder.name}.int8-ort"))
    assert quantized.manifest["pruning"] == pruned.manifest["pruning"]
    pixels, answers = made.bundle.references()
    with load(made.bundle) as classifier:
        assert (classifier.probabilities(pixels).argmax(1) == answers.argmax(1)).all()


def test_a_pruned_run_goes_on_learning(exports: Exports, pruned: Checkpoint, tmp_path: Path) -> None:
    settings = FinetuneSettings(strategy="finetune", epochs=1, device="cpu", batch_size=16)
    made = finetune(exports.data, tmp_path / "on", settings, start=pruned.folder)
    shapes = [tuple(parameter.shape) for parameter in pruned.float_network().parameters()]
    assert [tuple(parameter.shape) for parameter in made.float_network().parameters()] == shapes


def test_a_cut_file_computes_what_the_network_without_these_channels_does(exports: Exports) -> None:
    network = exports.run.float_network()
    groups = channel_groups(network.network, example_for(exports.run, network))
    widths = np.array([max(8, group.width // 2) for group in groups])
    model = narrow_onnx(to_onnx(exports.run, network, X86, quantized=False), groups, widths)
    nothing = {
        name: Moments(torch.zeros(group.width).double(), torch.eye(group.width).double())
        for group in groups
        for name in group.readers
    }
    remove_channels(network.network, groups, [torch.arange(int(width)) for width in widths], nothing)
    pixels = exports.ort.bundle.references()[0]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"pixels": pixels})[0], answers_of(network, pixels), atol=1e-4)


@pytest.mark.parametrize("name", ["ort", "openvino"])
def test_an_engine_names_its_layers_alike_and_says_what_they_read(exports: Exports, name: str) -> None:
    if missing := missing_here(name):
        pytest.skip(missing)
    bundle, timer = exports.ort.bundle, layer_timer_of(find_backend(name))
    assert timer is not None
    once, again = (timer.time_layers(bundle, bundle.references()[0][:1], threads=1, calls=3) for _ in range(2))
    assert [layer.name for layer in once] == [layer.name for layer in again]
    assert all(len(layer.samples_ns) == 3 and min(layer.samples_ns) >= 0 for layer in once)
    assert once[0].read == 64 * 64 * 3
    assert once[-1].written == 3


def test_latency_is_corrected_until_the_clock_agrees(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_table, "FILES", 4)
    monkeypatch.setattr(latency_table, "_ROUNDS", 1)
    raced = []

    def race(narrow: Bundle, full: Bundle) -> Timed:  # a clock that every byte of a model takes time by
        ratio = 0.3 + 0.7 * narrow.model.stat().st_size / full.model.stat().st_size
        raced.append(ratio)
        return Timed(ratio, ratio, ratio, ratio, 1.0)

    engines = Engines("float32", lambda _: Engine(ort, race, ort.engine_version()))  # type: ignore[arg-type]
    out = tmp_path / "fast"
    made = prune(exports.run, X86, Goal("latency", 0.85), out, engines=engines, epochs=0, device="cpu")
    first, last = made.manifest["pruning"]["points"]
    assert last["latency"]["ratio"] <= 0.85
    assert last["latency"]["ratio"] == min(raced, key=lambda ratio: (ratio > 0.85, 0.85 - ratio))
    assert 0.3 + 0.7 * last["size_bytes"] / first["size_bytes"] == pytest.approx(last["latency"]["ratio"])


def test_the_engine_that_runs_the_network_fastest_here_times_it(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing := missing_here("openvino"):
        pytest.skip(missing)
    raced: list[tuple[str, str]] = []
    ratios = iter((0.8, 1.0, 1.2, 1.0))

    def race(*_: Bundle, backend: str, against_backend: str) -> Timed:
        raced.append((backend, against_backend))
        ratio = next(ratios)
        return Timed(ratio, ratio, ratio, 1.0, 1.0)

    monkeypatch.setattr(flow, "race", race)
    engines = flow.engines_here(X86)
    assert engines is not None
    for wanted in ("openvino", "onnxruntime"):
        engine = engines.fastest(exports.ort.bundle)
        assert engine.version.startswith(wanted)
        engine.race(exports.ort.bundle, exports.ort.bundle)
    challenged = ("openvino", "ort")
    assert raced == [challenged, ("openvino", "openvino"), challenged, ("ort", "ort")]


def test_what_cannot_be_pruned_is_said(exports: Exports, pruned: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="pruned already"):
        prune(pruned, X86, LESS, tmp_path / "twice", engines=None)
    with pytest.raises(EdgexferError, match="exists already"):
        prune(exports.run, X86, LESS, exports.run.folder, engines=None)
    pi = load_target("raspberry-pi-5")
    with pytest.raises(MissingPartError, match="this machine is") as said:
        flow.prune(exports.run.folder, tmp_path / "pi", pi, Goal("latency", 0.6))
    assert "--prune macs=0.5" in said.value.hint
    assert not list(tmp_path.iterdir())
