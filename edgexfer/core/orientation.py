"""Orientation: how an image must be turned, from what its file says of it (EXIF, or else XMP).

Only this one number is read. Pillow's EXIF reader would read every entry, warn of each that is damaged, and in some of
its releases fetch far more bytes than the file has; all of that for numbers that nobody asked for.
"""

from __future__ import annotations

import re
import struct

UPRIGHT = 1
ORIENTATION_TAG = 0x0112
_KINDS = {1: "B", 3: "H", 4: "L"}
_MOST_ENTRIES = 1000
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def from_exif(data: bytes) -> int | None:
    """Returns 1 to 8 from a block of EXIF, with or without its 6 bytes of header; None where it says nothing right."""
    block = data[6:] if data.startswith(b"Exif\0\0") else data
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return None
    try:
        (place,) = struct.unpack_from(order + "L", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, place)
        for number in range(min(entries, _MOST_ENTRIES)):
            tag, kind, count = struct.unpack_from(order + "HHL", block, place + 2 + 12 * number)
            if tag == ORIENTATION_TAG and count == 1:
                return valid(struct.unpack_from(order + _KINDS[kind], block, place + 10 + 12 * number)[0])
    except (struct.error, KeyError):
        pass
    return None


def from_xmp(data: bytes) -> int | None:
    """Returns 1 to 8 from a block of XMP, or None."""
    found = _XMP.search(data)
    return int(found[1]) if found else None


def valid(value: int) -> int | None:
    """Returns `value` where it is an orientation, else None."""
    return value if 1 <= value <= 8 else None
