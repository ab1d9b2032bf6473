"""Windows: what of a stream is in the pixel cache in each epoch; the next is decoded while this one is trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from edgexfer.core.decode import decode
from edgexfer.core.errors import ImageError
from edgexfer.core.preprocess import pixels
from edgexfer.core.threads import in_threads
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.processes.distributed import rank_and_size
from edgexfer.train.streaming.shards import read_images
from edgexfer.train.streaming.stream import Block, Stream

log = logging.getLogger(__name__)

_CHUNK = 256


class Renewal(Protocol):
    """Puts other images into the rows that are trained on."""

    def renew(self, epoch: int, epochs: int, cache: PixelCache, class_ids: NDArray[np.int64]) -> None:
        """Makes `cache` and `class_ids` those of an epoch, 0-based of `epochs`; called by all processes."""

    def close(self) -> None:
        """Ends what goes on beside the training. May be called twice."""


class Windows:
    """Renews the training rows of a cache from a stream.

    Epoch 0 trains on the sample that is there already. An image that cannot be decoded is left out: its row keeps the
    image it had, with its class. So do rows beyond a window.

    Args:
        stream: what is drawn from.
        labels: class names in the order of their ids.
        rows: of the cache, that are trained on.
    """

    def __init__(self, stream: Stream, labels: tuple[str, ...], rows: NDArray[np.int64]) -> None:
        self._stream, self._rows = stream, rows
        self._ids = {label: number for number, label in enumerate(labels)}
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[tuple[PixelCache, NDArray[np.int64]]]] | None = None
        self._epoch = 0  # the one whose images the cache holds

    def __reduce__(self) -> tuple[type[FollowedWindows], tuple[()]]:
        """Other processes get what the first one has decoded."""
        return FollowedWindows, ()

    def renew(self, epoch: int, epochs: int, cache: PixelCache, class_ids: NDArray[np.int64]) -> None:
        """See Renewal."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="edgexfer-windows")
        if epoch != self._epoch:
            staged, ids = self._decoded(epoch, cache)
            with staged:
                self._put(staged, ids, cache, class_ids)
            self._epoch = epoch
        if epoch + 1 < epochs:
            self._next = epoch + 1, self._thread.submit(self._decode, epoch + 1, cache)
        _share_ids(class_ids)

    def close(self) -> None:
        """See Renewal."""
        if self._thread is None:
            return
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._next is not None and not self._next[1].cancelled() and self._next[1].exception() is None:
            self._next[1].result()[0].close()
        self._thread = self._next = None
        self._epoch = -1  # whoever begins again does not know what the cache holds

    def _decoded(self, epoch: int, cache: PixelCache) -> tuple[PixelCache, NDArray[np.int64]]:
        expected, self._next = self._next, None
        if expected is not None and expected[0] == epoch:
            return expected[1].result()
        if expected is not None:  # a resumed run begins elsewhere
            expected[1].result()[0].close()
        return self._decode(epoch, cache)

    def _decode(self, epoch: int, cache: PixelCache) -> tuple[PixelCache, NDArray[np.int64]]:
        """Returns pixels for the first of the rows, and the class of each, or -1 where an image is damaged."""
        drawn = self._stream.drawn(epoch)
        firsts = np.cumsum([0, *(len(positions) for _, positions in drawn)])
        # The sample may hold more than a window: images of rare classes, which stay.
        count = min(len(self._rows), int(firsts[-1]))
        staged = PixelCache(max(count, 1), cache.preprocess)
        ids = np.full(count, -1, dtype=np.int64)
        least = cache.preprocess.at_least

        def one(number: int) -> None:
            block, positions = drawn[number]
            for row, position, data in _with_data(block, positions, int(firsts[number]), len(ids)):
                try:
                    staged.keep(row, decode(data, at_least=least))
                except ImageError as error:
                    log.debug("left out: %s in %s: %s", block.images[position].key, block.shard, error)
                    continue
                ids[row] = self._ids.get(block.labels[position], -1)

        try:
            in_threads(one, range(len(drawn)))
        except BaseException:
            staged.close()
            raise
        return staged, ids

    def _put(self, staged: PixelCache, ids: NDArray[np.int64], cache: PixelCache, class_ids: NDArray[np.int64]) -> None:
        good = np.flatnonzero(ids >= 0)
        if len(good) < len(ids):
            log.warning("%d of %d images of a window cannot be used", len(ids) - len(good), len(ids))
        for start in range(0, len(good), _CHUNK):
            part = good[start : start + _CHUNK]
            cache.replace(self._rows[part], staged[part])
        class_ids[self._rows[good]] = ids[good]


class FollowedWindows:
    """What a process that follows has in the place of Windows: it maps the same pixels, and is told the classes."""

    def renew(self, epoch: int, epochs: int, cache: PixelCache, class_ids: NDArray[np.int64]) -> None:
        """See Renewal."""
        del epoch, epochs, cache
        _share_ids(class_ids)

    def close(self) -> None:
        """See Renewal."""


def decode_again(prepared: Prepared, rows: Sequence[int]) -> None:
    """Brings back the images and classes of the sample, in whose rows a window lies after training.

    Args:
        prepared: its cache and `class_ids` are changed in place.
        rows: of it; the file of each is decoded.

    Raises:
        ImageError: a file is gone, or was changed and is no image any more.
    """
    paths = {item.name: item.sample.path for item in prepared.intake.samples}
    cache = prepared.cache

    def one(row: int) -> None:
        cache.replace(np.array([row]), pixels(paths[prepared.rows[row].path], cache.preprocess)[None])
        prepared.class_ids[row] = prepared.labels.index(prepared.rows[row].label)

    in_threads(one, rows)


def _with_data(block: Block, positions: list[int], first: int, rows: int) -> list[tuple[int, int, bytes]]:
    kept = [(first + at, position) for at, position in enumerate(positions) if first + at < rows]
    data = read_images(block.shard, block.number, [block.images[position] for _, position in kept])
    return [(row, position, content) for (row, position), content in zip(kept, data, strict=True)]


def _share_ids(class_ids: NDArray[np.int64]) -> None:
    if rank_and_size()[1] > 1:
        dist.broadcast(torch.from_numpy(class_ids), src=0)
