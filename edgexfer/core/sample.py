"""One image of a data set, and the rules for names: of image files, of classes, of splits."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgexfer.core.errors import DataError

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"))
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image as the user listed it; nothing is known of its content yet.

    Attributes:
        path: where it lies, as it can be opened.
        label: its class.
        split: "train", "val" or "test" where the user has divided the images, else None.
        group: what must not be divided (one person, one machine, one film), where the user has named it.
        slices: (name, value) of each kind of image that is to be judged by itself, such as ("light", "night").
    """

    path: Path
    label: str
    split: str | None = None
    group: str | None = None
    slices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that nothing is made from.

    Attributes:
        path: relative to the data set's root, with forward slashes.
        reason: in words, ready to print after the path.
    """

    path: str
    reason: str


def split_name(name: str) -> str | None:
    """Returns "train", "val" or "test" for a folder or cell that means it ("Valid", "validation"), else None."""
    return _SPLIT_NAMES.get(name.lower())


def is_image_name(path: Path) -> bool:
    """Tells by the suffix, in any case, whether `path` claims to be an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_ignored_name(name: str) -> bool:
    """Tells hidden files and what operating systems leave in folders (Thumbs.db, __MACOSX) from the user's own."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def class_label(name: str, where: str) -> str:
    """Makes a class label from the name of a folder or from a cell of a CSV.

    macOS and Linux spell an accented letter in different bytes; labels are in Unicode's composed form
    (NFC), so that the same folder has the same class list on both.

    Args:
        name: as found.
        where: what is named in the error, such as "class folder data/cats".

    Raises:
        DataError: empty, surrounded by white space, not UTF-8, or with control characters in it.
    """
    if not name.strip():
        raise DataError(f"{where} has no class name", "give every image a class")
    if name != name.strip():
        raise DataError(f"{where} has white space around its name: {name!r}", f"rename it to {name.strip()!r}")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise DataError(f"{where} has a name that cannot be printed: {name!r}", "rename it")
    return unicodedata.normalize("NFC", name)


def refuse_lookalikes(labels: Iterable[str]) -> None:
    """Refuses classes whose names differ only by upper and lower case or by look-alike Unicode letters.

    Such folders are one class that was split by mistake, and on some file systems they are one folder.

    Raises:
        DataError: naming both.
    """
    seen: dict[str, str] = {}
    for label in sorted(set(labels)):
        key = unicodedata.normalize("NFKC", label).casefold()
        if key in seen:
            raise DataError(
                f"classes {seen[key]!r} and {label!r} differ only by case or Unicode form",
                "put their images into one class, or give them names that differ",
            )
        seen[key] = label
