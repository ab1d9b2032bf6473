"""The images that benchmarks judge by: found by name or path, checked and divided once, and written as a CSV.

hymenoptera and signs are looked for in the folder that EDGEXFER_DATA names, else in shared/data beside the checkout;
digits are inside scikit-learn. Everything else is taken as the path of a data set. A CSV has `path,label,split`
with absolute paths, so that edgexfer and its peers get the same images in the same parts.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from edgexfer.core.dataset import read_dataset
from edgexfer.core.errors import DataError
from edgexfer.core.intake import Usable, inspect
from edgexfer.flow.demo import write_digits
from edgexfer.train.images.split import make_split

_REPOSITORY = Path(__file__).resolve().parents[2]


def find_images(name: str, scratch: Path) -> Path:
    """Returns where the data set `name` is.

    Args:
        name: "hymenoptera", "signs", "digits", or the path of a data set.
        scratch: a folder in which the digits are written.

    Raises:
        DataError: it is not here; what to do about it is the hint.
    """
    if name == "digits":
        write_digits(scratch / "digits")
        return scratch / "digits"
    given = os.environ.get("EDGEXFER_DATA")
    root = Path(given) if given else _REPOSITORY.parent / "shared" / "data"
    for place in (root / name, Path(name)):
        if place.exists():
            return place
    raise DataError(f"the images of {name} are not here", f"set EDGEXFER_DATA to the folder that holds {name}/")


def usable_images(place: Path) -> tuple[Usable, ...]:
    """Returns the images that edgexfer would train on: decoded in full, without conflicts between classes."""
    return inspect(read_dataset(place)).samples


def divided(place: Path, out: Path, *, seed: int = 0) -> dict[str, int]:
    """Writes the images with edgexfer's own division, which keeps the one that the data set has.

    Returns:
        The number of images in each split.
    """
    samples = usable_images(place)
    split_of = {row.path: row.split for row in make_split(samples, seed=seed)}
    return write_images(out, ((item, split_of[item.name]) for item in samples))


def write_images(out: Path, images: Iterable[tuple[Usable, str]], *, with_split: bool = True) -> dict[str, int]:
    """Writes images as a CSV, with their splits unless edgexfer shall divide them; returns the images in each split."""
    counts: dict[str, int] = {}
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split") if with_split else ("path", "label"))
        for item, split in images:
            row = (item.sample.path.absolute(), item.sample.label, split)
            writer.writerow(row if with_split else row[:2])
            counts[split] = counts.get(split, 0) + 1
    return counts
