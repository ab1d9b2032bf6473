"""The images that a checkpoint's quantizers learn on: those of its split.csv, and what else its network works for.

- A checkpoint that began from another one knows classes that its own images may not show: its exemplars join them.
- An adapted checkpoint works on images of another domain: unlabeled ones of that domain join, as many as there are
  training images at most. Their classes are the network's own answers; they only balance the calibration, since
  quantizers learn from the float network and from no label.

Both are rows of train (exemplars also of val); their paths name no file of the data set.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import EdgexferError, ImageError
from edgexfer.core.files import sha256_of_file
from edgexfer.core.preprocess import pixels
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.earlier_task import stored_exemplars
from edgexfer.train.exemplars import with_exemplars
from edgexfer.train.joined_pixels import joined_pixels
from edgexfer.train.judge import probabilities
from edgexfer.train.pixel_cache import PixelCache
from edgexfer.train.prepared import Prepared
from edgexfer.train.split import SplitRow
from edgexfer.train.unlabeled import find_images

log = logging.getLogger(__name__)


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
    folder = Path(checkpoint.manifest["unlabeled"])
    try:
        found = find_images(folder)
    except EdgexferError as error:
        log.warning("the quantizers learn without images of the domain adapted to: %s", error.message)
        return replace(images, cache=joined_pixels([(images.cache, np.arange(len(images.rows)))]))
    order = np.random.default_rng(0).permutation(len(found))[: len(images.indices("train"))]
    known = {row.sha256 for row in images.rows}
    chosen = {digest: path for path in (found[i] for i in order) if (digest := sha256_of_file(path)) not in known}
    with PixelCache(len(chosen), checkpoint.preprocess) as cache:
        rows = _fill_usable(cache, list(chosen.values()))
        labels = probabilities(network, cache, rows).numpy().argmax(1)
        digests = list(chosen)
        named = tuple(
            SplitRow(f"unlabeled/{digests[row][:16]}", images.labels[label], "train", digests[row])
            for row, label in zip(rows, labels, strict=True)
        )
        joined = joined_pixels([(images.cache, np.arange(len(images.rows))), (cache, rows)])
    log.info("%d images of the domain adapted to join the training images", len(named))
    ids = np.concatenate([images.class_ids, labels.astype(np.int64)])
    return replace(images, rows=(*images.rows, *named), class_ids=ids, cache=joined)


def _fill_usable(cache: PixelCache, paths: list[Path]) -> NDArray[np.int64]:
    rows = []
    for row, path in enumerate(paths):
        try:
            cache.put(row, pixels(path, cache.preprocess)[None])
        except ImageError:
            continue  # it was left out of the adaptation too, with a warning
        rows.append(row)
    return np.array(rows, dtype=np.int64)
