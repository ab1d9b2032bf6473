"""Stream: training on shards that no pixel cache could hold.

A bounded part of the shards, drawn at random, is written as ordinary image files, divided into train, val and test:
that is what the head, `auto`, validation, calibration and the report see, as they see any folder. Training goes beyond
it: each epoch but the first trains on other images, a window as large as the sample's train part, which is decoded in
threads while the epoch before computes (windows.py). The sample is written by stream_sample.py.

Which image is held out is decided once (divide_shards.py), and none of them is ever trained on. Blocks of a
shard, not single images, are drawn: reading stays nearly sequential, and a window mixes many places of the set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import DataError
from edgexfer.core.threads import in_threads
from edgexfer.train.streaming.divide_shards import divide, shares_of
from edgexfer.train.streaming.shards import Packed, blocks_of, find_shards, named_labels


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
        DataError: a shard cannot be read, there is too little in them, or they cannot be divided.
    """
    shards = find_shards(data)
    shares, names = shares_of(shards), named_labels(shards)
    numbered = [
        (shard, number, images)
        for shard, blocks in zip(shards, in_threads(blocks_of, shards), strict=True)
        for number, images in enumerate(blocks)
    ]
    if not any(images for _, _, images in numbered):
        raise DataError(f"{data} has no images to train on", "give shards with images: KEY.jpg and KEY.cls in each tar")
    listed = [
        (shard, images, tuple(names.get(image.label, image.label) for image in images)) for shard, _, images in numbered
    ]
    blocks = tuple(
        Block(shard, number, tuple(images), labels, splits)
        for (shard, number, images), (_, _, labels), splits in zip(
            numbered, listed, divide(listed, shares, seed), strict=True
        )
    )
    whole = Stream(blocks, window, seed)
    return Stream(blocks, min(window, whole.count("train")), seed)
