"""Small pictures whose classes a network can learn: coloured stripes with noise, and their pixel cache."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexfer.core.preprocess import Preprocess
from edgexfer.train.images.pixel_cache import PixelCache
from tests.images import put

_COLOURS = ((200, 60, 60), (60, 180, 70), (70, 80, 200), (190, 180, 60))


def stripes(kind: int, seed: int, side: int = 64, noise: float = 60.0) -> NDArray[np.uint8]:
    """A picture of class `kind`, 0 to 3: its colour, its direction of stripes, and noise; uint8 [side, side, 3]."""
    rng = np.random.default_rng([kind, seed])
    along = np.arange(side) if kind % 2 else np.arange(side)[:, None]
    wave = 40 * np.sin((along + rng.uniform(0, 20)) * rng.uniform(0.5, 0.9)) * np.ones((side, side))
    picture = np.array(_COLOURS[kind]) + wave[..., None] + rng.normal(0, noise, (side, side, 3))
    return picture.clip(0, 255).astype(np.uint8)


def png(picture: NDArray[np.uint8]) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def picture_tree(root: Path, counts: Sequence[int] = (12, 12), noise: float = 60.0) -> Path:
    """A folder of PNGs with the classes a, b, c ... and so many images in each."""
    for kind, count in enumerate(counts):
        for number in range(count):
            put(root / "abcd"[kind] / f"{number:03}.png", png(stripes(kind, number, noise=noise)))
    return root


def cache_of(pictures: Sequence[NDArray[np.uint8]]) -> PixelCache:
    """A pixel cache that holds the pictures, all of one size."""
    height, width = pictures[0].shape[:2]
    cache = PixelCache(len(pictures), Preprocess(height, width))
    for row, picture in enumerate(pictures):
        cache.keep(row, Image.fromarray(picture))
    return cache
