"""Stream: training on shards that no pixel cache could hold.

A bounded part of the shards, drawn at random, is written as ordinary image files, divided into train, val and test:
that is what the head, `auto`, validation, calibration and the report see, as they see any folder. Training goes beyond
it: each epoch but the first trains on other images, a window as large as the sample's train part, which is decoded in
threads while the epoch before computes (train/windows.py).

Which image is held out follows from its key alone, so that none is ever trained on. Blocks of a shard, not single
images, are drawn: reading stays nearly sequential, and a window mixes many places of the set.

    RUN.images/
        images.csv      path,label,split of the sample; it is DATA for every later step
        00/0000000.jpg  its files
        stream.json     which shards, how many images, the window's size and the seed; written last
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import DataError
from edgexfer.core.files import explained_write, write_file
from edgexfer.core.threads import Progress, in_threads
from edgexfer.train.shards import Packed, blocks_of, find_shards, named_labels, read_images, split_of_shard
from edgexfer.train.split import FRACTIONS

log = logging.getLogger(__name__)

TABLE, RECORD = "images.csv", "stream.json"
_LEAST_A_CLASS = {"train": 2, "val": 1, "test": 1}
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Block:
    """Images that lie together.

    Attributes:
        shard: the file.
        number: of the block there.
        images: of the block, with their places.
        labels: the class of each, named.
        splits: where each goes.
    """

    shard: Path
    number: int
    images: tuple[Packed, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]

    def of(self, split: str) -> list[int]:
        """Returns the positions in `images` that belong to `split`."""
        return [position for position, own in enumerate(self.splits) if own == split]


@dataclass(frozen=True)
class Stream:
    """All images of a set of shards, by block, and how they are drawn.

    Attributes:
        blocks: in the order of the files.
        window: training images that are held at once.
        seed: of the draws.
    """

    blocks: tuple[Block, ...]
    window: int
    seed: int

    def count(self, split: str) -> int:
        """Returns how many images belong to `split`."""
        return sum(len(block.of(split)) for block in self.blocks)

    def windows_for(self, epochs: int | None) -> int:
        """Returns how many windows go through all training images `epochs` times; once for None."""
        return math.ceil((epochs or 1) * self.count("train") / self.window)

    def order(self, turn: int) -> NDArray[np.int64]:
        """Returns the order of the blocks when they are gone through for the `turn`-th time, 0-based."""
        return np.random.default_rng([self.seed, turn]).permutation(len(self.blocks))

    def drawn(self, number: int) -> list[tuple[Block, list[int]]]:
        """Returns the training images of window `number`, 0-based: blocks, and positions in each; `window` in all.

        Windows follow each other through all blocks, again and again in another order.
        """
        whole = self.count("train")
        skip, left = number * self.window, self.window
        turn, skip = divmod(skip, whole)
        found: list[tuple[Block, list[int]]] = []
        while left > 0:
            for place in self.order(turn):
                block = self.blocks[place]
                positions = block.of("train")
                taken = positions[skip : skip + left]
                skip = max(0, skip - len(positions))
                if taken:
                    found.append((block, taken))
                    left -= len(taken)
                if left == 0:
                    break
            turn += 1
        return found


def open_stream(data: str | Path, *, window: int, seed: int) -> Stream:
    """Lists the images of the shards that DATA means.

    Raises:
        DataError: a shard cannot be read, or there is too little in them.
    """
    shards = find_shards(data)
    names = named_labels(shards)
    given = {shard: split_of_shard(shard) for shard in shards}
    divided = None not in given.values() and {"train", "val"} <= set(given.values())
    blocks: list[Block] = []
    for shard, listed in zip(shards, in_threads(blocks_of, shards), strict=True):
        for number, images in enumerate(listed):
            labels = tuple(names.get(image.label, image.label) for image in images)
            splits = tuple(str(given[shard]) if divided else _drawn_split(shard, image, seed) for image in images)
            blocks.append(Block(shard, number, tuple(images), labels, splits))
    found = Stream(tuple(blocks), window, seed)
    if not found.count("train"):
        raise DataError(f"{data} has no images to train on", "give shards with images: KEY.jpg and KEY.cls in each tar")
    return Stream(found.blocks, min(window, found.count("train")), seed)


def take_sample(
    data: str | Path, folder: Path, *, window: int, seed: int, anew: bool = False, progress: Progress | None = None
) -> tuple[Path, Stream] | None:
    """Writes a sample of the shards that DATA means into `folder`, or takes the one that is there.

    Args:
        data: a pattern, a shard, or a folder of shards.
        folder: RUN.images.
        window: training images that are held at once; an older sample keeps its own.
        seed: of the draws; an older sample keeps its own.
        anew: replace an older sample.
        progress: called with (done, all) blocks.

    Returns:
        The sample's table, which is DATA for all that follows, and the stream; None where DATA is no shards.

    Raises:
        DataError: `folder` holds the sample of other shards, or the shards cannot be read.
        EdgexferError: it cannot be written.
    """
    if not find_shards(data):
        return None
    older = json.loads((folder / RECORD).read_bytes()) if (folder / RECORD).is_file() and not anew else None
    stream = open_stream(data, **({"window": window, "seed": seed} if older is None else older["drawn"]))
    if older is None:
        _write_sample(stream, folder, progress)
    elif older != _record(stream):
        raise DataError(
            f"{folder} is the sample of other shards", "begin anew with --overwrite, or choose another --out"
        )
    return folder / TABLE, stream


def _write_sample(stream: Stream, folder: Path, progress: Progress | None) -> None:
    if folder.exists() and not (folder / RECORD).is_file() and any(folder.iterdir()):
        raise DataError(f"{folder} exists and is no sample of shards", "move it, or choose another --out")
    shutil.rmtree(folder, ignore_errors=True)
    chosen = list(_sample(stream))
    numbers = np.cumsum([0, *(len(positions) for _, positions in chosen)])

    def one(number: int) -> list[tuple[str, str, str]]:
        block, positions = chosen[number]
        rows = []
        data = read_images(block.shard, block.number, [block.images[position] for position in positions])
        for at, (position, content) in enumerate(zip(positions, data, strict=True), start=int(numbers[number])):
            name = f"{at // 1000:03}/{at:07}{_suffix(content)}"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            rows.append((name, block.labels[position], block.splits[position]))
        return rows

    with explained_write(folder):
        folder.mkdir(parents=True)
        rows = [row for part in in_threads(one, range(len(chosen)), progress=progress) for row in part]
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("path", "label", "split"), *rows])
        write_file(folder / RECORD, json.dumps(_record(stream), indent=2) + "\n")
    log.info("%d of %d images are the sample in %s", len(rows), sum(len(b.images) for b in stream.blocks), folder)


def _sample(stream: Stream) -> Iterator[tuple[Block, list[int]]]:
    """Yields window 0, the held-out images of its blocks, and of other blocks what is still lacking then."""
    first = {id(block): positions for block, positions in stream.drawn(0)}
    counts: Counter[tuple[str, str]] = Counter()
    later: list[Block] = []
    for place in stream.order(0):
        block = stream.blocks[place]
        if id(block) in first:
            positions = sorted({*first[id(block)], *block.of("val"), *block.of("test")})
            counts.update((block.labels[position], block.splits[position]) for position in positions)
            yield block, positions
        else:
            later.append(block)
    whole = {
        split: min(stream.count(split), round(stream.window * share / FRACTIONS[0])) - _of_split(counts, split)
        for split, share in zip(_SPLITS, FRACTIONS, strict=True)
    }
    for block in later:
        positions = []
        for position, kind in enumerate(zip(block.labels, block.splits, strict=True)):
            if counts[kind] < _LEAST_A_CLASS[kind[1]] or (kind[1] != "train" and whole[kind[1]] > 0):
                counts[kind] += 1
                whole[kind[1]] -= 1
                positions.append(position)
        if positions:
            yield block, positions


def _of_split(counts: Counter[tuple[str, str]], split: str) -> int:
    return sum(count for (_, own), count in counts.items() if own == split)


def _drawn_split(shard: Path, image: Packed, seed: int) -> str:
    digest = hashlib.sha256(f"{seed}:{shard.name}:{image.key}".encode("utf-8", "surrogateescape")).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < FRACTIONS[0] else "val" if share < FRACTIONS[0] + FRACTIONS[1] else "test"


def _record(stream: Stream) -> dict[str, Any]:
    shards = {block.shard.name: block.shard.stat().st_size for block in stream.blocks}
    images = {split: stream.count(split) for split in _SPLITS}
    return {"shards": shards, "images": images, "drawn": {"window": stream.window, "seed": stream.seed}}


def _suffix(content: bytes) -> str:
    return ".png" if content.startswith(b"\x89PNG") else ".webp" if content[8:12] == b"WEBP" else ".jpg"
