"""The split: disjoint, stratified, the same on every machine, and whole after a trip through `split.csv`."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.core.errors import ArtifactError, DataError, SettingsError
from edgexfer.core.intake import Usable
from edgexfer.core.sample import SPLITS, Sample
from edgexfer.train.images.split import SplitRow, dataset_digest, make_split, read_split, write_split


def usable(name: str, label: str, content: str, split: str | None = None) -> Usable:
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Usable(0, Sample(Path("/data") / name, label, split), name, digest, 8, 8)


def images(sizes: dict[str, int], split: str | None = None, prefix: str = "") -> list[Usable]:
    return [
        usable(f"{prefix}{label}/{number}.jpg", label, f"{prefix}{label}{number}", split)
        for label, size in sizes.items()
        for number in range(size)
    ]


# Classes as lists of copies: [3, 1, 1] is a class of five images, three of them the same.
classes = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=4),
    st.lists(st.integers(1, 4), min_size=2, max_size=40),
    min_size=2,
    max_size=5,
)


def drawn(copies: dict[str, list[int]]) -> list[Usable]:
    return [
        usable(f"{label}/{group}-{copy}.jpg", label, f"{label}/{group}")
        for label, groups in copies.items()
        for group, size in enumerate(groups)
        for copy in range(size)
    ]


@given(classes, st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_no_content_is_in_two_splits_and_every_class_is_in_train_and_val(
    copies: dict[str, list[int]], seed: int
) -> None:
    samples = drawn(copies)
    rows = make_split(samples, seed=seed)
    assert sorted(row.path for row in rows) == [row.path for row in rows] == sorted(item.name for item in samples)
    splits_of: dict[str, set[str]] = {}
    for row in rows:
        splits_of.setdefault(row.sha256, set()).add(row.split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    for label, groups in copies.items():
        found = {row.split for row in rows if row.label == label}
        assert found == (set(SPLITS) if len(groups) >= 3 else {"train", "val"})


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(2, 300), min_size=2), st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_each_class_is_divided_in_proportion(sizes: dict[str, int], seed: int) -> None:
    count = Counter((row.label, row.split) for row in make_split(images(sizes), seed=seed))
    for label, size in sizes.items():
        for split, fraction in zip(SPLITS, (0.70, 0.15, 0.15), strict=True):
            # 1.1 for a class of three, one image each; at most 1 otherwise.
            assert abs(count[label, split] - fraction * size) <= (1.1 if size == 3 else 1.0) + 1e-9, (label, split)


@given(classes, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_input_changes_nothing(copies: dict[str, list[int]], chance: random.Random) -> None:
    samples = drawn(copies)
    shuffled = list(samples)
    chance.shuffle(shuffled)
    assert make_split(shuffled, seed=1) == make_split(samples, seed=1)


def test_renamed_files_keep_their_split_and_another_seed_draws_others() -> None:
    samples = images({"a": 40, "b": 40})
    renamed = [
        Usable(0, Sample(Path("/x"), s.sample.label), f"{s.sample.label}/{s.sha256[:6]}", s.sha256, 8, 8)
        for s in samples
    ]
    by_content = {row.sha256: row.split for row in make_split(samples)}
    assert {row.sha256: row.split for row in make_split(renamed)} == by_content
    assert {row.sha256: row.split for row in make_split(samples, seed=1)} != by_content


def test_the_draw_is_the_same_in_every_release() -> None:
    rows = make_split(images({"a": 8, "b": 8}), seed=0)
    assert {split: [row.path for row in rows if row.split == split] for split in ("val", "test")} == {
        "val": ["a/1.jpg", "b/4.jpg"],
        "test": ["a/0.jpg", "b/7.jpg"],
    }


def test_two_images_go_to_train_and_val() -> None:
    count = Counter((row.label, row.split) for row in make_split(images({"a": 2, "b": 3})))
    assert count == {("a", "train"): 1, ("a", "val"): 1, ("b", "train"): 1, ("b", "val"): 1, ("b", "test"): 1}


def test_without_a_share_for_test_there_is_none() -> None:
    rows = make_split(images({"a": 10, "b": 10}), fractions=(0.8, 0.2, 0.0))
    assert Counter(row.split for row in rows) == {"train": 16, "val": 4}


@pytest.mark.parametrize("given_splits", [("train", "val", "test"), ("train", "val")])
def test_what_the_user_has_divided_is_kept(given_splits: tuple[str, ...]) -> None:
    samples = [item for split in given_splits for item in images({"a": 5, "b": 4}, split, f"{split}/")]
    rows = make_split(samples, seed=5)
    assert all(row.path.startswith(f"{row.split}/") for row in rows)
    assert {row.split for row in rows} == set(given_splits)


def test_val_is_drawn_from_train_where_only_test_is_given() -> None:
    samples = images({"a": 40, "b": 20}, "train", "train/") + images({"a": 7, "b": 7}, "test", "test/")
    rows = make_split(samples)
    assert Counter((row.label, row.split) for row in rows if row.path.startswith("train/")) == {
        ("a", "train"): 34,
        ("a", "val"): 6,
        ("b", "train"): 17,
        ("b", "val"): 3,
    }
    assert {row.split for row in rows if row.path.startswith("test/")} == {"test"}


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(DataError, match="some have none"):
        make_split(images({"a": 3}, "train") + images({"b": 3}))
    with pytest.raises(DataError, match="given for test and val"):
        make_split(images({"a": 3}, "val", "v/") + images({"a": 3}, "test", "t/"))
    with pytest.raises(DataError, match="no two images that differ"):
        make_split([*images({"a": 3}), usable("b/1.jpg", "b", "same"), usable("b/2.jpg", "b", "same")])
    with pytest.raises(DataError, match="have the same content"):
        make_split([*images({"a": 2}, "train"), usable("v/0.jpg", "a", "a0", "val")])


@pytest.mark.parametrize("fractions", [(0.5, 0.2, 0.2), (1.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.9, 0.2, -0.1)])
def test_fractions_that_do_not_fit_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(SettingsError, match="fractions"):
        make_split(images({"a": 4, "b": 4}), fractions=fractions)


paths = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(st.dictionaries(paths, st.tuples(paths, st.sampled_from(SPLITS), st.binary(min_size=32, max_size=32))))
@settings(deadline=None, max_examples=60)
def test_split_csv_brings_every_path_back(tmp_path_factory: pytest.TempPathFactory, table: dict) -> None:
    rows = tuple(SplitRow(path, label, split, digest.hex()) for path, (label, split, digest) in sorted(table.items()))
    file = tmp_path_factory.mktemp("split") / "split.csv"
    write_split(file, reversed(rows))
    assert read_split(file) == rows


def test_split_csv_brings_back_names_that_are_not_utf8(tmp_path: Path) -> None:
    rows = (SplitRow(os.fsdecode(b'a/caf\xe9, "x"\r\n.jpg'), "a", "train", "0" * 64),)
    write_split(tmp_path / "split.csv", rows)
    assert read_split(tmp_path / "split.csv") == rows
    assert (tmp_path / "split.csv").read_bytes().startswith(b"path,label,split,sha256\n")


@pytest.mark.parametrize(
    "text",
    ["", "path,label\n", "path,label,split,sha256\na,b,train\n", "path,label,split,sha256\na,b,dev," + "0" * 64 + "\n"],
)
def test_a_damaged_split_csv_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(ArtifactError):
        read_split(tmp_path / "split.csv")
    with pytest.raises(ArtifactError, match="cannot read"):
        read_split(tmp_path / "other.csv")


def test_the_digest_names_content_class_and_split_but_not_paths() -> None:
    row = SplitRow("a/1.jpg", "a", "train", "1" * 64)
    other = SplitRow("b/1.jpg", "b", "val", "2" * 64)
    expected = hashlib.sha256(f'[["{"1" * 64}","a","train"],["{"2" * 64}","b","val"]]'.encode()).hexdigest()
    assert dataset_digest([other, row]) == dataset_digest([row, other]) == expected
    assert dataset_digest([SplitRow("elsewhere.jpg", "a", "train", "1" * 64), other]) == expected
    assert dataset_digest([SplitRow("a/1.jpg", "a", "test", "1" * 64), other]) != expected
