"""`edgexfer compress`: what it hands to the stage, what it refuses at once, and how the loss is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edgexfer.cli.compress import default_out
from edgexfer.core.control import CONTROL, Attempt, Control
from edgexfer.core.manifest import write_manifest
from edgexfer.core.target import load_target
from tests.cli.runs import Made, figures, make_run, tried
from tests.cli.terminal import Terminal, files_below

FLOAT = {"val": figures([[20, 0, 0], [0, 20, 0], [0, 0, 20]]), "test": figures([[20, 0, 0], [0, 20, 0], [0, 0, 20]])}
Call = dict[str, Any]
TRIED = Control(
    60,
    0.01,
    1.0,
    (
        Attempt("mean_min_max", (), 59 / 60, 1, 0, 1, 3_400_000, holds=False),
        Attempt("mean_min_max", ("stem",), 1.0, 0, 0, 0, 3_500_000, holds=True),
    ),
    1,
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What the stage was called with; it quantizes nothing, and leaves a checkpoint of fixed figures."""
    for name in ("torch", "nncf", "lightning", "timm", "safetensors"):
        pytest.importorskip(name, reason="needs the extra [train]")
    from edgexfer.train import checkpoint
    from edgexfer.train.quantize import accuracy_control, qat

    seen: list[Call] = []

    def stage(opened: object, target: Any, out: Path, **options: Any) -> Made:
        seen.append({"opened": opened, "target": target, "out": out, **options})
        record = {"dialect": target.dialect, "weight_bits": 8}
        return make_run(out, precision="int8", quantization=record, float_metrics=FLOAT)

    def hold(made: Made, floats: object, target: Any, **options: Any) -> Made:
        seen.append({"held": made.folder, "opened": floats, "target": target, **options})
        (made.folder / CONTROL).write_text(TRIED.to_json(), encoding="utf-8")
        content = {name: value for name, value in made.manifest.items() if name not in ("files", "digest")}
        return dataclasses.replace(made, manifest=write_manifest(made.folder, "checkpoint", content))

    monkeypatch.setattr(accuracy_control, "hold_accuracy", hold)
    monkeypatch.setattr(checkpoint, "open_checkpoint", lambda folder: f"opened {folder}")
    monkeypatch.setattr(qat, "compress", stage)
    return seen


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "mine")
    return Path("runs/mine")


def test_the_new_checkpoint_is_named_after_its_parent_and_the_dialect() -> None:
    assert default_out(Path("runs/mine/"), load_target("x86-cpu")) == Path("runs/mine.int8-ort")
    assert default_out(Path("runs/v1.2"), load_target("jetson-orin-nano")) == Path("runs/v1.2.int8-tensorrt")
    assert default_out(Path(), load_target("x86-cpu")) == Path.cwd().with_name(f"{Path.cwd().name}.int8-ort")


@pytest.mark.train
def test_what_the_stage_gets(edgexfer: Terminal, run: Path, calls: list[Call]) -> None:
    assert edgexfer("compress", run).code == 0
    flags = ["--target", "jetson-orin-nano", "--epochs", "0", "--data", "photos", "--device", "cpu", "--overwrite"]
    assert edgexfer("compress", run, "--out", "runs/small", *flags).code == 0
    plain, full = (call for call in calls if "held" not in call)
    assert (plain["opened"], plain["out"]) == ("opened runs/mine", Path("runs/mine.int8-ort"))
    assert (plain["target"].name, plain["epochs"], plain["data"]) == ("x86-cpu", None, None)
    assert (plain["device"], plain["overwrite"]) == ("auto", False)
    assert (full["out"], full["target"].name) == (Path("runs/small"), "jetson-orin-nano")
    assert (full["epochs"], full["data"], full["device"], full["overwrite"]) == (0, Path("photos"), "cpu", True)


@pytest.mark.train
def test_what_is_pruned_first_is_what_is_quantized(
    edgexfer: Terminal, run: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Call] = []

    def prune(run: Path, out: Path | None, target: Any, goal: Any, **options: Any) -> str:
        asked.append({"run": run, "out": out, "target": target.name, "goal": str(goal), **options})
        return "the pruned run"

    monkeypatch.setattr("edgexfer.flow.prune.prune", prune)
    assert edgexfer("compress", run, "--prune", "macs=0.5", "--prune-epochs", "3", "--data", "photos").code == 0
    assert calls[0]["opened"] == "the pruned run"
    assert calls[0]["out"] == Path("runs/mine.pruned-macs-0.5.int8-ort")
    assert (asked[0]["run"], asked[0]["out"], asked[0]["goal"]) == (run, None, "macs=0.5")
    assert (asked[0]["epochs"], asked[0]["data"], asked[0]["device"]) == (3, Path("photos"), "auto")


@pytest.mark.train
def test_what_is_pruned_and_made_sparse_first_is_what_is_quantized(
    edgexfer: Terminal, run: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Call] = []

    def sparsify(run: Path, out: Path | None, sparsity: Any, **options: Any) -> str:
        asked.append({"run": run, "out": out, "sparsity": str(sparsity), **options})
        return "the sparse run"

    thin = Path("runs/mine.pruned-macs-0.5")
    monkeypatch.setattr("edgexfer.flow.prune.prune", lambda *_, **__: Made(thin, {}))
    monkeypatch.setattr("edgexfer.flow.sparsify.sparsify", sparsify)
    flags = ["--sparsity", "2:4", "--sparsity-epochs", "3", "--data", "photos"]
    assert edgexfer("compress", run, *flags).code == 0
    assert edgexfer("compress", run, "--prune", "macs=0.5", "--sparsity", "0.6").code == 0
    assert [call["opened"] for call in calls if "held" not in call] == ["the sparse run"] * 2
    assert [call["out"].name for call in calls if "held" not in call] == [
        *("mine.sparse-2-4.int8-ort", "mine.pruned-macs-0.5.sparse-0.6.int8-ort")
    ]
    assert [(call["run"], call["sparsity"], call["epochs"]) for call in asked] == [(run, "2:4", 3), (thin, "0.6", None)]
    assert (asked[0]["out"], asked[0]["data"], asked[0]["device"]) == (None, Path("photos"), "auto")


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_float_and_int8_side_by_side(edgexfer: Terminal, run: Path) -> None:
    said = edgexfer("compress", run)
    assert "efficientnet-lite0 at 96x64 pixels, int8, 3 classes\n" in said.out
    rows = {
        line.split()[0]: line.split()[1:] for line in said.out.splitlines() if line.strip().startswith(("val", "test"))
    }
    assert rows["val"][:7] == ["60", "98.3", "%", "100.0", "%", "1.7", "points"]
    assert rows["test"][:7] == ["60", "93.3", "%", "100.0", "%", "6.7", "points"]
    assert "warning: INT8 loses 6.7 points of top-1 on test, x86-cpu allows 1.0 points" in said.err
    assert said.out.endswith("next: edgexfer export runs/mine.int8-ort --target x86-cpu\n")


@pytest.mark.train
def test_int8_beyond_the_limit_on_val_is_held_to_it_and_what_was_tried_is_told(
    edgexfer: Terminal, run: Path, calls: list[Call]
) -> None:
    said = edgexfer("compress", run, "--data", "photos")
    stage, held = calls
    assert (held["held"], held["opened"], held["data"]) == (stage["out"], "opened runs/mine", Path("photos"))
    assert (
        "INT8 lost 1.67 points of top-1 on 60 validation images, the limit is 1.00: with 1 layer in float it loses "
        "nothing. What was tried, on those images:\n"
    ) in said.out
    rows = [line.split() for line in said.out.splitlines() if line.strip().startswith("mean_min_max")]
    assert rows == [
        ["mean_min_max", "0", "98.3", "%", "-1.67", "1", "0", "1", "3.40", "misses"],
        ["mean_min_max", "1", "100.0", "%", "+0.00", "0", "0", "0", "3.50", "kept"],
    ]
    assert "in float: stem\n" in said.out
    assert "What was tried" not in edgexfer("compress", run, "--out", "other", "--no-accuracy-control").out
    assert len(calls) == 3


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_ctrl_c_is_one_line(edgexfer: Terminal, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage(*_: Any, **__: Any) -> None:
        raise SystemExit(1)

    monkeypatch.setattr("edgexfer.train.quantize.qat.compress", stage)
    said = edgexfer("compress", run)
    assert (said.code, said.out, said.err) == (130, "", "interrupted\n")


def test_mistakes_are_told_before_pytorch_is_loaded(run: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "quantized", quantization={"dialect": "ort"})
    make_run(tmp_path / "runs" / "there")
    calls = [
        ["runs/nothing"],
        [str(run), "--target", "x86-cp"],
        [str(run), "--out", "runs/there"],
        ["runs"],
        ["runs/quantized"],
        [str(run), "--epochs", "few"],
    ]
    before = files_below(tmp_path)
    out, err = tried("compress", calls, tmp_path)
    assert out == f"{[2] * len(calls)} False\n", err
    for words in (
        "checkpoint runs/nothing does not exist",
        "did you mean 'x86-cpu'",
        "runs/there exists already",
        "runs is not a checkpoint",
        "runs/quantized is quantized, expected a float checkpoint",
    ):
        assert words in err
    assert files_below(tmp_path) == before
