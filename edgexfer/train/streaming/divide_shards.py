"""Which image of a set of shards trains, validates and tests: by its shard's name, else drawn.

Lists of images in, a split for each out. What is drawn follows from seed, shard and key alone, so that no window ever
trains on an image that is held out. Only a class that would have no image in one of the splits gets one from another.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from edgexfer.core.errors import DataError
from edgexfer.core.sample import SPLITS
from edgexfer.train.images.split import FRACTIONS
from edgexfer.train.streaming.shards import Packed, split_of_shard

Shares: TypeAlias = tuple[float, float, float]
"""How much of a shard goes to train, val and test; they sum to 1."""
Listed: TypeAlias = tuple[Path, Sequence[Packed], Sequence[str]]
"""A shard, images of one of its blocks, and the class of each."""

_BITS = 53  # of a digest that decides: what a float holds exactly


def shares_of(shards: Sequence[Path]) -> dict[Path, Shares]:
    """Returns how each shard is divided, by what the names of all say.

    Shards whose names say nothing, or all train, are divided as folders are. Where there are some to train and some to
    test with, but none to validate with, those are drawn from train, and what is named test stays test.

    Raises:
        DataError: some are named after a split and others are not, or none is to train with.
    """
    named = {shard: split_of_shard(shard) for shard in shards}
    found = set(named.values())
    if found <= {None} or found == {"train"}:
        return dict.fromkeys(shards, FRACTIONS)
    if None in found:
        plain = next(shard.name for shard, split in named.items() if split is None)
        other, split = next((shard.name, split) for shard, split in named.items() if split is not None)
        raise DataError(
            f"{plain} does not say its split, and {other} says {split}: expected all of the shards to say it, or none",
            f"rename it, such as train-{plain}, or give those that belong together by a pattern",
        )
    if "train" not in found:
        only = " and ".join(sorted(map(str, found)))
        raise DataError(
            f"the names of the shards say {only}, such as {shards[0].name}: expected some to train with",
            "give those named train as well, or rename them",
        )
    whole: dict[str, Shares] = {"train": (1.0, 0.0, 0.0), "val": (0.0, 1.0, 0.0), "test": (0.0, 0.0, 1.0)}
    if "val" not in found:
        whole["train"] = (1.0 - FRACTIONS[1], FRACTIONS[1], 0.0)
    return {shard: whole[str(split)] for shard, split in named.items()}


def divide(listed: Sequence[Listed], shares: Mapping[Path, Shares], seed: int) -> list[tuple[str, ...]]:
    """Gives every image its split.

    Args:
        listed: blocks with their images, in any order.
        shares: see `shares_of`.
        seed: of the draw.

    Returns:
        For each block the splits of its images.

    Raises:
        DataError: a class has too few images to be in every split, or none in a split that the names say.
    """
    splits = [[_drawn(shares[shard], _digest(shard, image, seed)) for image in images] for shard, images, _ in listed]
    free = [block for block, (shard, _, _) in enumerate(listed) if max(shares[shard]) < 1]
    if free:
        share = shares[listed[free[0]][0]]  # all that are drawn from are divided alike
        wanted = [split for split, part in zip(SPLITS, share, strict=True) if part]
        for block, position, split in _moved(listed, splits, free, wanted, seed):
            splits[block][position] = split
    _check_complete(listed, splits, shares)
    return [tuple(part) for part in splits]


def _moved(
    listed: Sequence[Listed], splits: Sequence[Sequence[str]], free: Sequence[int], wanted: Sequence[str], seed: int
) -> Iterator[tuple[int, int, str]]:
    """Yields (block, position, split) of images that go elsewhere than drawn.

    Each is drawn by itself, and so ten images of a class lack one of the splits every third time.
    """
    counts = Counter(pair for block in free for pair in zip(listed[block][2], splits[block], strict=True))
    images = Counter(label for block in free for label in listed[block][2])
    for label, count in sorted(images.items()):
        if count < len(wanted):
            raise DataError(
                f"class '{label}' has {count} image{'s' * (count > 1)} in the shards, expected {len(wanted)} or more: "
                f"one for each of {', '.join(wanted)}",
                "add images of it, or leave it out",
            )
    lacking = {label for label in images if any(not counts[label, split] for split in wanted)}
    members: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for block in free if lacking else ():
        shard, packed, labels = listed[block]
        for position, (image, label, split) in enumerate(zip(packed, labels, splits[block], strict=True)):
            if label in lacking:
                digest = _digest(shard, image, seed)
                members.setdefault((label, split), []).append((digest, block, position))
    for found in members.values():
        found.sort()
    for label in sorted(lacking):
        for split in wanted:
            if not counts[label, split]:
                most = max(wanted, key=lambda other: counts[label, other])
                _, block, position = members[label, most].pop(0)
                counts[label, most] -= 1
                counts[label, split] += 1
                yield block, position, split


def _check_complete(listed: Sequence[Listed], splits: Sequence[Sequence[str]], shares: Mapping[Path, Shares]) -> None:
    counts = Counter(
        pair for (_, _, labels), part in zip(listed, splits, strict=True) for pair in zip(labels, part, strict=True)
    )
    labels = sorted({label for label, _ in counts})
    for place, split in enumerate(SPLITS):
        for label in labels if any(share[place] for share in shares.values()) else ():
            if not counts[label, split]:
                raise DataError(
                    f"class '{label}' has no image in the shards of {split}, expected 1 or more",
                    f"add images of it to {split}, or leave it out of every split",
                )


def _drawn(shares: Shares, digest: int) -> str:
    share = digest / 2**_BITS
    return "train" if share < shares[0] else "val" if share < shares[0] + shares[1] else "test"


def _digest(shard: Path, image: Packed, seed: int) -> int:
    name = f"{seed}:{shard.name}:{image.key}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> (64 - _BITS)
