"""A PNG file without what is no pixel: texts, colour profiles, EXIF, the frames of an animation, unknown chunks.

They come from strangers, some of them inflate to much more than they are, and a damaged one is no reason to refuse the
pixels beside it. Of an animation (APNG) the picture that every reader shows counts.
"""

from __future__ import annotations

import re
import zlib

from edgexfer.core.image_parts import MOST_PARTS, Parts, TruncatedError
from edgexfer.core.orientation import from_exif, from_xmp

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_XMP = b"XML:com.adobe.xmp\0\0"
_RAW_EXIF = b"Raw profile type exif\0"
_MOST_RAW_BYTES = 1 << 17


def png_parts(data: bytes) -> Parts:
    """Takes a PNG apart. What is behind its last chunk is passed over, and so are sums of chunks that are left out.

    Raises:
        TruncatedError: it ends before its head does.
        ValueError: more chunks than any image has.
    """
    if len(data) < 33:
        raise TruncatedError("its head is not whole")
    size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    kept, place = [SIGNATURE], len(SIGNATURE)
    found: dict[bytes, int] = {}
    for _ in range(MOST_PARTS):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if kind in _KEPT:
            kept.append(data[place : place + 12 + length])
        elif kind not in found and (turn := _orientation(kind, data[place + 8 : place + 8 + length])):
            found[kind] = turn
        place += 12 + length
        if kind == b"IEND" or place >= len(data):
            return Parts(
                b"".join(kept),
                size,
                next((found[kind] for kind in (b"eXIf", b"zTXt", b"tEXt", b"iTXt") if kind in found), 1),
            )
    raise ValueError(f"more than {MOST_PARTS:,} chunks")


def _orientation(kind: bytes, body: bytes) -> int | None:
    if kind == b"eXIf":
        return from_exif(body)
    if kind == b"iTXt" and body.startswith(_XMP):
        return from_xmp(body)
    if not body.startswith(_RAW_EXIF):
        return None
    # As ImageMagick has it: its name, its length, and hexadecimal digits in lines; "zTXt" deflated.
    text = body[len(_RAW_EXIF) :]
    try:
        if kind == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], _MOST_RAW_BYTES)
        digits = re.sub(rb"[^0-9a-f]", b"", b"".join(text[:_MOST_RAW_BYTES].split(b"\n")[3:]))
        return from_exif(bytes.fromhex(digits[: len(digits) & ~1].decode()))
    except (zlib.error, ValueError):
        return None
