"""DATA in its three forms, and each way in which it can be wrong."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from edgexfer.core.dataset import check_trainable, read_dataset, with_validation
from edgexfer.core.errors import DataError
from tests.images import good_tree, jpeg, put


def listing(root: Path, text: str, images: tuple[str, ...] = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")) -> Path:
    for number, name in enumerate(images):
        put(root / name, jpeg(number))
    return put(root / "list.csv", text.encode())


def names(root: Path) -> list[str]:
    dataset = read_dataset(root)
    return [dataset.name_of(sample.path) for sample in dataset.samples]


def test_class_folders_with_folders_inside_are_read_in_order(tmp_path: Path) -> None:
    good_tree(tmp_path, ("zebra", "Ant", "10", "9"), images=1)
    put(tmp_path / "Ant" / "2021" / "may" / "x.PNG", b"not opened here")
    dataset = read_dataset(str(tmp_path))
    assert dataset.labels == ("10", "9", "Ant", "zebra")
    assert dataset.splits() == ()
    assert names(tmp_path) == ["10/0.jpg", "9/0.jpg", "Ant/0.jpg", "Ant/2021/may/x.PNG", "zebra/0.jpg"]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders_give_the_split(tmp_path: Path, val: str) -> None:
    for part in ("train", val, "test"):
        good_tree(tmp_path / part)
    dataset = read_dataset(tmp_path)
    assert dataset.splits() == ("train", "val", "test")
    assert {(s.path.parts[-3], s.split) for s in dataset.samples} == {
        ("train", "train"),
        (val, "val"),
        ("test", "test"),
    }
    check_trainable(dataset)


def test_csv_paths_are_relative_to_the_csv_and_may_be_absolute(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "other" / "e.jpg", jpeg(9))
    text = f'\ufeffpath,label,split,group\na.jpg,cat,train,1\n"b,2.jpg",dog,valid,2\n\n{elsewhere},dog,train,3\n'
    dataset = read_dataset(listing(tmp_path / "in", text, ("a.jpg", "b,2.jpg")))
    assert [(dataset.name_of(s.path), s.label, s.split) for s in dataset.samples] == [
        ("a.jpg", "cat", "train"),
        ("b,2.jpg", "dog", "val"),
        ("../other/e.jpg", "dog", "train"),
    ]


def test_files_of_the_system_are_ignored_and_others_are_reported(tmp_path: Path) -> None:
    good_tree(tmp_path)
    for name in (".DS_Store", "._0.jpg", "Thumbs.db", "desktop.ini", "__MACOSX/0.jpg", ".git/0.jpg"):
        put(tmp_path / "cats" / name, b"x")
    put(tmp_path / "__MACOSX" / "cats" / "0.jpg", b"x")
    put(tmp_path / "README.txt", b"about")
    put(tmp_path / "cats" / "notes.txt", b"x")
    put(tmp_path / "loose.jpg", b"x")
    (tmp_path / "dogs" / "gone.jpg").symlink_to("nowhere")
    dataset = read_dataset(tmp_path)
    assert len(dataset.samples) == 6
    assert {stray.path: stray.reason.split()[0] for stray in dataset.strays} == {
        "cats/notes.txt": "is",
        "loose.jpg": "lies",
        "dogs/gone.jpg": "is",
    }


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    good_tree(tmp_path / "data")
    good_tree(tmp_path / "more", ("inner",), images=2)
    (tmp_path / "data" / "cats" / "linked").symlink_to(tmp_path / "more" / "inner")
    (tmp_path / "more" / "inner" / "back").symlink_to(tmp_path / "data" / "cats")
    (tmp_path / "data" / "dogs" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "birds").mkdir()
    put(tmp_path / "birds" / "b.jpg", jpeg(5))
    (tmp_path / "data" / "birds").symlink_to(tmp_path / "birds")
    dataset = read_dataset(tmp_path / "data")
    assert [sum(s.label == label for s in dataset.samples) for label in ("birds", "cats", "dogs")] == [1, 5, 3]


def test_a_label_is_in_composed_form_whatever_the_file_system_does(tmp_path: Path) -> None:
    good_tree(tmp_path, (unicodedata.normalize("NFD", "Käfer"), "Wanze"))
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("Käfer", "Wanze")
    assert all(sample.path.is_file() for sample in dataset.samples)


@pytest.mark.parametrize(
    ("first", "second"),
    [("Cat", "cat"), ("cafe\u0301", "caf\u00e9"), ("ﬁsh", "fish"), ("STRASSE", "straße")],
)
def test_classes_that_look_alike_are_refused(tmp_path: Path, first: str, second: str) -> None:
    good_tree(tmp_path, (first, second))
    with pytest.raises(DataError, match=r"differ only|same name"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", [" cat", "cat ", "a\nb", os.fsdecode(b"caf\xe9")])
def test_class_names_that_would_bite_later_are_refused(tmp_path: Path, name: str) -> None:
    good_tree(tmp_path, (name, "dog"))
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    assert repr(name) in caught.value.message
    assert "rename" in caught.value.hint


def test_what_is_no_data_says_what_data_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_dataset(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"a\.jpg is a file") as caught:
        read_dataset(put(tmp_path / "a.jpg", jpeg(1)))
    assert "class folders" in caught.value.hint
    with pytest.raises(DataError) as caught:
        read_dataset(put(tmp_path / "a.zip", b"PK"))
    assert "unpack" in caught.value.hint
    with pytest.raises(DataError, match="only images without class folders"):
        read_dataset(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        read_dataset(tmp_path / "empty")
    put(tmp_path / "only" / "cats" / "notes.txt", b"x")
    with pytest.raises(DataError, match=r"cats has no images \(but 1 other files, such as notes\.txt\)"):
        read_dataset(tmp_path / "only")


def test_a_folder_beside_the_splits_is_named(tmp_path: Path) -> None:
    good_tree(tmp_path / "train")
    good_tree(tmp_path / "val")
    good_tree(tmp_path, ("extra",))
    with pytest.raises(DataError, match="train/, val/ and beside it extra/"):
        read_dataset(tmp_path)


def test_two_spellings_of_one_split_are_refused(tmp_path: Path) -> None:
    for part in ("train", "val", "valid"):
        good_tree(tmp_path / part)
    with pytest.raises(DataError, match="both val/ and valid/"):
        read_dataset(tmp_path)


def test_a_split_without_class_folders_is_named(tmp_path: Path) -> None:
    good_tree(tmp_path / "train")
    put(tmp_path / "test" / "1.jpg", jpeg(1))
    with pytest.raises(DataError, match="test has no class folders"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a.jpg,cat\nb.jpg,dog\n", "has no header"),
        ("path,lable\na.jpg,cat\n", "unknown column 'lable'.*did you mean 'label'"),
        ("path,label,colour\na.jpg,cat,red\n", "unknown column 'colour'"),
        ("path, label\na.jpg,cat\n", "unknown column ' label'"),
        ("path;label\na.jpg;cat\n", "not separated by commas"),
        ("path,split\na.jpg,train\n", "no column 'label'"),
        ("path,label,label\na.jpg,cat,cat\n", "'label' twice"),
        ("path,label\n", "lists no images"),
        ("path,label\na.jpg\n", "line 2 has 1 cells"),
        ("path,label\na.jpg,\n", "line 2 has no class"),
        ("path,label\n,cat\n", "line 2 has no path"),
        ("path,label\na.jpg, cat\n", "white space"),
        ("path,label\na.jpg,cat\nx.jpg,dog\ny.jpg,dog\n", r"x\.jpg, which is not a file \(and 1 more\)"),
        ("path,label\na.jpg,cat\n./a.jpg,dog\n", r"line 3 lists \./a\.jpg as 'dog' and in line 2 as 'cat'"),
        ("path,label\na.jpg,cat\na.jpg,cat\n", r"line 3 lists a\.jpg and in line 2"),
        ("path,label,split\na.jpg,cat,trian\n", "line 2 has split 'trian'.*did you mean 'train'"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,\n", "1 of 2 lines without a split"),
        ('path,label\n"a.jpg,cat\n', "not valid CSV"),
    ],
)
def test_a_wrong_csv_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dataset(listing(tmp_path, text))


def test_a_csv_in_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        read_dataset(put(tmp_path / "list.csv", "path,label\na.jpg,Käfer\n".encode("latin-1")))


def test_training_needs_two_classes_but_reading_does_not(tmp_path: Path) -> None:
    good_tree(tmp_path / "signs", ("a", "b"))
    for folder, hint in ((tmp_path, "give that folder"), (tmp_path / "signs", "")):
        dataset = read_dataset(folder)
        if hint:
            with pytest.raises(DataError, match="only one class, 'signs'") as caught:
                check_trainable(dataset)
            assert hint in caught.value.hint
        else:
            check_trainable(dataset)


def test_training_needs_two_images_of_each_class(tmp_path: Path) -> None:
    good_tree(tmp_path)
    put(tmp_path / "birds" / "0.jpg", jpeg(1))
    with pytest.raises(DataError, match="class 'birds' has too few images: 1, expected 2"):
        check_trainable(read_dataset(tmp_path))


def test_training_needs_every_class_in_every_split(tmp_path: Path) -> None:
    good_tree(tmp_path / "train", ("ants", "bees", "cats"))
    good_tree(tmp_path / "val", ("ants", "bees"))
    with pytest.raises(DataError, match="class 'cats' has too few images in val: 0"):
        check_trainable(read_dataset(tmp_path))


def test_one_split_alone_is_read_but_not_trained_on(tmp_path: Path) -> None:
    good_tree(tmp_path / "train")
    dataset = read_dataset(tmp_path)
    with pytest.raises(DataError, match="only the split train") as caught:
        check_trainable(dataset)
    assert str(tmp_path / "train") in caught.value.hint


def test_the_hint_names_the_folder_as_it_is_called(tmp_path: Path) -> None:
    good_tree(tmp_path / "Valid")
    with pytest.raises(DataError, match="only the split val") as caught:
        check_trainable(read_dataset(tmp_path))
    assert caught.value.hint == f"give {tmp_path / 'Valid'} and edgexfer divides its images"


def test_of_a_csv_the_column_is_to_go(tmp_path: Path) -> None:
    good_tree(tmp_path)
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name},train" for path in sorted(tmp_path.rglob("*.jpg"))]
    put(tmp_path / "list.csv", "\n".join(["path,label,split", *rows]).encode())
    with pytest.raises(DataError, match="only the split train") as caught:
        check_trainable(read_dataset(tmp_path / "list.csv"))
    assert caught.value.hint == "leave the column `split` away and edgexfer divides the images"


def test_train_and_test_need_an_image_more_to_validate_with(tmp_path: Path) -> None:
    good_tree(tmp_path / "train", images=1)
    good_tree(tmp_path / "test", images=1)
    with pytest.raises(DataError, match="in train: 1, expected 2"):
        check_trainable(read_dataset(tmp_path))


def test_a_second_folder_becomes_the_validation_split(tmp_path: Path) -> None:
    good_tree(tmp_path / "a")
    good_tree(tmp_path / "b", images=1)
    put(tmp_path / "b" / "cats" / "x.txt", b"x")
    joined = with_validation(read_dataset(tmp_path / "a"), read_dataset(tmp_path / "b"))
    check_trainable(joined)
    assert [joined.name_of(s.path) for s in joined.samples if s.split == "val"] == ["b/cats/0.jpg", "b/dogs/0.jpg"]
    assert sum(s.split == "train" for s in joined.samples) == 6
    assert [stray.path for stray in joined.strays] == ["b/cats/x.txt"]
    good_tree(tmp_path / "c" / "train")
    with pytest.raises(DataError, match="divided into train already"):
        with_validation(read_dataset(tmp_path / "c"), read_dataset(tmp_path / "b"))
