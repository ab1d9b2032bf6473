"""The images that a checkpoint's quantizers learn on: those of its split.csv, and what else its network works for.

- A checkpoint that began from another one knows classes that its own images may not show: its exemplars join them.
- An adapted checkpoint works on images of another domain: unlabeled ones of that domain join, as many as there are
  training images at most. Their classes are the network's own answers; they only balance the calibration, since
  quantizers learn from the float network and from no label. What judged the adaptation (--target-val) is left out,
  copies of it too; where that cannot be told any more, none of the domain join.

Both are rows of train (exemplars also of val); their paths name no file of the data set.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.dataset import read_dataset
from edgexfer.core.errors import EdgexferError, ImageError
from edgexfer.core.files import sha256_of_file
from edgexfer.core.preprocess import Preprocess, pixels
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.continual.earlier_task import stored_exemplars
from edgexfer.train.continual.exemplars import with_exemplars
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.finetune import dataset_of
from edgexfer.train.images.joined_pixels import joined_pixels
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.images.prepared import Prepared, Progress, prepare_again
from edgexfer.train.images.split import SplitRow
from edgexfer.train.images.unlabeled import find_images
from edgexfer.train.loop.judge import probabilities

log = logging.getLogger(__name__)


@contextmanager
def images_again(
    checkpoint: Checkpoint, network: DeployNetwork, data: str | Path | None, progress: Progress | None
) -> Iterator[tuple[Prepared, Prepared]]:
    """Opens the images that a float checkpoint was trained and judged on, and those that it learns on from here.

    Args:
        checkpoint: a float one.
        network: its network.
        data: the images, where they are no longer where the checkpoint was trained.
        progress: called with (done, all) while images are read.

    Yields:
        The images of its split.csv, and what `learning_images` gives.

    Raises:
        EdgexferError: they are gone, or were changed.
    """
    dataset = dataset_of(checkpoint, data)
    prepared = prepare_again(dataset, checkpoint.preprocess, checkpoint.rows, checkpoint.labels, progress)
    with prepared.cache, learning_images(checkpoint, network, prepared) as learning:
        yield prepared, learning


@contextmanager
def learning_images(checkpoint: Checkpoint, network: DeployNetwork, prepared: Prepared) -> Iterator[Prepared]:
    """Gives the images that the quantizers of `checkpoint` learn on; its own ones come first.

    Args:
        checkpoint: a float one.
        network: its network.
        prepared: the images of its split.csv. Its cache stays the caller's to close.
    """
    with ExitStack() as opened:
        images = prepared
        exemplars = stored_exemplars(checkpoint)
        if checkpoint.earlier_rows() and exemplars is not None:
            images = with_exemplars(images, exemplars)
            opened.enter_context(images.cache)
        if _adapted(checkpoint):
            images = _with_target(checkpoint, network, images)
            opened.enter_context(images.cache)
        yield images


def _adapted(checkpoint: Checkpoint) -> bool:
    notes = (checkpoint.manifest.get("strategy_notes") or {}).get("adapt") or {"adapted_by": "nothing"}
    return bool(notes["adapted_by"] != "nothing")


def _with_target(checkpoint: Checkpoint, network: DeployNetwork, images: Prepared) -> Prepared:
    own = images.cache, np.arange(len(images.rows))
    folder = Path(checkpoint.manifest["unlabeled"])
    most = len(images.indices("train"))
    try:
        found, judging = find_images(folder), _judging(checkpoint)
    except EdgexferError as error:
        log.warning("the quantizers learn without images of the domain adapted to: %s", error.message)
        return replace(images, cache=joined_pixels([own]))
    order = np.random.default_rng(0).permutation(len(found))
    with PixelCache(min(most, len(found)), checkpoint.preprocess) as cache:
        known = {row.sha256 for row in images.rows}
        digests = _fill_new(cache, (found[place] for place in order), known, judging)
        if not digests:
            log.warning(
                "the quantizers learn without images of the domain adapted to: "
                "every one in %s is among DATA or --target-val, or cannot be decoded",
                folder,
            )
            return replace(images, cache=joined_pixels([own]))
        rows = np.arange(len(digests))
        labels = probabilities(network, cache, rows).numpy().argmax(1)
        joined = joined_pixels([own, (cache, rows)])
    named = tuple(
        SplitRow(f"unlabeled/{digest[:16]}", images.labels[label], "train", digest)
        for digest, label in zip(digests, labels, strict=True)
    )
    log.info("%d images of the domain adapted to join the training images", len(named))
    ids = np.concatenate([images.class_ids, labels.astype(np.int64)])
    return replace(images, rows=(*images.rows, *named), class_ids=ids, cache=joined)


def _judging(checkpoint: Checkpoint) -> set[bytes]:
    """Returns digests of the labelled images that judged the adaptation, as the network sees them."""
    place = checkpoint.manifest["settings"].get("target_val")
    if place is None:
        return set()
    found = (_pixels(sample.path, checkpoint.preprocess) for sample in read_dataset(place).samples)
    return {_digest(seen) for seen in found if seen is not None}


def _fill_new(cache: PixelCache, paths: Iterable[Path], known: set[str], judging: set[bytes]) -> list[str]:
    """Fills `cache` from its first row on with images that are in neither set, and returns the SHA-256 of each file."""
    digests: dict[str, None] = {}
    for path in paths:
        digest = sha256_of_file(path)
        if digest in known or digest in digests:
            continue
        seen = _pixels(path, cache.preprocess)
        if seen is None or _digest(seen) in judging:
            continue
        cache.put(len(digests), seen[None])
        digests[digest] = None
        if len(digests) == len(cache):
            break
    return list(digests)


def _pixels(path: Path, preprocess: Preprocess) -> NDArray[np.uint8] | None:
    try:
        return pixels(path, preprocess)
    except ImageError:
        return None  # it was left out of the adaptation too, with a warning


def _digest(seen: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(seen.tobytes()).digest()
