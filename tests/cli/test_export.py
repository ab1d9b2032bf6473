"""`edgexfer export`: what it hands to the flow, what it refuses at once, and how the choice is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgexfer.cli.export import default_bundle
from edgexfer.core.errors import SettingsError
from edgexfer.train.prune.goal import Goal
from edgexfer.train.sparse.asked import Sparsity
from tests.cli.runs import make_run, tried
from tests.cli.terminal import Terminal, files_below

Call = dict[str, Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "mine")
    return Path("runs/mine")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What the flow was called with; it makes nothing."""
    for name in ("torch", "nncf", "lightning", "timm", "onnx"):
        pytest.importorskip(name, reason="needs the extra [train]")
    from edgexfer.flow import export as flow

    seen: list[Call] = []

    def export(run: Path, target: Any, out: Path, **options: Any) -> SimpleNamespace:
        seen.append({"run": run, "target": target, "out": out, **options})
        return SimpleNamespace(
            bundle=SimpleNamespace(folder=out, target=target, manifest={"files": {}}),
            measured=(),
            warnings=(),
            decision="it ships",
            devices=(),
        )

    monkeypatch.setattr(flow, "export", export)
    return seen


def test_the_bundle_is_named_after_the_run() -> None:
    assert default_bundle(Path("runs/mine/")) == Path("mine.edgx")
    assert default_bundle(Path("runs/mine.int8-ort")) == Path("mine.edgx")
    assert default_bundle(Path("runs/v1.2")) == Path("v1.2.edgx")
    with pytest.raises(SettingsError, match="has no name"):
        default_bundle(Path("/"))


@pytest.mark.train
def test_what_the_flow_gets(edgexfer: Terminal, run: Path, calls: list[Call]) -> None:
    assert edgexfer("export", run, "--target", "x86-cpu").code == 0
    flags = ["--precision", "float32", "--epochs", "0", "--data", "photos", "--device", "cpu", "--overwrite"]
    flags += ["--on", "me@orin", "--on", "me@pi", "--known-share", "0.9", "--no-accuracy-control"]
    flags += ["--prune", "macs=0.5", "--sparsity", "0.7", "--sparsity-how", "regularisation"]
    flags += ["--prune-epochs", "3", "--sparsity-epochs", "4"]
    assert edgexfer("export", run, "--target", "jetson-orin-nano", "--out", "a/b.edgx", *flags).code == 0
    plain, full = calls
    assert (plain["run"], plain["target"].name, plain["out"]) == (run, "x86-cpu", Path("mine.edgx"))
    assert (plain["precision"], plain["epochs"], plain["data"]) == (None, None, None)
    assert (plain["device"], plain["overwrite"], plain["on"]) == ("auto", False, ())
    assert (plain["accuracy_control"], full["accuracy_control"]) == (True, False)
    assert full["on"] == ("me@orin", "me@pi")
    assert (plain["goal"], full["goal"]) == (None, Goal("macs", 0.5))
    assert (plain["sparsity"], full["sparsity"]) == (None, Sparsity(0.7, "regularisation"))
    assert (plain["prune_epochs"], plain["sparsity_epochs"], plain["resume"]) == (None, None, False)
    assert (full["prune_epochs"], full["sparsity_epochs"], full["resume"]) == (3, 4, False)
    assert (plain["known_share"], full["known_share"]) == (0.95, 0.9)
    assert (full["target"].name, full["out"], full["precision"]) == ("jetson-orin-nano", Path("a/b.edgx"), "float32")
    assert (full["epochs"], full["data"], full["device"], full["overwrite"]) == (0, Path("photos"), "cpu", True)


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_ctrl_c_is_one_line(edgexfer: Terminal, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgexfer.flow.export.export", export)
    said = edgexfer("export", run, "--target", "x86-cpu")
    assert (said.code, said.out, said.err) == (130, "", "interrupted\n")


@pytest.mark.train
def test_the_two_precisions_side_by_side(
    edgexfer: Terminal, run: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch, exports: Any
) -> None:
    del calls
    monkeypatch.setattr("edgexfer.flow.export.export", lambda *_, **__: exports.tensorrt)
    said = edgexfer("export", run, "--target", "jetson-orin-nano")
    assert said.code == 0
    for words in (
        "float16",
        "int8-depthwise-float16",
        "int8 (shipped)",
        "100.00 %",
        f"bundle: {exports.tensorrt.bundle.folder}",
    ):
        assert words in said.out.replace("\u202f", " ")
    assert "int8 ships: INT8 has the same top-1 as FP16 (the limit is 1.00)" in said.out
    assert "9 validation images stay known, and of the others held out" in said.out
    assert "called so of pictures made of random numbers: noise " in said.out
    assert "warning: TensorRT is not installed" in said.err or "is not installed" in said.err
    place = exports.tensorrt.bundle.folder
    assert f"next, on the device: edgexfer build {place}" in said.out
    assert f"edgexfer predict {place} photo.jpg --backend ort" in said.out


def test_mistakes_are_told_before_pytorch_is_loaded(run: Path, tmp_path: Path, bundle_folder: Path) -> None:
    make_run(tmp_path / "runs" / "quantized", quantization={"dialect": "ort", "weight_bits": 8})
    make_run(tmp_path / "there.edgx")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"")
    x86 = ["--target", "x86-cpu"]
    calls = [
        [str(run), "--target", "x86-cp"],
        [str(run)],
        ["runs/nothing", *x86],
        [bundle_folder.name, *x86],
        ["runs", *x86],
        [str(run), *x86, "--epochs", "-1"],
        [str(run), *x86, "--precision", "int9"],
        [str(run), *x86, "--out", "there.edgx"],
        [str(run), *x86, "--out", "photos", "--overwrite"],
        [str(run), *x86, "--out", "file/a/b.edgx"],
        [str(run), *x86, "--out", "/dev/full/b.edgx"],
        [str(run), *x86, "--out", "/dev/full"],
        ["runs/quantized", *x86, "--precision", "float32"],
        ["runs/quantized", "--target", "jetson-orin-nano"],
        ["/", *x86],
    ]
    before = files_below(tmp_path)
    out, err = tried("export", calls, tmp_path)
    assert out == f"{[2] * len(calls)} False\n", err
    for words in (
        "did you mean 'x86-cpu'",
        "Missing option '--target'",
        "checkpoint runs/nothing does not exist",
        "is a bundle",
        "runs is not a checkpoint",
        "--epochs is -1, expected 0 or more",
        "'int9' is not one of 'auto', 'int8', 'int8-depthwise-float16', 'float16', 'float32'",
        "there.edgx exists already",
        "photos exists already and is neither a checkpoint nor a bundle",
        "cannot write file/a/b.edgx",
        "cannot write /dev/full/b.edgx: /dev/full is a file",
        "/dev/full exists already",
        "runs/quantized is quantized, and float32 is asked for",
        "runs/quantized learned the dialect ort, jetson-orin-nano wants tensorrt",
        "/ has no name to call the bundle after",
    ):
        assert words in err
    assert err.count("error: ") == len(calls)
    assert "Traceback" not in err
    assert files_below(tmp_path) == before
