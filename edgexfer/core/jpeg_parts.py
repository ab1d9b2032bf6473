"""A JPEG file, up to its first scan: what decoding needs of it, and nothing else.

Kept are tables, frame and scans, and of the application segments JFIF's and Adobe's, by which decoders choose the
colours. ICC profiles, EXIF with its thumbnails, XMP, MPF and comments stay behind: they come from strangers, have
parsers of their own, and change no pixel here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgexfer.core.image_parts import MOST_PARTS, Parts, TruncatedError
from edgexfer.core.orientation import UPRIGHT, from_exif, from_xmp

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_START_OF_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1
_LEFT_OUT = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # APP1 to APP13, APP15, comments
_BARE = {0x01, 0xD8, *range(0xD0, 0xD8)}  # markers without a length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_MARKER = re.compile(rb"\xff([^\0\xff])", re.DOTALL)  # not what is padding, or an escaped byte of junk
_SCAN = b"\xff\xda"
_SCANS = re.compile(_SCAN)
_QUICKLY = 1 << 20  # bytes; a regular expression finds scans in a third of the time, but keeps each that it has found


def jpeg_parts(data: bytes) -> Parts:
    """Takes a JPEG apart.

    Args:
        data: the file; of several pictures in one (MPO) the first counts.

    Raises:
        TruncatedError: it ends before its first scan.
        ValueError: its segments make no sense.
    """
    kept: list[bytes] = []
    size: tuple[int, int] | None = None
    exif: int | None = None
    xmp: int | None = None
    place = 2
    for marker, segment, place in _segments(data):  # noqa: B007 - where the last one ends, the scans begin
        if marker in _FRAMES and len(segment) >= 10:
            size = int.from_bytes(segment[7:9], "big"), int.from_bytes(segment[5:7], "big")
        if marker == _APP1 and segment[4:10] == b"Exif\0\0":
            exif = exif or from_exif(segment[4:])
        elif marker == _APP1 and segment[4:].startswith(_XMP):
            xmp = xmp or from_xmp(segment)
        elif marker not in _LEFT_OUT:
            kept.append(segment)
    if size is None:
        raise ValueError("no frame before its first scan")
    with memoryview(data)[place:] as scans:
        whole = b"".join([b"\xff\xd8", *kept, scans])
        passes = len(_SCANS.findall(scans)) if len(scans) < _QUICKLY else data.count(_SCAN, place)
    return Parts(whole, size, exif or xmp or UPRIGHT, passes=passes)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    # Yields (marker, the whole segment, where it ends) up to the first scan.
    place = 2
    for _ in range(MOST_PARTS):
        found = _MARKER.search(data, place)
        if found is None or found[1][0] == _END:
            raise TruncatedError("it ends before its pixels")
        marker, place = found[1][0], found.start(1) - 1
        if marker in _BARE:
            place += 2
            continue
        if marker == _START_OF_SCAN:
            yield marker, b"", place
            return
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place : place + 2 + length]
        place += 2 + length
        if length < 2 or place > len(data):
            raise TruncatedError("a segment is longer than the file")
        yield marker, segment, place
    raise ValueError(f"more than {MOST_PARTS:,} segments")
