"""Likeness: which images show nearly the same: copies that were saved again, scaled, brightened or blurred.

Thumbnails in, pairs out. Two steps. Candidates are pairs whose perceptual hashes differ in few bits: 64 of them, one
for each low frequency of a discrete cosine transform of a small grey picture (Zauner 2010, "Implementation and
Benchmarking of Perceptual Image Hash Functions"). Alone that cries wolf: hands before the same wall have nearly the
same hash. So candidates are looked at again, and count where the pictures correlate, and still do without what the
whole set has in common. Two crops of one photograph, or one that was turned, are mostly not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
MOST_BITS = 14
"""Of 64, in which the hashes of a candidate may differ."""
LEAST_CORRELATION = 0.94
"""Of pictures, and of what is left of them without the mean of the set. See docs/data.md for how it was chosen."""
_FREQUENCIES = 8
_BLOCK = 1024
_CHECKED = 8192  # candidates looked at again at once: 32 MiB for each of their pictures
_LEAST_CONTRAST = 2.0  # of 255: below it a picture is one colour, and its hash is that of its noise


@dataclass(frozen=True, slots=True)
class Alike:
    """Two images that show nearly the same.

    Attributes:
        first: place of the one in the list that was searched.
        second: place of the other, larger than `first`.
        correlation: how much their pictures agree, LEAST_CORRELATION to 1.
    """

    first: int
    second: int
    correlation: float


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """Returns the small grey picture of an upright RGB image, uint8 [SIDE, SIDE]; the aspect ratio is lost."""
    grey = image.convert("L") if image.width * image.height < 4 * SIDE * SIDE else _reduced(image).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))


def near_duplicates(thumbnails: NDArray[np.uint8], within: NDArray[np.int64] | None = None) -> list[Alike]:
    """Finds the pairs of images that show nearly the same.

    n images take n^2 / 2 comparisons of 64-bit words in numpy, in blocks: 20,000 images 2 seconds on one core, 6 with
    numpy 1. Memory stays at a few MiB beside the thumbnails. A picture of one colour is like no other.

    Args:
        thumbnails: uint8 [n, SIDE, SIDE].
        within: int [n], such as classes: only images with the same number are compared. None: all are.

    Returns:
        Pairs, each once, in the order of `first` and `second`.
    """
    pictures = thumbnails.reshape(-1, SIDE * SIDE)
    telling = np.flatnonzero(pictures.std(axis=1) >= _LEAST_CONTRAST)
    if len(telling) < 2:
        return []
    common = _mean_picture(pictures, telling)
    hashes = _hashes(pictures, telling, common)
    found = []
    kinds = np.zeros(len(telling), np.int64) if within is None else within[telling]
    for first, second in _candidates(hashes, kinds):
        one, other = _levelled(pictures[telling[first]]), _levelled(pictures[telling[second]])
        whole = _correlation(one, other)
        own = _correlation(_levelled(one - common), _levelled(other - common))
        # Where all images are one, nothing is left without the mean, and the pictures alone decide.
        close = (whole >= LEAST_CORRELATION) & ((own >= LEAST_CORRELATION) | (whole >= 1 - 1e-6))
        found += [
            Alike(int(telling[a]), int(telling[b]), min(1.0, float(value)))
            for a, b, value in zip(first[close], second[close], whole[close], strict=True)
        ]
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def _reduced(image: Image.Image) -> Image.Image:
    # Whole pixels are averaged before the colours go: several times faster than to convert and resize all of them.
    factor = max(1, min(image.width, image.height) // (4 * SIDE))
    return image.reduce(factor) if factor > 1 else image


def _mean_picture(pictures: NDArray[np.uint8], telling: NDArray[np.int64]) -> NDArray[np.float32]:
    total = np.zeros(pictures.shape[1], np.float64)
    for start in range(0, len(telling), _BLOCK):
        total += _levelled(pictures[telling[start : start + _BLOCK]]).sum(axis=0)
    mean: NDArray[np.float32] = (total / len(telling)).astype(np.float32)
    return mean


def _hashes(pictures: NDArray[np.uint8], telling: NDArray[np.int64], common: NDArray[np.float32]) -> NDArray[np.uint64]:
    # A bit says whether a frequency is stronger than in the median image of the set, so that each bit tells them apart.
    cosine = _cosine()
    parts = []
    for start in range(0, len(telling), _BLOCK):
        own = _levelled(pictures[telling[start : start + _BLOCK]]) - common
        parts.append((cosine @ own.reshape(-1, SIDE, SIDE) @ cosine.T).reshape(len(own), -1))
    strengths = np.concatenate(parts)
    bits = strengths > np.median(strengths, axis=0)
    words: NDArray[np.uint64] = np.packbits(bits, axis=1).view(np.uint64).ravel()
    return words


def _cosine() -> NDArray[np.float32]:
    # The first rows of the discrete cosine transform (type II), float32 [_FREQUENCIES, SIDE].
    place = np.arange(SIDE) + 0.5
    return np.cos(np.pi / SIDE * np.arange(_FREQUENCIES)[:, None] * place).astype(np.float32)


def _candidates(
    hashes: NDArray[np.uint64], kinds: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            for other in range(start, len(rows), _BLOCK):
                against = rows[other : other + _BLOCK]
                near = _bits(hashes[block, None] ^ hashes[None, against]) <= MOST_BITS
                first, second = np.nonzero(near)
                later = against[second] > block[first]
                one, two = block[first[later]], against[second[later]]
                for begin in range(0, len(one), _CHECKED):
                    yield one[begin : begin + _CHECKED], two[begin : begin + _CHECKED]


def _bits(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    # The number of ones in each word, by halves (Warren 2012, "Hacker's Delight", 5-1). numpy has it from 2.0 on.
    if hasattr(np, "bitwise_count"):
        counted: NDArray[np.uint8] = np.bitwise_count(words)
        return counted
    odd, pairs, nibbles = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    words = words - ((words >> np.uint64(1)) & odd)
    words = (words & pairs) + ((words >> np.uint64(2)) & pairs)
    words = (words + (words >> np.uint64(4))) & nibbles
    return ((words * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.uint8)


def _levelled(pictures: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    # Mean 0 and standard deviation 1: brightness and contrast do not count.
    values = pictures.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    spread = values.std(axis=1, keepdims=True)
    levelled: NDArray[np.float32] = values / np.maximum(spread, 1e-6)
    return levelled


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    agreement: NDArray[np.float32] = np.einsum("np,np->n", one, other) / one.shape[1]
    return agreement
