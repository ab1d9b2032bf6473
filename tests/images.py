"""Image files good and bad, made with Pillow for the tests of what comes in."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(seed: int, size: tuple[int, int] = (24, 16), orientation: int = 1) -> bytes:
    """A JPEG of noise, (width, height); another seed gives other bytes."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(noise), "JPEG", exif=exif)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of `image` as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_bomb(side: int = 20_000) -> bytes:
    """A PNG of a few bytes that claims side x side pixels of 1 bit."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def put(path: Path, data: bytes) -> Path:
    """Writes `data` to `path` with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def good_tree(root: Path, classes: tuple[str, ...] = ("cats", "dogs"), images: int = 3) -> Path:
    """Class folders with different small JPEGs in each."""
    for number, name in enumerate(classes):
        for image in range(images):
            put(root / name / f"{image}.jpg", jpeg(1000 * number + image))
    return root
