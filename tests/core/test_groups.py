"""Groups and slices: read from a CSV's columns or found in paths; what does not fit is an error that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgexfer.core.dataset import read_dataset, with_validation
from edgexfer.core.errors import DataError, SettingsError
from edgexfer.core.groups import groups_of, straddling
from edgexfer.core.sample import Sample
from tests.images import good_tree, jpeg, put


def listing(folder: Path, text: str, images: tuple[str, ...] = ("a.jpg", "b.jpg")) -> Path:
    for number, name in enumerate(images):
        put(folder / name, jpeg(number))
    return put(folder / "list.csv", text.encode())


def test_a_csv_names_groups_and_slices(tmp_path: Path) -> None:
    text = "path,label,group,slice,slice_light\na.jpg,cat,ann,indoor,\nb.jpg,dog,,outdoor,night\n"
    dataset = read_dataset(listing(tmp_path, text))
    assert [sample.group for sample in dataset.samples] == ["ann", None]
    assert [dict(sample.slices) for sample in dataset.samples] == [
        {"slice": "indoor"},
        {"slice": "outdoor", "light": "night"},
    ]


def test_another_column_may_name_the_groups(tmp_path: Path) -> None:
    file = listing(tmp_path, "path,label,patient\na.jpg,cat,7\nb.jpg,dog,8\n")
    assert [sample.group for sample in read_dataset(file, group="patient").samples] == ["7", "8"]
    assert [sample.group for sample in read_dataset(file, any_column=True).samples] == [None, None]
    with pytest.raises(DataError, match="unknown column 'patient'") as caught:
        read_dataset(file)
    assert "--group patient" in caught.value.hint
    with pytest.raises(SettingsError, match="'patients' has no capturing group") as wrong:
        read_dataset(file, group="patients")
    assert "no column of this name" in wrong.value.hint


def test_a_pattern_finds_groups_in_paths_and_joined_data_keeps_them(tmp_path: Path) -> None:
    for part in ("a", "b"):
        for person in ("ann", "bob"):
            good_tree(tmp_path / part, images=1)
            for label in ("cats", "dogs"):
                put(tmp_path / part / label / f"{person}_3.jpg", jpeg(len(person)))
        for label in ("cats", "dogs"):
            (tmp_path / part / label / "0.jpg").unlink()
    pattern = r"([^/]*)_\d+\.jpg"
    parts = [read_dataset(tmp_path / part, group=pattern) for part in ("a", "b")]
    assert [sample.group for sample in parts[0].samples] == ["ann", "bob", "ann", "bob"]
    joined = with_validation(*parts)
    assert straddling(joined.samples) == {"ann": ("train", "val"), "bob": ("train", "val")}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "is not a regular expression"), ("abc", "no capturing group"), ("(a)(b)", "has 2 capturing groups")],
)
def test_a_wrong_pattern_says_what_is_wrong(pattern: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        groups_of(["a/b.jpg"], pattern, "DATA")


def test_a_pattern_must_fit_every_path_or_say_that_it_need_not() -> None:
    names = ["cats/ann_1.jpg", "cats/9.jpg"]
    with pytest.raises(DataError, match=r"does not fit 1 of 2 images in DATA, such as cats/9\.jpg") as caught:
        groups_of(names, r"([^/]*)_\d+\.jpg", "DATA")
    assert r"'([^/]*)_\d+\.jpg|$'" in caught.value.hint
    assert groups_of(names, r"([^/]*)_\d+\.jpg|$", "DATA") == ["ann", None]


def test_a_group_in_one_split_does_not_straddle() -> None:
    samples = [
        Sample(Path("a"), "x", "train", "g"),
        Sample(Path("b"), "x", "train", "g"),
        Sample(Path("c"), "x", "val"),
    ]
    assert straddling(samples) == {}
