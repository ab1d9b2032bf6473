"""What a network was trained on before never judges it later: images keep the split that an earlier run gave them."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.core.errors import DataError
from edgexfer.train.images.split import make_split
from tests.train.test_split import images, usable

SIZES = {"bee": 40, "ant": 30}


def test_known_images_keep_their_split_and_new_ones_are_drawn() -> None:
    known = images(SIZES)
    before = {row.sha256: row.split for row in make_split(known, seed=0)}
    rows = make_split([*known, *images(SIZES, prefix="new")], seed=7, before=before)
    again = {row.sha256: row.split for row in rows if row.sha256 in before}
    assert again == before
    new = [row.split for row in rows if row.sha256 not in before]
    assert {split: new.count(split) for split in ("train", "val", "test")} == {"train": 48, "val": 11, "test": 11}


@given(st.integers(2, 12), st.integers(0, 12), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_no_image_that_was_trained_on_ever_judges_while_others_can(known: int, new: int, seed: int) -> None:
    old = images({"bee": known, "ant": known})
    before = {row.sha256: row.split for row in make_split(old, seed=seed)}
    rows = make_split([*old, *images({"bee": new, "ant": new}, prefix="new")], seed=seed + 1, before=before)
    for label in SIZES:
        assert {"train", "val"} <= {row.split for row in rows if row.label == label}
    assert all(row.split == before[row.sha256] for row in rows if row.sha256 in before)


def test_without_seeds_in_common_chance_would_have_let_trained_images_judge() -> None:
    known = images(SIZES)
    before = {row.sha256: row.split for row in make_split(known, seed=0)}
    anew = make_split(known, seed=7)
    assert any(before[row.sha256] == "train" and row.split != "train" for row in anew)


def test_where_only_trained_images_are_left_they_are_drawn_anew_and_a_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = images({"bee": 5, "ant": 5})
    before = dict.fromkeys((item.sha256 for item in known), "train")
    with caplog.at_level(logging.WARNING):
        rows = make_split(known, before=before)
    assert {"train", "val"} <= {row.split for row in rows if row.label == "bee"}
    assert any(
        "images that the earlier network was trained on (5)" in said and "flatter" in said for said in caplog.messages
    )


def test_one_new_image_joins_the_training_images_of_a_class_that_can_be_judged() -> None:
    known = images({"bee": 10, "ant": 10})
    before = {row.sha256: row.split for row in make_split(known)}
    rows = make_split([*known, usable("bee/one.jpg", "bee", "one")], before=before)
    assert next(row.split for row in rows if row.path == "bee/one.jpg") == "train"


def test_a_near_duplicate_of_a_trained_image_trains_too() -> None:
    known, new = images(SIZES), images(SIZES, prefix="new")
    before = {row.sha256: row.split for row in make_split(known)}
    pairs = [(f"{label}/{number}.jpg", f"new{label}/{number}.jpg") for label in SIZES for number in range(SIZES[label])]
    rows = {row.path: row.split for row in make_split([*known, *new], seed=3, before=before, alike=pairs)}
    assert all(rows[first] == rows[second] for first, second in pairs)


def test_known_images_that_are_found_alike_later_stay_apart() -> None:
    known = images(SIZES)
    before = {row.sha256: row.split for row in make_split(known)}
    pairs = [(f"{label}/{n}.jpg", f"{label}/{n + 1}.jpg") for label in SIZES for n in range(0, 12, 2)]
    rows = make_split(known, before=before, alike=pairs)
    assert {row.sha256: row.split for row in rows} == before
    assert any(len({before[item.sha256] for item in known if item.name in pair}) > 1 for pair in pairs)


def test_known_test_images_validate_where_the_user_gives_a_test_part() -> None:
    known = images(SIZES)
    before = {row.sha256: row.split for row in make_split(known)}
    train = [
        usable(item.name, item.sample.label, item.name.replace("/", "").removesuffix(".jpg"), "train") for item in known
    ]
    rows = make_split([*train, *images({"bee": 2, "ant": 2}, "test", "held")], before=before)
    assert not [row for row in rows if before.get(row.sha256) == "test" and row.split == "train"]
    assert {row.split for row in rows if before.get(row.sha256) == "test"} == {"val"}


def test_a_class_of_one_image_is_refused_with_what_mends_it() -> None:
    with pytest.raises(DataError) as refused:
        make_split([usable("bee/0.jpg", "bee", "0"), *images({"ant": 5})])
    assert "class 'bee' has no two images that differ" in refused.value.message
    assert "--val" in refused.value.hint
