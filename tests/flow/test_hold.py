"""export where INT8 really breaks: the layer to blame goes back to float, INT8 ships, and the bundle tells it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgexfer.core.control import read_control
from edgexfer.core.errors import EdgexferError
from edgexfer.core.target import load_target
from edgexfer.flow import export as flow
from edgexfer.runtime.classifier import load
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
from edgexfer.train.dialects.lint import float_operators, lint
from edgexfer.train.quantize import accuracy_control
from tests.train.exports import BENCH_SECONDS, Exports

pytestmark = pytest.mark.train

X86 = load_target("x86-cpu")
BEFORE, BEHIND = "blocks.0.0.conv_pw", "blocks.1.0.conv_pw"  # no activation stands between them, and no Add


def with_outlier(run: Checkpoint, out: Path) -> Checkpoint:
    """The same run, and in float the same function: one channel is a thousand times as large between two layers."""
    state = run.state()
    state[f"network.{BEFORE}.weight"][3] *= 1000
    state[f"network.{BEFORE}.bias"][3] *= 1000
    state[f"network.{BEHIND}.weight"][:, 3] /= 1000
    own = ("kind", "format_version", "digest", "files", "labels", "labels_sha256", "versions")
    content = {key: value for key, value in run.manifest.items() if key not in own}
    history = run.folder / "history.csv"
    return save_checkpoint(
        out, state=state, history=history, rows=run.rows, labels=run.labels, content=content, overwrite=False
    )


@pytest.fixture(scope="module")
def made(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> flow.Exported:
    folder = tmp_path_factory.mktemp("hold")
    run = with_outlier(exports.run, folder / "runs" / "broken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "BENCH_SECONDS", BENCH_SECONDS)
        patch.setattr(accuracy_control, "_ESTIMATORS", ("mean_min_max",))
        patch.setattr(accuracy_control, "_RANKED_ON", 4)
        return flow.export(run.folder, X86, folder / "x.edgx", precision="int8", epochs=0, device="cpu")


def run_of(made: flow.Exported) -> Path:
    return made.bundle.folder.parent / "runs" / "broken"


def test_int8_ships_with_the_two_layers_around_the_outlier_in_float(made: flow.Exported) -> None:
    bundle = made.bundle
    assert bundle.precision == "int8"
    assert bundle.manifest["float_layers"] == [BEFORE, BEHIND]
    assert made.measured[0].evaluation.top1 - made.measured[1].evaluation.top1 <= X86.max_drop
    assert lint(bundle.folder) == []
    assert [node.op_type for node in float_operators(onnx.load(bundle.model))] == ["Conv", "Conv"]
    pixels, expected = bundle.references()
    with load(bundle) as classifier:
        assert (classifier.probabilities(pixels).argmax(1) == expected.argmax(1)).all()
    layers = json.loads((bundle.folder / "layers.json").read_bytes())["layers"]
    worst = min(layers, key=lambda layer: 1e3 if layer["own_sqnr_db"] is None else layer["own_sqnr_db"])
    assert worst["name"] not in (BEFORE, BEHIND)


def test_every_8_bit_form_for_tensorrt_gets_the_layer_back_in_float(
    made: flow.Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy_control, "_ESTIMATORS", ("mean_min_max",))
    monkeypatch.setattr(accuracy_control, "_RANKED_ON", 4)
    jetson = load_target("jetson-orin-nano")
    tensorrt = flow.export(run_of(made), jetson, tmp_path / "x.edgx", precision="auto", epochs=0, device="cpu")
    found = read_control(tensorrt.bundle.folder, tensorrt.bundle.manifest)
    assert found is not None
    assert not found.attempts[0].holds
    # TensorRT wants quantized inputs alone: the layer that reads the outlier is enough.
    assert tensorrt.bundle.manifest["float_layers"] == [BEHIND]
    by_name = {record.precision: record.evaluation.top1 for record in tensorrt.measured}
    assert set(by_name) == {"float16", "int8", "int8-depthwise-float16"}
    assert min(by_name["int8"], by_name["int8-depthwise-float16"]) >= by_name["float16"] - jetson.max_drop
    assert lint(tensorrt.bundle.folder) == []


def test_bundle_and_checkpoint_tell_what_was_tried_on_validation_images(made: flow.Exported) -> None:
    assert "control.json" in made.bundle.manifest["files"]
    found = read_control(made.bundle.folder, made.bundle.manifest)
    assert found is not None
    quantized = open_checkpoint(run_of(made).with_name("broken.int8-ort"))
    assert found == read_control(quantized.folder, quantized.manifest)
    assert quantized.quantization is not None
    assert quantized.quantization["float_layers"] == [BEFORE, BEHIND]
    assert (found.images, found.max_drop) == (9, X86.max_drop)
    assert found.chosen is not None
    assert found.attempts[found.chosen].float_layers == (BEFORE, BEHIND)
    assert not found.attempts[0].holds
    assert max(found.sensitivity, key=lambda name: found.sensitivity[name]) == BEFORE
    layers = json.loads((made.bundle.folder / "layers.json").read_bytes())["layers"]
    assert set(found.sensitivity) - {layer["name"] for layer in layers} == {"global_pool.pool"}


def test_what_was_held_to_a_limit_is_taken_again_for_that_limit_alone(
    made: flow.Exported, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def reached(word: str) -> Any:
        def stop(*_: Any, **__: Any) -> None:
            raise EdgexferError(word)

        return stop

    monkeypatch.setattr(flow, "compress", reached("quantized anew"))
    monkeypatch.setattr(flow, "write_bundle", reached("taken as it is"))
    with pytest.raises(EdgexferError, match="taken as it is"):
        flow.export(run_of(made), X86, tmp_path / "x.edgx")
    with pytest.raises(EdgexferError, match="quantized anew"):
        flow.export(run_of(made), dataclasses.replace(X86, max_drop=0.5), tmp_path / "x.edgx")
    with pytest.raises(EdgexferError, match="quantized anew"):
        flow.export(run_of(made), X86, tmp_path / "x.edgx", accuracy_control=False)
