"""`--resume` of compress and export: what is refused before PyTorch is loaded, and the command that Ctrl-C prints."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runs import make_run, tried
from tests.cli.terminal import Terminal


def interrupted_way(place: Path, **asked: Any) -> Path:
    """Writes what a pruning that was interrupted leaves, as far as a verb looks at it."""
    partial = place.with_name(f"{place.name}.partial")
    partial.mkdir(parents=True)
    way = {"made": "pruning", "goal": "macs=0.5", "target": "x86-cpu", "epochs": None, "precision": "int8", **asked}
    (partial / "way.json").write_text(json.dumps({"format_version": 1, "asked": way}), encoding="utf-8")
    return partial


@pytest.mark.parametrize("verb", ["compress", "export"])
def test_what_cannot_go_on_is_told_before_pytorch_is_loaded(tmp_path: Path, verb: str) -> None:
    digest = make_run(tmp_path / "mine").manifest["digest"]
    make_run(tmp_path / "late")
    interrupted_way(tmp_path / "mine.pruned-macs-0.5", parent=digest)
    interrupted_way(tmp_path / "late.pruned-macs-0.5", parent="0" * 64)
    zeros = {"made": "sparsity", "asked": "0.6", "how": "magnitude", "epochs": 2, "parent": digest}
    interrupted_way(tmp_path / "mine.sparse-0.6", **zeros)
    (tmp_path / "mine.sparse-0.5.partial").mkdir()
    (tmp_path / "mine.sparse-0.5.partial" / "photo.png").touch()
    half, target = ["--prune", "macs=0.5"], ["--target", "x86-cpu"]
    calls = [
        ["mine", *target, "--resume"],
        ["mine", *target, *half],
        ["mine", *target, *half, "--prune-epochs", "2", "--resume"],
        ["mine", "--target", "raspberry-pi-5", *half, "--resume"],
        ["late", *target, *half, "--resume"],
        ["mine", *target, "--prune", "macs=0.6", "--resume"],
        ["mine", *target, "--sparsity", "0.6", "--resume"],
        ["mine", *target, "--sparsity", "0.5", "--resume"],
    ]
    out, err = tried(verb, calls, tmp_path)
    assert out == f"{[2] * len(calls)} False\n", err
    for words in (
        "--resume goes on with --prune or --sparsity, and neither is given",
        "mine.pruned-macs-0.5.partial holds what was interrupted on the way to mine.pruned-macs-0.5",
        "go on with --resume and the options it was begun with, or begin anew with --overwrite",
        "the number of epochs at each point is 2, in what mine.pruned-macs-0.5.partial goes on with it is unset",
        "--target is raspberry-pi-5, in what mine.pruned-macs-0.5.partial goes on with it is x86-cpu",
        "the digest of the network that it is made from is ",
        "there is nothing to resume: mine.pruned-macs-0.6.partial does not exist",
        "the number of epochs at each point is unset, in what mine.sparse-0.6.partial goes on with it is 2",
        "mine.sparse-0.5.partial exists and is nothing that pruning left",
    ):
        assert words in err


@pytest.mark.train
def test_the_command_that_ctrl_c_prints_is_the_one_that_goes_on(
    edgexfer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightning", reason="needs the extra [train]")
    monkeypatch.chdir(tmp_path)
    digest = make_run(Path("my run")).manifest["digest"]
    calls: list[dict[str, Any]] = []

    def stage(*_: object, **options: Any) -> None:
        calls.append(options)
        place = Path("my run.pruned-macs-0.5")
        if len(calls) % 2 == 0:
            interrupted_way(place, parent=digest, epochs=3)
        raise KeyboardInterrupt

    monkeypatch.setattr("edgexfer.train.checkpoint.open_checkpoint", lambda folder: folder)
    monkeypatch.setattr("edgexfer.flow.prune.prune", stage)
    given = ["compress", "my run", "--target", "x86-cpu", "--prune", "macs=0.5", "--prune-epochs", "3"]
    given += ["--device", "cpu", "--no-accuracy-control", "--overwrite"]
    said = edgexfer(*given)
    assert said.err.endswith("interrupted\n")  # nothing was reached yet
    assert not calls[0]["resume"]
    said = edgexfer(*given)
    assert (said.code, said.out) == (130, "")
    command = said.err.strip().removeprefix("interrupted; go on with: ")
    words = shlex.split(command)
    assert sorted(words) == sorted(["edgexfer", *given, "--resume"])
    assert edgexfer(*words[1:]).err == f"interrupted; go on with: {command}\n"
    assert (calls[2]["resume"], calls[2]["epochs"], calls[2]["overwrite"]) == (True, 3, True)
