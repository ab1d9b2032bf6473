"""Which image of a set of shards trains, validates and tests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from edgexfer.core.errors import DataError
from edgexfer.train.streaming.stream import Stream, open_stream
from tests.train.tars import shards, tar_of

pytestmark = pytest.mark.train


def unread(folder: Path, name: str, **classes: int) -> Path:
    """A shard that is listed and never decoded: so many images of each class."""
    return tar_of(folder / name, {f"{kind}/{n:04}.png": b"-" for kind, count in classes.items() for n in range(count)})


def counts(stream: Stream) -> Counter[tuple[str, str]]:
    return Counter(pair for block in stream.blocks for pair in zip(block.labels, block.splits, strict=True))


def splits_by_shard(stream: Stream) -> dict[str, set[str]]:
    return {block.shard.name: set(block.splits) for block in stream.blocks}


def test_shards_named_train_and_test_have_val_drawn_from_train(tmp_path: Path) -> None:
    for number in range(3):
        unread(tmp_path, f"train-{number}.tar", a=100, b=100)
    unread(tmp_path, "test-0.tar", a=50, b=50)
    stream = open_stream(tmp_path, window=10, seed=0)
    assert splits_by_shard(stream) == {**{f"train-{n}.tar": {"train", "val"} for n in range(3)}, "test-0.tar": {"test"}}
    assert 60 <= stream.count("val") <= 120  # 15 % of 600
    assert stream.count("test") == 100


def test_shards_that_say_all_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("val", 4), ("test", 3)):
        unread(tmp_path, f"{split}_0.tar", a=count, b=count)
    stream = open_stream(tmp_path, window=10, seed=0)
    assert splits_by_shard(stream) == {"test_0.tar": {"test"}, "train_0.tar": {"train"}, "val_0.tar": {"val"}}


def test_shards_all_named_train_are_divided_as_those_without_a_name(tmp_path: Path) -> None:
    for folder, name in (("named", "train-0.tar"), ("plain", "part-0.tar")):
        unread(tmp_path / folder, name, a=100, b=100)
        found = open_stream(tmp_path / folder, window=10, seed=0)
        assert [split for split in ("train", "val", "test") if found.count(split) > 15] == ["train", "val", "test"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_shard_without_a_split_beside_others_with_one_is_refused(tmp_path: Path, split: str) -> None:
    unread(tmp_path, f"{split}-0.tar", a=9, b=9)
    unread(tmp_path, "extra.tar", a=9, b=9)
    with pytest.raises(DataError, match=f"extra.tar does not say its split, and {split}-0.tar says {split}") as caught:
        open_stream(tmp_path, window=10, seed=0)
    assert "rename it, such as train-extra.tar" in caught.value.hint


def test_shards_to_judge_with_alone_are_refused(tmp_path: Path) -> None:
    unread(tmp_path, "test-0.tar", a=9, b=9)
    unread(tmp_path, "valid-0.tar", a=9, b=9)
    with pytest.raises(DataError, match=r"say test and val, such as test-0.tar: expected some to train with"):
        open_stream(tmp_path, window=10, seed=0)


@pytest.mark.parametrize("seed", range(20))
def test_every_class_of_three_images_or_more_is_in_every_split(tmp_path: Path, seed: int) -> None:
    unread(tmp_path, "part-0.tar", common=200, rare=3)
    unread(tmp_path, "part-1.tar", common=200, ten=10)
    stream = open_stream(tmp_path, window=10, seed=seed)
    found = counts(stream)
    assert [found["rare", split] for split in ("train", "val", "test")] == [1, 1, 1]
    assert min(found["ten", split] for split in ("train", "val", "test")) >= 1
    again = open_stream(tmp_path, window=10, seed=seed)
    assert [block.splits for block in again.blocks] == [block.splits for block in stream.blocks]


def test_images_of_other_classes_stay_where_a_rare_one_is_moved(tmp_path: Path) -> None:
    unread(tmp_path / "one", "part-0.tar", common=300)
    unread(tmp_path / "two", "part-0.tar", common=300, rare=3)
    alone, beside = (open_stream(tmp_path / name, window=10, seed=1) for name in ("one", "two"))
    drawn = [
        [
            (image.key, split)
            for block in stream.blocks
            for image, split, label in zip(block.images, block.splits, block.labels, strict=True)
            if label == "common"
        ]
        for stream in (alone, beside)
    ]
    assert drawn[0] == drawn[1]


def test_a_class_too_small_is_named_before_anything_is_read(tmp_path: Path) -> None:
    unread(tmp_path / "a", "part-0.tar", common=20, lone=2)
    with pytest.raises(DataError, match="class 'lone' has 2 images in the shards, expected 3 or more") as caught:
        open_stream(tmp_path / "a", window=10, seed=0)
    assert "train, val, test" in caught.value.message
    unread(tmp_path / "b", "train-0.tar", common=20, lone=1)
    unread(tmp_path / "b", "test-0.tar", common=20, lone=1)
    with pytest.raises(DataError, match="class 'lone' has 1 image in the shards, expected 2 or more"):
        open_stream(tmp_path / "b", window=10, seed=0)
    unread(tmp_path / "c", "train-0.tar", common=20, lone=5)
    unread(tmp_path / "c", "val-0.tar", common=20)
    with pytest.raises(DataError, match="class 'lone' has no image in the shards of val"):
        open_stream(tmp_path / "c", window=10, seed=0)


def test_shards_without_images_are_refused(tmp_path: Path) -> None:
    tar_of(tmp_path / "part-0.tar", {"readme.txt": b"nothing here"})
    with pytest.raises(DataError, match="has no images to train on"):
        open_stream(tmp_path, window=10, seed=0)


def test_a_seed_draws_anew(tmp_path: Path) -> None:
    pattern = shards(tmp_path)
    one, other = (open_stream(pattern, window=10, seed=seed) for seed in (0, 1))
    assert [block.splits for block in one.blocks] != [block.splits for block in other.blocks]
