"""What a checkpoint that goes on learning has left of its earlier task: images to repeat and images to judge by.

Its stored exemplars, or the images it was trained on where they still lie where they did.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import EdgexferError
from edgexfer.core.files import sha256_of_file
from edgexfer.core.manifest import read_if_listed
from edgexfer.train.checkpoint import EXEMPLARS, Checkpoint
from edgexfer.train.continual.exemplars import Exemplars, choose_exemplars, parse_exemplars, pool_rows
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.joined_pixels import joined_pixels
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.images.split import SplitRow

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOut:
    """Images of the earlier task that no training saw.

    Attributes:
        cache: their pixels; close it when done.
        class_ids: int64 [images].
        origin: what they are, in words.
    """

    cache: PixelCache
    class_ids: NDArray[np.int64]
    origin: str


def stored_exemplars(checkpoint: Checkpoint) -> Exemplars | None:
    """Returns what the checkpoint carries; None where it carries nothing."""
    raw = read_if_listed(checkpoint.folder, checkpoint.manifest, EXEMPLARS)
    return None if raw is None else parse_exemplars(raw, checkpoint.folder / EXEMPLARS)


def exemplars_of(checkpoint: Checkpoint, *, per_class: int, device: str) -> Exemplars:
    """Returns the checkpoint's exemplars; where it carries none, they are chosen from the images it was trained on.

    Raises:
        EdgexferError: it has none, and its images are not where they were.
    """
    found = stored_exemplars(checkpoint)
    if found is not None and len(found.of("train")):
        return found
    count = max(1, per_class)
    wanted = pool_rows(checkpoint.rows, {"train": count, "val": count // 2, "test": count // 2})
    rows = [checkpoint.rows[row] for row in wanted]
    root = _root(checkpoint)
    if root is None or any(not _is_there(root, row) for row in rows):
        raise EdgexferError(
            f"{checkpoint.folder} carries no exemplars, and its images are no longer at {checkpoint.manifest['data']}",
            "bring the images back there, or fine-tune on old and new images together: "
            "edgexfer finetune ALL_IMAGES --strategy finetune",
        )
    log.info("%s carries no exemplars: they are chosen from %s", checkpoint.folder, root)
    with _decoded(root, rows, checkpoint) as cache:
        network = checkpoint.float_network().to(device)
        chosen = choose_exemplars(network, cache, rows, _ids(rows, checkpoint), per_class=count)
    assert chosen is not None  # noqa: S101 - one a class at least was asked for
    return chosen


def exemplars_to_keep(
    network: DeployNetwork, prepared: Prepared, start: Checkpoint | None, *, per_class: int
) -> Exemplars | None:
    """Returns what a new checkpoint carries: images it was trained on, and what its predecessor carried.

    Args:
        network: the new checkpoint's.
        prepared: its images.
        start: its predecessor, or None.
        per_class: images of each class that are repeated; 0 keeps none.
    """
    before = None if start is None else stored_exemplars(start)
    return choose_exemplars(network, prepared.cache, prepared.rows, prepared.class_ids, before, per_class=per_class)


def rows_before(start: Checkpoint, rows: Sequence[SplitRow]) -> tuple[SplitRow, ...]:
    """Returns the split of the images that `start` and its predecessors were trained on and that are not in `rows`."""
    known = {row.sha256 for row in rows}
    return tuple(row for row in (*start.rows, *start.earlier_rows()) if row.sha256 not in known)


def held_out(checkpoint: Checkpoint, exemplars: Exemplars) -> HeldOut | None:
    """Returns images that judge the earlier task: its test images where they still lie there, else its val images.

    What a checkpoint learned before the images of its own `split.csv`, in runs that it went on from, is judged by the
    held-out exemplars it carries of them. These stand in for all of it where the images are gone; None where there are
    no such exemplars either.
    """
    root = _root(checkpoint)
    others = exemplars.without({row.sha256 for row in checkpoint.rows})
    for split in ("test", "val"):
        rows = [row for row in checkpoint.rows if row.split == split]
        if root is None or not rows or not all(_is_there(root, row) for row in rows):
            continue
        stored = others.taken(others.of(split))
        origin = f"{split} images in {root}"
        with _decoded(root, rows, checkpoint) as cache:
            joined = joined_pixels([(cache, np.arange(len(rows))), (stored.pixels, np.arange(len(stored)))])
        origin += f", {len(stored)} {split} exemplars of earlier runs among them" if len(stored) else ""
        return HeldOut(joined, np.concatenate([_ids(rows, checkpoint), stored.class_ids]), origin)
    for split in ("test", "val"):
        stored = exemplars.taken(exemplars.of(split))
        if len(stored):
            cache = PixelCache(len(stored), checkpoint.preprocess)
            cache.put(0, stored.pixels)
            return HeldOut(cache, stored.class_ids, f"{split} exemplars in {checkpoint.folder}")
    return None


def _root(checkpoint: Checkpoint) -> Path | None:
    # What paths in `split.csv` are relative to: DATA, a CSV's folder, or what DATA and VAL have in common.
    places = [Path(place) for place in (checkpoint.manifest["data"], checkpoint.manifest["val"]) if place is not None]
    if not all(place.exists() for place in places):
        return None
    folders = [place if place.is_dir() else place.parent for place in places]
    return Path(os.path.commonpath(folders))


def _is_there(root: Path, row: SplitRow) -> bool:
    path = root / row.path
    return path.is_file() and sha256_of_file(path) == row.sha256


def _decoded(root: Path, rows: Sequence[SplitRow], checkpoint: Checkpoint) -> PixelCache:
    cache = PixelCache(len(rows), checkpoint.preprocess)
    try:
        cache.fill([root / row.path for row in rows])
    except BaseException:
        cache.close()
        raise
    return cache


def _ids(rows: Sequence[SplitRow], checkpoint: Checkpoint) -> NDArray[np.int64]:
    return np.array([checkpoint.labels.index(row.label) for row in rows], dtype=np.int64)
