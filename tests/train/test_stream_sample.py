"""The sample of a set of shards: ordinary files that everything else reads, whole or absent, and made for one RUN."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgexfer.core.errors import DataError, SettingsError
from edgexfer.core.files import sha256_of_file
from edgexfer.core.preprocess import Preprocess, pixels
from edgexfer.train.checkpoint import EXEMPLARS, Checkpoint, open_checkpoint
from edgexfer.train.continual.exemplars import parse_exemplars
from edgexfer.train.finetune import finetune
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.streaming.stream import open_stream
from edgexfer.train.streaming.stream_sample import take_sample
from tests.train.pictures import png, stripes
from tests.train.tars import shards, tar_of

pytestmark = pytest.mark.train

SETTINGS = {
    "backbone": "mobilenetv2-050",
    "weights": "none",
    "strategy": "finetune",
    "window": 10,
    "epochs": 1,
    "batch_size": 5,
    "input_size": 32,
    "device": "cpu",
    "mirror": False,
    "patience": 100,
    "near_duplicates": "apart",
    "temperature_scaling": False,
}


class StoppedError(Exception):
    """Ends something in the middle."""


def stop(*_: object) -> None:
    raise StoppedError


def stop_after_the_first_epoch(_: Mapping[str, float], epoch: int) -> None:
    if epoch == 1:
        raise StoppedError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lies_whole(checkpoint: Checkpoint) -> bool:
    """Whether the images that a RUN was made from are where it says."""
    root = Path(checkpoint.manifest["data"]).parent
    return all(sha256_of_file(root / row.path) == row.sha256 for row in checkpoint.rows)


def test_a_sample_has_a_window_and_images_of_every_class_to_judge_by(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("val", 4)):
        tar_of(
            tmp_path / f"{split}-0.tar", {f"{'ab'[n % 2]}/{n}.png": png(stripes(n % 2, n, 16)) for n in range(count)}
        )
    table, stream = take_sample(tmp_path, tmp_path / "run", window=4, seed=0) or (None, None)
    assert table is not None
    assert stream is not None
    assert (stream.count("train"), stream.count("val"), stream.count("test")) == (8, 4, 0)
    with table.open(newline="") as file:
        found = Counter((row["split"], row["label"]) for row in csv.DictReader(file))
    assert sum(count for (split, _), count in found.items() if split == "train") >= 4
    assert found["val", "a"] >= 1
    assert found["val", "b"] >= 1


def test_a_class_at_the_end_of_a_block_that_the_window_cuts_is_in_the_sample(tmp_path: Path) -> None:
    picture = png(stripes(0, 0, 16))
    for split, count in (("train", 30), ("val", 2)):
        members = {f"a/{n:03}.png": picture + bytes([n]) for n in range(count)}
        tar_of(tmp_path / f"{split}-0.tar", {**members, f"b/{split}1.png": picture, f"b/{split}2.png": picture})
    table, _ = take_sample(tmp_path, tmp_path / "run", window=10, seed=0) or (None, None)
    assert table is not None
    with table.open(newline="") as file:
        assert Counter(row["split"] for row in csv.DictReader(file) if row["label"] == "b")["train"] == 2


def test_a_sample_is_made_once_and_belongs_to_its_shards(tmp_path: Path) -> None:
    pattern, run = shards(tmp_path / "set"), tmp_path / "run"
    made = take_sample(pattern, run, window=20, seed=0)
    assert made is not None
    assert made[0] == tmp_path / "run.images" / "images.csv"
    before = made[0].read_bytes()
    assert take_sample(pattern, run, window=99, seed=5) == made  # an older sample keeps its own draws
    (tmp_path / "set" / "part-03.tar").unlink()
    with pytest.raises(DataError, match="is the sample of other shards"):
        take_sample(tmp_path / "set" / "part-{00..02}.tar", run, window=20, seed=0)
    assert made[0].read_bytes() == before
    for name in ("mine.images", "other.partial.images"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo.jpg").write_bytes(b"x")
        with pytest.raises(DataError, match="is no sample of shards"):
            take_sample(
                tmp_path / "set" / "part-{00..02}.tar",
                tmp_path / name.partition(".")[0],
                window=20,
                seed=0,
                overwrite=True,
            )
        assert names(tmp_path / name) == ["photo.jpg"]
    assert take_sample(tmp_path / "mine.images", run, window=20, seed=0) is None


def test_a_sampling_that_was_interrupted_blocks_nothing(tmp_path: Path) -> None:
    pattern, run = shards(tmp_path / "set"), tmp_path / "run"
    with pytest.raises(StoppedError):
        take_sample(pattern, run, window=20, seed=0, progress=stop)
    assert names(tmp_path) == ["set"]
    made = take_sample(pattern, run, window=20, seed=0)
    assert made is not None
    before = made[0].read_bytes()
    with pytest.raises(StoppedError):
        take_sample(pattern, run, window=12, seed=1, overwrite=True, progress=stop)
    assert made[0].read_bytes() == before
    assert names(tmp_path) == ["run.images", "set"]


def test_a_mistake_in_the_strategy_is_told_before_anything_is_sampled(tmp_path: Path) -> None:
    pattern = shards(tmp_path / "set", 2)
    for strategy, words in (("finetun", "unknown strategy 'finetun'"), ("pretrain", "unlabeled")):
        with pytest.raises(SettingsError, match=words):
            finetune(pattern, tmp_path / "run", FinetuneSettings(**{**SETTINGS, "strategy": strategy}))
    assert names(tmp_path) == ["set"]


def test_an_older_run_keeps_its_images_until_the_new_one_is_there(tmp_path: Path) -> None:
    pattern, run = shards(tmp_path / "set", 2, 18), tmp_path / "run"
    finetune(pattern, run, FinetuneSettings(**SETTINGS))
    table = (tmp_path / "run.images" / "images.csv").read_bytes()
    settings = FinetuneSettings(**{**SETTINGS, "seed": 1})
    with pytest.raises(StoppedError):
        finetune(pattern, run, settings, overwrite=True, tracked=Tracking(on_figures=stop_after_the_first_epoch))
    assert (tmp_path / "run.images" / "images.csv").read_bytes() == table
    assert lies_whole(open_checkpoint(run))
    made = finetune(pattern, run, overwrite=True, resume=True)
    assert made.manifest["settings"]["seed"] == 1
    assert made.manifest["data"] == str(tmp_path / "run.images" / "images.csv")
    assert (tmp_path / "run.images" / "images.csv").read_bytes() != table
    assert lies_whole(made)
    assert names(tmp_path) == ["run", "run.images", "set"]


def test_exemplars_are_the_images_that_their_digests_name(tmp_path: Path) -> None:
    pattern = shards(tmp_path / "set", 2, 18)
    made = finetune(pattern, tmp_path / "run", FinetuneSettings(**SETTINGS, exemplars=3))
    assert open_stream(pattern, window=10, seed=0).windows_for(1) > 1  # it ended with another window than the sample
    found = parse_exemplars((made.folder / EXEMPLARS).read_bytes(), made.folder / EXEMPLARS)
    rows = {row.sha256: row for row in made.rows}
    root = Path(made.manifest["data"]).parent
    train = found.of("train")
    assert np.bincount(found.class_ids[train]).tolist() == [3, 3]
    for place in range(len(found)):
        row = rows[found.digests()[place]]
        assert made.labels[found.class_ids[place]] == row.label
        np.testing.assert_array_equal(found.pixels[place], pixels(root / row.path, Preprocess(32, 32)))
