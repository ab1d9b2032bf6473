"""Images whose classes are not known: what `--unlabeled DIR` names, decoded as the network sees them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from edgexfer.core.dataset import Dataset
from edgexfer.core.errors import DataError
from edgexfer.core.intake import inspect
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.sample import IMAGE_SUFFIXES, Sample
from edgexfer.core.threads import Progress
from edgexfer.train.images.pixel_cache import PixelCache

log = logging.getLogger(__name__)


def find_images(folder: Path) -> tuple[Path, ...]:
    """Returns every file below `folder` that is an image by its suffix, sorted; hidden ones are left out.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder", "--unlabeled takes a folder of images, in subfolders or not")
    found = (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    images = tuple(sorted(found))
    if not images:
        raise DataError(f"{folder} has no images", "--unlabeled takes a folder of images, in subfolders or not")
    return images


def decode_unlabeled(folder: Path, preprocess: Preprocess, progress: Progress | None = None) -> PixelCache:
    """Decodes every image below `folder`, uint8 [images, H, W, 3] in the order of their paths; close it when done.

    What cannot be decoded is left out with a warning, and of several copies one is kept.

    Raises:
        DataError: no image is left.
    """
    samples = tuple(Sample(path, "") for path in find_images(folder))
    cache = PixelCache(len(samples), preprocess)
    try:
        intake = inspect(
            Dataset(folder, samples, ("",)),
            at_least=preprocess.at_least,
            on_image=cache.keep,
            progress=progress,
        )
        if intake.rejected:
            log.warning("left out of %s: %d files, such as %s", folder, len(intake.rejected), intake.rejected[0].path)
        first = {item.sha256: item.index for item in reversed(intake.samples)}
        if not first:
            raise DataError(f"{folder} has no image that can be decoded", f"{intake.rejected[0].reason}")
        cache.select(np.array(sorted(first.values()), dtype=np.int64))
    except BaseException:
        cache.close()
        raise
    return cache
