"""Exemplars: a few images of every class that a float checkpoint carries, so that it can learn more without forgetting.

    exemplars.safetensors   pixels     uint8 [images, H, W, 3], as the network sees them
                            class_ids  int64 [images]
                            splits     uint8 [images]: 0 train, 1 val, 2 test
                            sha256     uint8 [images, 32], of the files they came from

Those of train are for replay: they are chosen by herding, so that the mean of the first k is close to the class's mean
feature for every k (iCaRL, Rebuffi et al. 2017, algorithm 4), and stand in that order. Those of val and test judge what
became of the old classes. `exemplars = 0` in the settings stores none: they are the user's images, readable to whoever
has the checkpoint. Bundles never hold them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from PIL import Image

from edgexfer.core.errors import ArtifactError
from edgexfer.core.sample import SPLITS
from edgexfer.train.checkpoint import EXEMPLARS
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.head.probe import features
from edgexfer.train.images.joined_pixels import joined_pixels
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.images.split import SplitRow
from edgexfer.train.network import head_of

MOST_BYTES = 64 << 20
_POOL = 2  # times as many images are looked at as are taken: herding among more is hardly better and costs time


@dataclass(frozen=True)
class Exemplars:
    """Stored images.

    Attributes:
        pixels: uint8 [images, H, W, 3].
        class_ids: int64 [images].
        splits: uint8 [images], the place in SPLITS: train, val, test.
        sha256: uint8 [images, 32].
    """

    pixels: NDArray[np.uint8]
    class_ids: NDArray[np.int64]
    splits: NDArray[np.uint8]
    sha256: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.class_ids)

    def of(self, split: str) -> NDArray[np.int64]:
        """Returns the images of `split`, ascending."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def digests(self) -> list[str]:
        """Returns the SHA-256 of each image's file, in hexadecimal."""
        return [bytes(row).hex() for row in self.sha256]

    def without(self, digests: Collection[str]) -> Exemplars:
        """Returns those whose SHA-256 is not among `digests`."""
        return self.taken(np.array([i for i, own in enumerate(self.digests()) if own not in digests], dtype=np.int64))

    def taken(self, rows: NDArray[np.int64]) -> Exemplars:
        """Returns the images `rows`, in that order."""
        return Exemplars(self.pixels[rows], self.class_ids[rows], self.splits[rows], self.sha256[rows])

    def resized(self, height: int, width: int) -> Exemplars:
        """Returns the same images at another size."""
        if self.pixels.shape[1:3] == (height, width):
            return self
        pixels = [
            np.asarray(Image.fromarray(own).resize((width, height), Image.Resampling.BICUBIC)) for own in self.pixels
        ]
        return Exemplars(np.stack(pixels), self.class_ids, self.splits, self.sha256)


def herd(seen: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Returns `count` images, or all there are, whose mean stays closest to the mean of all; int64, in drawing order.

    Args:
        seen: features of one class's images, float32 [images, features].
        count: how many are drawn.
    """
    unit = seen / (np.linalg.norm(seen, axis=1, keepdims=True) + 1e-12)
    mean, total = unit.mean(axis=0), np.zeros(unit.shape[1])
    free, drawn = list(range(len(unit))), []
    for number in range(1, min(count, len(unit)) + 1):
        distance = np.linalg.norm(mean - (total + unit[free]) / number, axis=1)
        drawn.append(free.pop(int(distance.argmin())))
        total = total + unit[drawn[-1]]
    return np.array(drawn, dtype=np.int64)


def choose_exemplars(
    network: DeployNetwork,
    cache: PixelCache,
    split: Sequence[SplitRow],
    class_ids: NDArray[np.int64],
    earlier: Exemplars | None = None,
    *,
    per_class: int,
) -> Exemplars | None:
    """Chooses what a checkpoint stores; None where `per_class` is 0.

    Args:
        network: the finished network.
        cache: pixels of the images it was trained on last.
        split: their rows of `split.csv`.
        class_ids: their classes, int64.
        earlier: what its predecessor stored; images that are among those of `split` are passed over.
        per_class: images of train, at most; half as many of val and of test. Fewer where MOST_BYTES would be exceeded,
            but one of train.
    """
    if not per_class:
        return None
    _, head = head_of(network.network)
    room = MOST_BYTES // (cache.preprocess.height * cache.preprocess.width * 3) // head.out_features
    held_out = min(per_class // 2, room // 4)
    quota = {"train": min(per_class, max(1, room // 2)), "val": held_out, "test": held_out}
    rows = np.array(pool_rows(split, quota), dtype=np.int64)
    parts: list[tuple[PixelCache | NDArray[np.uint8], NDArray[np.int64]]] = [(cache, rows)]
    ids = class_ids[rows]
    splits = np.array([SPLITS.index(split[row].split) for row in rows], dtype=np.uint8)
    digests = [split[row].sha256 for row in rows]
    if earlier is not None:
        kept = earlier.without({row.sha256 for row in split})
        parts.append((kept.pixels, np.arange(len(kept))))
        ids, splits = np.concatenate([ids, kept.class_ids]), np.concatenate([splits, kept.splits])
        digests += kept.digests()
    with joined_pixels(parts) as pixels:
        found = _chosen(network, pixels, ids, splits, quota)
        sha256 = np.array([list(bytes.fromhex(digests[row])) for row in found], dtype=np.uint8).reshape(-1, 32)
        return Exemplars(pixels[found], ids[found], splits[found], sha256)


def parse_exemplars(raw: bytes, path: Path) -> Exemplars:
    """Reads the content of the file that the module's docstring specifies, which lies at `path`.

    Raises:
        ArtifactError: it is damaged, or something else.
    """
    try:
        found = safetensors.numpy.load(raw)
        made = Exemplars(*(found[name] for name in ("pixels", "class_ids", "splits", "sha256")))
    except (KeyError, ValueError, safetensors.SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}", "fine-tune again") from error
    if not made.pixels.shape[:1] == made.class_ids.shape == made.splits.shape == made.sha256.shape[:1]:
        raise ArtifactError(f"{path} is damaged: its tensors have different numbers of images", "fine-tune again")
    types = [array.dtype for array in (made.pixels, made.class_ids, made.splits, made.sha256)]
    if types != [np.uint8, np.int64, np.uint8, np.uint8] or made.pixels.ndim != 4 or made.sha256.ndim != 2:
        raise ArtifactError(f"{path} is damaged: its tensors are of other types or forms", "fine-tune again")
    return made


def with_exemplars(prepared: Prepared, exemplars: Exemplars) -> Prepared:
    """Returns the images of both, those of `prepared` first; exemplars that are among them already are left out.

    The result's cache is a copy; close it. Paths of exemplars name no file.
    """
    added = exemplars.without({row.sha256 for row in prepared.rows})
    named = tuple(
        SplitRow(f"{EXEMPLARS}/{digest[:16]}", prepared.labels[label], SPLITS[split], digest)
        for digest, label, split in zip(added.digests(), added.class_ids, added.splits, strict=True)
    )
    cache = joined_pixels([(prepared.cache, np.arange(len(prepared.rows))), (added.pixels, np.arange(len(added)))])
    ids = np.concatenate([prepared.class_ids, added.class_ids])
    return Prepared(prepared.labels, (*prepared.rows, *named), ids, cache, prepared.intake)


def pool_rows(split: Sequence[SplitRow], quota: Mapping[str, int]) -> list[int]:
    """Returns rows of each class and split, enough to choose from: those of the lowest digests, which is a fair draw.

    Args:
        split: rows of `split.csv`.
        quota: images of a class that are wanted of each split.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for row, item in enumerate(split):
        groups.setdefault((item.split, item.label), []).append(row)
    chosen: list[int] = []
    for (part, _), members in sorted(groups.items()):
        most = quota[part] * (_POOL if part == "train" else 1)
        chosen += sorted(members, key=lambda row: split[row].sha256)[:most]
    return chosen


def _chosen(
    network: DeployNetwork,
    pixels: PixelCache,
    ids: NDArray[np.int64],
    splits: NDArray[np.uint8],
    quota: dict[str, int],
) -> NDArray[np.int64]:
    rows: list[int] = []
    for label in np.unique(ids):
        members = np.flatnonzero((ids == label) & (splits == SPLITS.index("train")))
        if len(members):
            rows += members[herd(features(network, pixels, members), quota["train"])].tolist()
        for split in ("val", "test"):
            rows += np.flatnonzero((ids == label) & (splits == SPLITS.index(split)))[: quota[split]].tolist()
    return np.array(rows, dtype=np.int64)
