"""Where a pruned checkpoint goes from there: new classes, an interrupted training, a Jetson, and the judging of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgexfer.core.target import load_target
from edgexfer.core.trtexec import trtexec_lines
from edgexfer.flow import export as exporting
from edgexfer.flow.build import build
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.dialects.lint import lint
from edgexfer.train.finetune import finetune
from edgexfer.train.settings import FinetuneSettings
from tests.backends.tensorrt.machine import Machine
from tests.images import put
from tests.train.exports import BENCH_SECONDS, Exports
from tests.train.pictures import png, stripes
from tests.train.stopped import stopped_at

pytestmark = pytest.mark.train


def widths(checkpoint: Checkpoint) -> list[tuple[int, ...]]:
    """The shape of every layer but the classifier, which may have got classes."""
    return [tuple(tensor.shape) for name, tensor in checkpoint.state().items() if "classifier" not in name]


def test_a_new_class_is_learned_and_what_was_interrupted_goes_on(pruned: Checkpoint, tmp_path: Path) -> None:
    for number in range(8):
        put(tmp_path / "new" / "z" / f"{number}.png", png(stripes(2, number, noise=40.0)))
    settings = FinetuneSettings(strategy="update", epochs=2, device="cpu", batch_size=16)
    whole = finetune(tmp_path / "new", tmp_path / "whole", settings, start=pruned.folder)
    with pytest.raises(KeyboardInterrupt), stopped_at(5):
        finetune(tmp_path / "new", tmp_path / "again", settings, start=pruned.folder)
    again = finetune(tmp_path / "new", tmp_path / "again", start=pruned.folder, resume=True)
    assert again.labels == (*pruned.labels, "z")
    assert widths(again) == widths(whole) == widths(pruned)
    assert (again.folder / "weights.safetensors").read_bytes() == (whole.folder / "weights.safetensors").read_bytes()


def test_for_a_jetson_all_is_made_but_the_engine_and_judged_simulated(
    exports: Exports, pruned: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BENCH_SECONDS", BENCH_SECONDS)
    monkeypatch.setattr("edgexfer.gate.measure.timing._WARMUP_SECONDS", BENCH_SECONDS)
    monkeypatch.setattr("edgexfer.gate.judge.compare._LEAST_BLOCKS", 2)
    run = shutil.copytree(pruned.folder, tmp_path / "thin")
    made = exporting.export(run, load_target("jetson-orin-nano"), tmp_path / "thin.edgx", epochs=0, device="cpu")
    bundle = made.bundle
    assert set(bundle.candidates) == {"int8", "int8-depthwise-float16", "float16"}
    assert any("simulated with ONNX Runtime" in warning for warning in made.warnings)
    assert bundle.manifest["provenance"]["pruning"]["goal"] == "macs=0.75"
    assert bundle.model.stat().st_size < 0.9 * exports.tensorrt.bundle.model.stat().st_size
    assert lint(bundle.folder) == []
    assert trtexec_lines(bundle)
    judged = evaluate(bundle.folder, exports.data, backend="ort")
    assert judged.subject.simulated
    assert judged.top1 > 0.9
    Machine("10.3.0").install(monkeypatch)  # a stand-in for TensorRT
    built = build(bundle.folder, data=exports.data, seconds=BENCH_SECONDS)
    assert len(built.engines) == 3
