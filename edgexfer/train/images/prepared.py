"""From a folder of images to what training reads: checked, divided and decoded once.

DATA in, Prepared out: the split of every image, the pixels of each as uint8 in a cache, labels as ids.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexfer.core.dataset import Dataset, check_trainable, read_dataset, with_validation
from edgexfer.core.decode import read_image_file, upright_size
from edgexfer.core.errors import DataError, ImageError
from edgexfer.core.findings import Looks, alike
from edgexfer.core.groups import straddling
from edgexfer.core.input_side import fitting_side
from edgexfer.core.intake import Intake, inspect
from edgexfer.core.preprocess import Preprocess
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.images.split import SplitRow, make_split

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
_SAMPLED = 64
_LISTED = 10
_GROUPS_LISTED = 3
_MOST_COMPARED = 100_000


@dataclass(frozen=True)
class Prepared:
    """Images ready for training. Close `cache` when done.

    Attributes:
        labels: class names in the order of their ids.
        rows: path, label, split and SHA-256 of every image, in the order of `cache`'s rows.
        class_ids: int64 [images], the class of each row.
        cache: uint8 [images, H, W, 3].
        intake: what came in and what was left out.
    """

    labels: tuple[str, ...]
    rows: tuple[SplitRow, ...]
    class_ids: NDArray[np.int64]
    cache: PixelCache
    intake: Intake

    def indices(self, split: str) -> NDArray[np.int64]:
        """Returns the rows of `split`, ascending."""
        return np.array([i for i, row in enumerate(self.rows) if row.split == split], dtype=np.int64)


def read_trainable(
    data: str | Path, val: str | Path | None = None, *, least_classes: int = 2, group: str | None = None
) -> Dataset:
    """Reads DATA, and VAL as its validation split where given, and checks that a network can be trained on it.

    Args:
        data: class folders, train/val/test above them, or a CSV.
        val: class folders.
        least_classes: 1 where a network that knows other classes goes on learning.
        group: what is never divided, see `read_dataset`.

    Raises:
        DataError: see `read_dataset` and `check_trainable`.
    """
    dataset = read_dataset(data, group=group)
    if val is not None:
        dataset = with_validation(dataset, read_dataset(val, group=group))
    check_trainable(dataset, least_classes=least_classes)
    return dataset


def joined_labels(known: Sequence[str], found: Sequence[str]) -> tuple[str, ...]:
    """Returns `known` and after it what is new in `found`, so that no id of a known class ever shifts."""
    return (*known, *(label for label in found if label not in set(known)))


def fitting_input_size(dataset: Dataset, native: int) -> int:
    """Returns the input side that suits the photographs: their short side, but no more than the backbone's own.

    The median of up to 64 images decides, see `core.input_side`.
    """
    step = max(1, len(dataset.samples) // _SAMPLED)
    sides = [side for sample in dataset.samples[::step] if (side := _short_side(sample.path)) is not None]
    return fitting_side(sides, native)


def prepare(
    dataset: Dataset,
    preprocess: Preprocess,
    *,
    seed: int,
    strict: bool = False,
    progress: Progress | None = None,
    known: Sequence[str] = (),
    near_duplicates: str = "together",
    before: Mapping[str, str] = MappingProxyType({}),
) -> Prepared:
    """Checks, divides and decodes the images of `dataset`, each once.

    Args:
        dataset: as read.
        preprocess: how an image becomes pixels.
        seed: of the split.
        strict: accept no file that has to be left out.
        progress: called with (done, all) while images are read.
        known: labels that a network has already. They keep their ids; new ones come after them.
        near_duplicates: "together" keeps images of a class that show nearly the same in one split where the split is
            drawn here; "apart" lets chance decide.
        before: the split of images that the network was trained and judged with before, by SHA-256; they keep it
            where the split is drawn here.

    Raises:
        DataError: nothing trainable is left, or `strict` and a file had to be left out.
    """
    looks = _looks(dataset) if near_duplicates == "together" else None
    cache = PixelCache(len(dataset.samples), preprocess)

    def keep(index: int, image: Image.Image) -> None:
        cache.keep(index, image)
        if looks is not None:
            looks.keep(index, image)

    try:
        intake = inspect(dataset, at_least=preprocess.at_least, on_image=keep, progress=progress)
        for item in intake.rejected[:_LISTED]:
            log.warning("left out: %s %s", item.path, item.reason)
        if len(intake.rejected) > _LISTED:
            log.warning("left out: %d more files, see `edgexfer data check`", len(intake.rejected) - _LISTED)
        intake.require_clean(strict, least_classes=1 if known else 2)
        _warn_of_groups(intake)
        rows = make_split(intake.samples, seed=seed, alike=_alike(intake, looks), before=before)
        return _divided(intake, cache, rows, known)
    except BaseException:
        cache.close()
        raise


def prepare_again(
    dataset: Dataset, preprocess: Preprocess, rows: Sequence[SplitRow], labels: Sequence[str], progress: Progress | None
) -> Prepared:
    """Decodes the images of an earlier `split.csv` again; the division is the recorded one.

    Raises:
        DataError: an image of the record is gone, was changed, or its class has another name.
    """
    cache = PixelCache(len(dataset.samples), preprocess)
    try:
        intake = inspect(dataset, at_least=preprocess.at_least, on_image=cache.keep, progress=progress)
        by_name = {item.name: item for item in intake.samples}
        changed = [row.path for row in rows if row.path not in by_name or by_name[row.path].sha256 != row.sha256]
        if changed:
            raise DataError(
                f"{len(changed)} of {len(rows)} images are gone or were changed since the split was made, "
                f"such as {changed[0]}",
                "restore them, or fine-tune anew",
            )
        order = np.array([by_name[row.path].index for row in rows], dtype=np.int64)
        return Prepared(tuple(labels), tuple(rows), _ids(rows, labels), _reordered(cache, order), intake)
    except BaseException:
        cache.close()
        raise


def _looks(dataset: Dataset) -> Looks | None:
    # What the user has divided stays as it is. Of more images a thumbnail each would take too much memory.
    if "val" in dataset.splits() or len(dataset.samples) > _MOST_COMPARED:
        return None
    return Looks(len(dataset.samples), with_sharpness=False)


def _alike(intake: Intake, looks: Looks | None) -> list[tuple[str, str]]:
    if looks is None:
        return []
    pairs = [pair for pair in alike(intake.samples, looks, within_class=True) if pair.kind == "same-class"]
    if pairs:
        count = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
        log.info("%s of images nearly the same; such images stay in one split", count)
    return [(pair.first.name, pair.second.name) for pair in pairs]


def _warn_of_groups(intake: Intake) -> None:
    found = straddling(item.sample for item in intake.samples)
    for group, splits in list(found.items())[:_GROUPS_LISTED]:
        log.warning("group '%s' has images in %s: figures of val and test flatter", group, " and ".join(splits))
    if len(found) > _GROUPS_LISTED:
        log.warning("%d more groups lie in several splits, see `edgexfer data check`", len(found) - _GROUPS_LISTED)


def _divided(intake: Intake, cache: PixelCache, rows: tuple[SplitRow, ...], known: Sequence[str]) -> Prepared:
    index = {item.name: item.index for item in intake.samples}
    order = np.array([index[row.path] for row in rows], dtype=np.int64)
    labels = joined_labels(known, intake.dataset.labels)
    return Prepared(labels, rows, _ids(rows, labels), _reordered(cache, order), intake)


def _reordered(cache: PixelCache, order: NDArray[np.int64]) -> PixelCache:
    cache.select(order)
    return cache


def _ids(rows: Sequence[SplitRow], labels: Sequence[str]) -> NDArray[np.int64]:
    position = {label: i for i, label in enumerate(labels)}
    return np.array([position[row.label] for row in rows], dtype=np.int64)


def _short_side(path: Path) -> int | None:
    try:
        return min(upright_size(read_image_file(path, str(path))))
    except ImageError:
        return None  # named with its reason when it is decoded
