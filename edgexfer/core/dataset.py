"""DATA: what the user gives as images, read into samples with classes and, where given, splits.

DATA is a folder of class folders, a folder with train/, val/, test/ above them (edgexfer/core/image_folder.py), or
a CSV (edgexfer/core/image_list.py). Classes are in the order of plain string comparison. No image is opened here.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from edgexfer.core.errors import DataError
from edgexfer.core.groups import group_pattern, groups_of
from edgexfer.core.image_folder import read_image_folder
from edgexfer.core.image_list import columns_of, read_image_list
from edgexfer.core.sample import SPLITS, Rejected, Sample, refuse_lookalikes, split_name

__all__ = ["SPLITS", "Dataset", "Rejected", "Sample", "check_trainable", "read_dataset"]


@dataclass(frozen=True)
class Dataset:
    """Images by class; at least one, and at least one class.

    Attributes:
        root: the folder that paths in reports and in `split.csv` are relative to.
        samples: sorted by path.
        labels: every class that occurs, sorted as plain strings ("10" stands before "9", "Z" before "a").
        strays: files that lie among the images and are none.
    """

    root: Path
    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    strays: tuple[Rejected, ...] = ()

    def name_of(self, path: Path) -> str:
        """Returns `path` relative to the root with forward slashes, as reports and `split.csv` have it."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:  # a CSV may list files elsewhere
            return Path(os.path.relpath(path, self.root)).as_posix()

    def splits(self) -> tuple[str, ...]:
        """Returns the splits that the user has made, in the order train, val, test; empty where there are none."""
        return tuple(split for split in SPLITS if any(sample.split == split for sample in self.samples))


def read_dataset(data: str | Path, *, group: str | None = None, any_column: bool = False) -> Dataset:
    """Reads DATA without opening an image. What training needs on top is asked by `check_trainable`.

    Args:
        data: a folder or a `.csv` file.
        group: what names the groups that are never divided: a column of the CSV, or a regular expression over the
            paths, see `core.groups`. None for the CSV's column `group` where it has one.
        any_column: skip columns of the CSV that are not known instead of refusing them.

    Raises:
        DataError: missing, no images, an empty class folder, names that collide, a CSV that is not right, or `group`
            does not fit the images.
        SettingsError: `group` is no regular expression with one capturing group.
    """
    path = Path(data)
    if not path.exists():
        raise DataError(f"{path} does not exist", "DATA is a folder of class folders, or a CSV with path,label")
    strays: list[Rejected] = []
    if path.is_dir():
        root = path
        samples, strays = read_image_folder(path)
    elif path.suffix.lower() == ".csv":
        root = path.parent
        column = group if group is not None and group in columns_of(path) else "group"
        if group is not None and group != column:
            group_pattern(group, str(path))  # before the column that was meant is called unknown
        samples = read_image_list(path, group=column, any_column=any_column)
        group = None if column == group else group
    else:
        packed = path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
        hint = "unpack it and give the folder" if packed else "give the folder that holds the class folders"
        raise DataError(f"{path} is a file, expected a folder or a .csv", hint)
    if not samples:
        raise DataError(f"{path} lists no images", "add a line per image: path,label")
    labels = tuple(sorted({sample.label for sample in samples}))
    refuse_lookalikes(labels)
    dataset = Dataset(root, tuple(sorted(samples, key=lambda sample: sample.path)), labels, tuple(strays))
    return dataset if group is None else grouped_by_path(dataset, group, str(path))


def grouped_by_path(dataset: Dataset, pattern: str, where: str) -> Dataset:
    """Returns the data set with the group that `pattern` finds in each path; see `core.groups`.

    Args:
        dataset: whose paths relative to its root are searched.
        pattern: a regular expression with one capturing group.
        where: what is named in errors.

    Raises:
        DataError: it fits some paths only, or none.
        SettingsError: it is no such expression.
    """
    groups = groups_of([dataset.name_of(sample.path) for sample in dataset.samples], pattern, where)
    samples = (replace(sample, group=group) for sample, group in zip(dataset.samples, groups, strict=True))
    return replace(dataset, samples=tuple(samples))


def with_validation(dataset: Dataset, validation: Dataset) -> Dataset:
    """Joins two data sets: all of `dataset` becomes the split train, all of `validation` the split val.

    Raises:
        DataError: one of them is divided already.
    """
    for part in (dataset, validation):
        if part.splits():
            raise DataError(
                f"{part.root} is divided into {', '.join(part.splits())} already",
                "leave --val away, or give a folder of class folders as DATA and another one as --val",
            )
    root = Path(os.path.commonpath([dataset.root.absolute(), validation.root.absolute()]))
    train = [replace(sample, path=sample.path.absolute(), split="train") for sample in dataset.samples]
    val = [replace(sample, path=sample.path.absolute(), split="val") for sample in validation.samples]
    samples = tuple(sorted((*train, *val), key=lambda sample: sample.path))
    labels = tuple(sorted({*dataset.labels, *validation.labels}))
    refuse_lookalikes(labels)
    strays = [
        Rejected(Path(os.path.relpath((part.root / stray.path).absolute(), root)).as_posix(), stray.reason)
        for part in (dataset, validation)
        for stray in part.strays
    ]
    return Dataset(root, samples, labels, tuple(strays))


def check_trainable(dataset: Dataset, *, what: str = "images", least_classes: int = 2) -> None:
    """Checks what training needs: two classes, two images in each, and every class in every split.

    Args:
        dataset: as read, or what is left of it.
        what: how the images are called in the error, such as "usable images".
        least_classes: 1 where a network that knows other classes goes on learning.

    Raises:
        DataError: naming the class, and what to do.
    """
    if len(dataset.labels) < least_classes:
        only = dataset.labels[0]
        inner = dataset.root / only
        wrapped = inner.is_dir() and any(path.is_dir() for path in inner.iterdir())
        raise DataError(
            f"{dataset.root} has only one class, '{only}', expected 2 or more",
            f"where the classes lie in {inner}, give that folder" if wrapped else "add images of something else",
        )
    count = Counter((sample.label, sample.split) for sample in dataset.samples)
    splits = dataset.splits()
    if not splits:
        for label in dataset.labels:
            if count[label, None] < 2:
                raise DataError(
                    f"class '{label}' has too few {what}: {count[label, None]}, expected 2 or more",
                    "add images of it, remove the class, or give images to validate with: --val DATA",
                )
        return
    if sum(count[label, None] for label in dataset.labels):
        raise DataError(f"{dataset.root} has images without a split beside others with one", "give every image a split")
    if "train" not in splits or splits == ("train",):
        raise DataError(
            f"{dataset.root} has only the split {' and '.join(splits)}, expected train and one of val and test or both",
            _leaving_the_split_to_us(dataset, splits[0]),
        )
    for split in splits:
        for label in dataset.labels:
            least = 2 if split == "train" and "val" not in splits else 1
            if count[label, split] < least:
                raise DataError(
                    f"class '{label}' has too few {what} in {split}: {count[label, split]}, expected {least} or more",
                    f"add images of it to {split}, or remove the class from every split",
                )


def _leaving_the_split_to_us(dataset: Dataset, split: str) -> str:
    # The user's own folder of it may be called "valid"; a CSV has none, but a column.
    first = next(sample for sample in dataset.samples if sample.split == split)
    name, *below = Path(dataset.name_of(first.path)).parts
    if split_name(name) == split and len(below) > 1 and unicodedata.normalize("NFC", below[0]) == first.label:
        return f"give {dataset.root / name} and edgexfer divides its images"
    return "leave the column `split` away and edgexfer divides the images"
