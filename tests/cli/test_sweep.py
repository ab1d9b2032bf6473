"""`edgexfer sweep`: flags become what is fixed and what is searched; the front and the next commands are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.runs import tried
from tests.cli.terminal import Terminal, files_below

Call = dict[str, Any]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> list[Call]:
    """What the flow was called with; it trains nothing, and returns a sweep of fixed figures."""
    for name in ("optuna", "edgexfer.flow.sweep.sweep"):
        pytest.importorskip(name, reason="needs the extras [train] and [sweep]", exc_type=ImportError)
    from edgexfer.flow.sweep import sweep as module

    monkeypatch.chdir(tmp_path)
    assert data.is_dir()
    seen: list[Call] = []

    def flow(images: Path, target: Any, out: Path, **options: Any) -> Any:
        seen.append({"data": images, "target": target.name, "out": out, **options})
        return some_sweep(out)

    monkeypatch.setattr(module, "sweep", flow)
    return seen


def some_sweep(out: Path) -> Any:
    from edgexfer.flow.sweep.outcome import Sweep, Tried
    from edgexfer.flow.sweep.speed import Speed, Speeds

    def trial(number: int, size: int, top1: float, kind: str = "complete") -> Tried:
        settings = {"backbone": "resnet18", "input_size": size, "strategy": "finetune", "learning_rate": 2.5e-4}
        place = (out / "trials" / f"data-{number:04}").absolute()
        return Tried(number, kind, settings, top1, top1 - 0.05, size / 10, checkpoint=place, host="here")

    trials = (trial(0, 96, 0.9), trial(1, 64, 0.8), trial(2, 96, 0.85), trial(3, 64, 0.2, "pruned"))
    speeds = Speeds({f"resnet18@{size}": Speed(size / 10, "int8", {}) for size in (64, 96)}, "ort 1", "here")
    (out / "trials" / "data-0000").mkdir(parents=True, exist_ok=True)
    front = (trials[1], trials[0])
    return Sweep(out, "data", "sqlite:///x", "x86-cpu", speeds, trials, front, trials[0], ("it was busy",))


@pytest.mark.train
def test_flags_are_fixed_or_searched(edgexfer: Terminal, calls: list[Call]) -> None:
    Path("mine.toml").write_text(
        "patience = 2\nbackbone = 'resnet18'\n[space]\nlearning_rate = {low = 1e-5, high = 1e-3, log = true}\n",
        encoding="utf-8",
    )
    words = ["--backbone", "mobilenetv2-050", "--backbone", "resnet18", "--input-size", 96, "--epochs", 3, "--keep"]
    more = ["--trials", 7, "--storage", "sqlite:///x.db", "--study", "mine", "--time-budget", 60, "--seed", 4]
    said = edgexfer(
        "sweep", "data", "--target", "x86-cpu", "--config", "mine.toml", *words, *more, "--precision", "float32"
    )
    assert said.code == 0, said.err
    (call,) = calls
    assert call["space"] == {
        "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
        "backbone": ["mobilenetv2-050", "resnet18"],
        "input_size": [96],
    }
    assert sorted(call["fixed"]) == ["epochs", "patience", "seed"]
    assert (call["settings"].patience, call["settings"].epochs, call["settings"].seed) == (2, 3, 4)
    assert (call["trials"], call["storage"], call["study"], call["keep"]) == (7, "sqlite:///x.db", "mine", True)
    assert (call["time_budget_s"], call["precision"], call["out"]) == (60.0, "float32", Path("sweeps/data"))


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_the_front_and_what_to_do_next(edgexfer: Terminal) -> None:
    said = edgexfer("sweep", "data", "--target", "x86-cpu", "--out", "my sweep")
    lines = [line.split() for line in said.out.splitlines()]
    rows = [line for line in lines if line[1:2] == ["resnet18"]]
    assert [row[0] for row in rows] == ["1", "0"]
    assert rows[1][2:] == ["96", "finetune", "0.00025", "90.0", "%", "85.0", "%", "9.60", "ms", "int8"]
    assert "4 trials: 3 complete, 1 pruned; 2 on the front" in said.out
    assert said.err == "warning: it was busy\n"
    assert "best: trial 0, my sweep/trials/data-0000\n" in said.out
    assert "next: edgexfer export 'my sweep/trials/data-0000' --target x86-cpu\n" in said.out
    assert "edgexfer finetune data --config 'my sweep/best.toml' --out runs/data-best\n" in said.out


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_ctrl_c_says_that_the_same_command_goes_on(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def flow(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgexfer.flow.sweep.sweep.sweep", flow)
    monkeypatch.setattr("sys.argv", ["edgexfer", "sweep", "data", "--target", "x86-cpu"])
    said = edgexfer("sweep", "data", "--target", "x86-cpu")
    assert (said.code, said.err) == (130, "interrupted; go on with: edgexfer sweep data --target x86-cpu\n")


def test_mistakes_are_told_before_pytorch_is_loaded(tmp_path: Path, data: Path) -> None:
    files = {
        "both.toml": "epochs = 3\n[space]\nepochs = [2, 3]\n",
        "typo.toml": "[space]\nlearning_rat = [1e-3]\n",
        "flat.toml": "space = 3\n",
        "seed.toml": "[space]\nseed = [0, 1]\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    plain = [data.name, "--target", "x86-cpu"]
    calls = [
        ["nothing", "--target", "x86-cpu"],
        [data.name, "--target", "x86-cpy"],
        *([*plain, "--config", name] for name in files),
        [*plain, "--backbone", "resnet81"],
        [*plain, "--input-size", "100"],
        [*plain, "--time-budget", "0"],
        [*plain, "--max-latency-ms", "-1"],
        [data.name],
    ]
    before = files_below(tmp_path)
    out, err = tried("sweep", calls, tmp_path)
    assert out == f"{[2] * len(calls)} False\n", err
    for words in (
        "nothing does not exist",
        "did you mean 'x86-cpu'",
        "both.toml: epochs is fixed, and searched in [space]",
        "did you mean 'learning_rate'",
        "expected a table [space]",
        "space.seed cannot be searched",
        "did you mean 'resnet18'",
        "expected a multiple of 32",
        "--time-budget is 0",
        "--max-latency-ms is -1",
    ):
        assert words in err
    assert files_below(tmp_path) == before
