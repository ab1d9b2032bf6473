"""Image parts: what decoding needs of an image file, size and orientation, found before any parser of Pillow's runs.

Bytes in, Parts out. JPEG, PNG, TIFF and GIF lose what has nothing to do with pixels, see also `jpeg_parts`, `png_parts`
and `tiff_parts`; of WebP and PPM only the head is read. Loops are bounded, and no pixel is inflated.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from edgexfer.core.orientation import UPRIGHT, from_exif, from_xmp

MOST_PARTS = 100_000
_BETWEEN = rb"(?:\s|#[^\r\n]{0,500}[\r\n])+"
_PPM = re.compile(rb"P([1-6])" + _BETWEEN + rb"(\d{1,9})" + _BETWEEN + rb"(\d{1,9})" + _BETWEEN + rb"(?:(\d{1,5})\s)?")
_FAST_MAXIMA = {5: (255, 65535), 6: (255,)}


class TruncatedError(ValueError):
    """The file ends too early; the message says where, in words that follow "truncated:"."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What of an image file goes to its decoder.

    Attributes:
        data: of the same format, with the same pixels.
        size: (width, height) as stored, in pixels; None where only the decoder finds out.
        orientation: 1 to 8, as EXIF counts.
        passes: how often a decoder goes over all pixels.
        slow: whether Pillow decodes it pixel by pixel in Python.
    """

    data: bytes
    size: tuple[int, int] | None = None
    orientation: int = UPRIGHT
    passes: int = 1
    slow: bool = False


def gif_parts(data: bytes) -> Parts:
    """Takes the first picture of a GIF: its screen, or more where the picture hangs over, its colours, and no comments.

    Raises:
        TruncatedError: it ends before its first picture.
        ValueError: its blocks make no sense.
    """
    width, height = _little(data, 6, 2), _little(data, 8, 2)
    first = place = 13 + _palette(data, 10)
    control = b""
    for _ in range(MOST_PARTS):
        kind = data[place : place + 1]
        if kind == b",":
            width = max(width, _little(data, place + 1, 2) + _little(data, place + 5, 2))
            height = max(height, _little(data, place + 3, 2) + _little(data, place + 7, 2))
            screen = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
            return Parts(b"".join([data[:6], screen, data[10:first], control, data[place:]]), (width, height))
        if kind in (b"", b";"):
            raise TruncatedError("no picture in it")
        if data[place : place + 3] == b"!\xf9\x04":
            # How it gives way to the next picture does not matter; which colour is clear does.
            control = b"!\xf9\x04" + bytes([_little(data, place + 3, 1) & 1]) + data[place + 4 : place + 7] + b"\0"
        place = _after_blocks(data, place + 2) if kind == b"!" else place + 1
    raise ValueError(f"more than {MOST_PARTS:,} blocks")


def webp_parts(data: bytes) -> Parts:
    """Reads a WebP's size from its head, and the orientation from its chunks EXIF or XMP."""
    kind = data[12:16]
    size: tuple[int, int] | None = None
    if kind == b"VP8X":
        size = 1 + _little(data, 24, 3), 1 + _little(data, 27, 3)
    elif kind == b"VP8L":
        bits = _little(data, 21, 4)
        size = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        size = _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    exif = xmp = None
    place = 12
    for _ in range(MOST_PARTS):
        if place + 8 > len(data):
            return Parts(data, size, exif or xmp or UPRIGHT)
        tag, length = data[place : place + 4], _little(data, place + 4, 4)
        if tag == b"EXIF" and exif is None:
            exif = from_exif(data[place + 8 : place + 8 + length])
        elif tag == b"XMP " and xmp is None:
            xmp = from_xmp(data[place + 8 : place + 8 + length])
        place += 8 + length + (length & 1)
    raise ValueError(f"more than {MOST_PARTS:,} chunks")


def ppm_parts(data: bytes) -> Parts:
    """Reads a PPM's head.

    Raises:
        ValueError: it is not written in the usual way.
    """
    found = _PPM.match(data[:4096])
    if found is None:
        raise ValueError("its head makes no sense")
    kind, width, height, largest = (int(part) if part else 0 for part in found.groups())
    fast = kind == 4 or largest in _FAST_MAXIMA.get(kind, ())
    return Parts(data, (width, height), slow=not fast)


def _little(data: bytes, place: int, length: int) -> int:
    if place + length > len(data):
        raise TruncatedError("its head is not whole")
    return int.from_bytes(data[place : place + length], "little")


def _palette(data: bytes, place: int) -> int:
    flags = _little(data, place, 1)
    return 3 * 2 << (flags & 7) if flags & 0x80 else 0


def _after_blocks(data: bytes, place: int) -> int:
    # A chain of blocks, each with its length before it, up to one of length 0.
    for _ in range(MOST_PARTS):
        length = _little(data, place, 1)
        place += 1 + length
        if not length:
            return place
    raise ValueError(f"more than {MOST_PARTS:,} blocks")
