"""Groups and near-duplicates in a drawn split: never divided, and every class still in train and val."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.core.errors import DataError
from edgexfer.core.intake import Usable
from edgexfer.train.images.split import SplitRow, make_split
from edgexfer.train.images.units import units_of
from tests.train.test_split import images, usable


def grouped(rows: list[tuple[str, str | None]], split: str | None = None) -> list[Usable]:
    """An image for each (class, group)."""
    made = []
    for number, (label, group) in enumerate(rows):
        item = usable(f"{label}/{number}.jpg", label, f"{split}{number}", split)
        made.append(replace(item, sample=replace(item.sample, group=group)))
    return made


def splits_of_groups(samples: list[Usable], rows: tuple[SplitRow, ...]) -> dict[str, set[str]]:
    split = {row.path: row.split for row in rows}
    found: dict[str, set[str]] = {}
    for item in samples:
        if item.sample.group is not None:
            found.setdefault(item.sample.group, set()).add(split[item.name])
    return found


def can_be_divided(samples: list[Usable]) -> bool:
    """Whether any division of whole groups has every class in both parts; by trying all."""
    units = [set(unit.labels) for unit in units_of(samples)]
    labels = set().union(*units)
    for sides in itertools.product((0, 1), repeat=len(units)):
        parts = [set().union(*(u for u, s in zip(units, sides, strict=True) if s == side), set()) for side in (0, 1)]
        if parts[0] == parts[1] == labels:
            return True
    return False


many = st.lists(
    st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.sampled_from("123456"))), min_size=4, max_size=60
)


@given(many, st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_groups_stay_whole_and_every_class_is_in_train_and_val(rows: list[tuple[str, str | None]], seed: int) -> None:
    samples = grouped(rows)
    try:
        made = make_split(samples, seed=seed)
    except DataError:
        few = min(Counter(label for unit in units_of(samples) for label in unit.labels).values()) < 2
        assert few or len(units_of(samples)) > 9 or not can_be_divided(samples)
        return
    assert [row.path for row in made] == sorted(item.name for item in samples)
    assert all(len(found) == 1 for found in splits_of_groups(samples, made).values())
    for label in {label for label, _ in rows}:
        assert {"train", "val"} <= {row.split for row in made if row.label == label}
    assert make_split(list(reversed(samples)), seed=seed) == made


def test_persons_with_an_image_of_every_class_are_divided_in_proportion() -> None:
    samples = grouped([(label, f"person{person}") for person in range(40) for label in "abcde"])
    count = Counter((row.label, row.split) for row in make_split(samples))
    for label in "abcde":
        assert (count[label, "train"], count[label, "val"], count[label, "test"]) == (28, 6, 6)
    other = {row.path for row in make_split(samples, seed=1) if row.split == "val"}
    assert other != {row.path for row in make_split(samples) if row.split == "val"}


def test_groups_of_uneven_size_come_near_to_the_shares() -> None:
    sizes = [30, 12, 9, 8, 7, 6, 6, 5, 5, 4, 3, 3, 1, 1]
    samples = grouped([(label, f"{label}{g}") for label in "ab" for g, size in enumerate(sizes) for _ in range(size)])
    count = Counter((row.label, row.split) for row in make_split(samples))
    for label in "ab":
        assert 11 <= count[label, "val"] <= 19
        assert 11 <= count[label, "test"] <= 19


def test_a_class_in_one_group_is_named() -> None:
    with pytest.raises(DataError, match=r"class 'b' has all its images in one group \('ann'\)"):
        make_split(grouped([("a", "ann"), ("a", "bob"), ("b", "ann"), ("b", "ann")]))


def test_groups_that_tie_all_classes_together_are_refused_with_the_reason() -> None:
    with pytest.raises(DataError, match="no division keeps every group whole"):
        make_split(grouped([("a", "1"), ("b", "1"), ("b", "2"), ("c", "2"), ("a", "3"), ("c", "3")]))


def test_a_split_that_the_user_made_is_kept_even_where_a_group_straddles_it() -> None:
    samples = grouped([("a", "ann"), ("b", "ann")], "train") + grouped([("a", "ann"), ("b", "ann")], "val")
    samples = [replace(item, name=f"{item.sample.split}/{item.name}") for item in samples]
    assert all(row.path.startswith(f"{row.split}/") for row in make_split(samples))


def test_val_is_drawn_from_train_by_groups() -> None:
    train = grouped([(label, f"p{person}") for person in range(10) for label in "ab"], "train")
    test = [replace(item, name=f"t/{item.name}") for item in grouped([("a", None), ("b", None)], "test")]
    rows = make_split(train + test)
    assert all(len(found) == 1 for found in splits_of_groups(train, rows).values())
    assert Counter(row.split for row in rows) == {"train": 16, "val": 4, "test": 2}


def test_near_duplicates_of_a_class_share_a_split_and_those_of_two_classes_need_not() -> None:
    samples = images({"a": 40, "b": 40})
    before = {row.path: row.split for row in make_split(samples)}
    a_train = next(path for path, split in before.items() if path.startswith("a") and split == "train")
    a_val = next(path for path, split in before.items() if path.startswith("a") and split == "val")
    b_val = next(path for path, split in before.items() if path.startswith("b") and split == "val")
    after = {row.path: row.split for row in make_split(samples, alike=[(a_train, a_val), (a_train, b_val)])}
    assert after[a_train] == after[a_val]
    assert {p: s for p, s in after.items() if p.startswith("b")} == {
        p: s for p, s in before.items() if p.startswith("b")
    }
    assert make_split(samples, alike=[(a_train, b_val)]) == make_split(samples)


def test_a_class_whose_images_all_look_alike_is_still_divided(caplog: pytest.LogCaptureFixture) -> None:
    samples = images({"a": 10, "b": 10})
    names = sorted(item.name for item in samples if item.sample.label == "a")
    rows = make_split(samples, alike=list(itertools.pairwise(names)))
    assert rows == make_split(samples)
    assert "class 'a': too many of its images are nearly the same" in caplog.text


def test_near_duplicates_give_way_where_they_would_tie_the_groups_together() -> None:
    people = [("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"), ("a", "3"), ("b", "3"), ("a", "4"), ("b", "4")]
    samples = grouped([pair for pair in people for _ in range(3)])
    first = {item.sample.group: item.name for item in samples if item.sample.label == "a"}
    pairs = [(first["1"], first["2"]), (first["3"], first["4"])]
    rows = make_split(samples, alike=pairs)
    assert all(len(found) == 1 for found in splits_of_groups(samples, rows).values())
    assert {row.split for row in rows if row.label == "a"} == {"train", "val", "test"}
