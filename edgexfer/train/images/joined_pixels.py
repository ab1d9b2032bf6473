"""Pixels from several places as one cache, so that a Trainee can draw its batches from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexfer.train.images.pixel_cache import PixelCache

_BATCH = 256

Pixels: TypeAlias = PixelCache | NDArray[np.uint8]


def joined_pixels(parts: Sequence[tuple[Pixels, NDArray[np.int64]]]) -> PixelCache:
    """Copies rows of several sources into one cache, one source after the other; close it when done.

    Args:
        parts: what has the rows, uint8 [rows, H, W, 3] all of one size, and which of them to take. One of the sources
            at least is a cache: its preprocessing becomes the result's.
    """
    preprocess = next(pixels.preprocess for pixels, _ in parts if isinstance(pixels, PixelCache))
    result = PixelCache(sum(len(rows) for _, rows in parts), preprocess)
    at = 0
    for pixels, rows in parts:
        for start in range(0, len(rows), _BATCH):
            taken = pixels[rows[start : start + _BATCH]]
            result.put(at, taken)
            at += len(taken)
    return result
