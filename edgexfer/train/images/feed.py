"""Feed: batches of a pixel cache as tensors where training happens.

On a CPU a batch is copied out of the cache. On a GPU the whole cache moves there once, as uint8, where it fits, and a
batch is an index into it; where it does not, a thread gathers the next batch into pinned memory while this one is
computed.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.train.images.pixel_cache import PixelCache

RESIDENT_SHARE = 0.25  # of a GPU's free memory; activations, gradients and cuDNN's workspaces need the rest
_CHUNK_BYTES = 64 << 20

log = logging.getLogger(__name__)


class Feed(Protocol):
    """Batches by row. Close it when done."""

    def batch(self, rows: NDArray[np.int64], then: NDArray[np.int64] | None = None) -> tuple[Tensor, Tensor]:
        """Returns the pixels, uint8 [len(rows), 3, H, W] in channels-last layout, and the class ids, int64 [len(rows)].

        Args:
            rows: of the cache.
            then: those of the batch that is asked for next, where that is known.
        """

    def close(self) -> None:
        """Frees what it holds. May be called twice."""


def open_feed(
    cache: PixelCache, class_ids: NDArray[np.int64], device: torch.device, *, resident_bytes: int | None = None
) -> Feed:
    """Returns the feed that suits the device.

    Args:
        cache: pixels by row.
        class_ids: int64 [rows].
        device: where batches are wanted.
        resident_bytes: up to here all pixels are held there; RESIDENT_SHARE of a GPU's free memory by default.
    """
    if device.type == "cpu" and resident_bytes is None:
        return CopyFeed(cache, class_ids, device)
    if resident_bytes is None:
        resident_bytes = int(RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0])
    size_bytes = len(cache) * int(np.prod(cache.shape[1:]))
    if size_bytes <= resident_bytes:
        log.debug("holding %d MiB of pixels on %s", size_bytes >> 20, device)
        return ResidentFeed(cache, class_ids, device)
    return StagedFeed(cache, class_ids, device)


class CopyFeed:
    """Copies each batch when it is asked for."""

    def __init__(self, cache: PixelCache, class_ids: NDArray[np.int64], device: torch.device) -> None:
        self._cache, self._class_ids, self._device = cache, class_ids, device

    def batch(self, rows: NDArray[np.int64], then: NDArray[np.int64] | None = None) -> tuple[Tensor, Tensor]:
        """See Feed."""
        del then
        pixels = torch.from_numpy(self._cache[rows]).to(self._device).permute(0, 3, 1, 2)
        return pixels, torch.from_numpy(self._class_ids[rows]).to(self._device)

    def close(self) -> None:
        """See Feed."""


class ResidentFeed:
    """Holds all pixels on the device, uint8 [rows, H, W, 3]: a batch is an index, and nothing is copied to the device.

    Rows that were never written (images that were left out) are no part of a cache after `PixelCache.select`.
    """

    def __init__(self, cache: PixelCache, class_ids: NDArray[np.int64], device: torch.device) -> None:
        self._pixels: Tensor | None = torch.empty((len(cache), *cache.shape[1:]), dtype=torch.uint8, device=device)
        step = max(1, _CHUNK_BYTES // int(np.prod(cache.shape[1:])))
        for start in range(0, len(cache), step):
            rows = np.arange(start, min(start + step, len(cache)))
            self._pixels[start : start + step].copy_(torch.from_numpy(cache[rows]))
        self._class_ids: Tensor | None = torch.from_numpy(class_ids).to(device)
        self._device = device

    def batch(self, rows: NDArray[np.int64], then: NDArray[np.int64] | None = None) -> tuple[Tensor, Tensor]:
        """See Feed."""
        del then
        if self._pixels is None or self._class_ids is None:
            raise ValueError("the feed is closed")
        wanted = _sent(torch.from_numpy(rows), self._device)
        return self._pixels[wanted].permute(0, 3, 1, 2), self._class_ids[wanted]

    def close(self) -> None:
        """See Feed."""
        self._pixels = self._class_ids = None


class StagedFeed:
    """Gathers the next batch in a thread, into pinned memory on a GPU's host, while the device computes this one.

    The copy to the device does not hold up the host: PyTorch's allocator of pinned memory keeps a buffer until then.
    """

    def __init__(self, cache: PixelCache, class_ids: NDArray[np.int64], device: torch.device) -> None:
        self._cache, self._class_ids, self._device = cache, class_ids, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="edgexfer-feed")
        self._next: tuple[NDArray[np.int64], Future[tuple[Tensor, Tensor]]] | None = None

    def batch(self, rows: NDArray[np.int64], then: NDArray[np.int64] | None = None) -> tuple[Tensor, Tensor]:
        """See Feed."""
        expected, self._next = self._next, None
        if expected is not None and np.array_equal(expected[0], rows):
            pixels, class_ids = expected[1].result()
        else:
            pixels, class_ids = self._gather(rows)
        if then is not None and len(then):
            self._next = then, self._thread.submit(self._gather, then)
        return _sent(pixels, self._device).permute(0, 3, 1, 2), _sent(class_ids, self._device)

    def close(self) -> None:
        """See Feed."""
        self._next = None
        self._thread.shutdown(cancel_futures=True)

    def _gather(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        pixels, class_ids = torch.from_numpy(self._cache[rows]), torch.from_numpy(self._class_ids[rows])
        if self._device.type == "cuda":
            return pixels.pin_memory(), class_ids.pin_memory()
        return pixels, class_ids


def _sent(values: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and not values.is_pinned():
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
