"""A TIFF file with a directory of our own: its first page, and of what is said of it only what pixels are made from.

A directory is a list of (tag, type, count, place), and says itself where it and everything else lies. Here each entry
is checked against the file, then those that decoding needs are written behind it, as the only page. So neither Pillow
nor libtiff meets further pages (in circles or not), profiles, EXIF or entries that lie about their size.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from edgexfer.core.errors import ImageError
from edgexfer.core.image_parts import Parts, TruncatedError
from edgexfer.core.orientation import UPRIGHT, valid

_HEADS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_WIDTH, _HEIGHT, _COMPRESSION, _ORIENTATION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 274, 322, 323
_NUMBERS = {
    256,
    257,
    258,
    259,
    262,
    266,
    273,
    277,
    278,
    279,
    284,
    317,
    320,
    322,
    323,
    324,
    325,
    338,
    339,
    512,
    529,
    530,
    531,
    532,
}
_OPTIONS = {292, 293, 347}  # of fax, and the tables of JPEG
_ONE = {256, 257, 259, 262, 266, 274, 277, 278, 284, 292, 293, 317, 322, 323}
_TYPES = {1: ("B", 1), 3: ("H", 2), 4: ("L", 4), 7: ("B", 1), 16: ("Q", 8), 5: ("Q", 8)}
COMPRESSIONS = {
    1: "none",
    2: "CCITT",
    3: "CCITT",
    4: "CCITT",
    5: "LZW",
    7: "JPEG",
    8: "Deflate",
    32773: "PackBits",
    32946: "Deflate",
}
_MOST_ENTRIES = 4096
_MOST_VALUES = 400_000
_MOST_TILE_PIXELS = 16_000_000


def tiff_parts(data: bytes) -> Parts:
    """Takes the first page of a TIFF or BigTIFF.

    Raises:
        TruncatedError: something lies beyond the file's end.
        ValueError: its directory makes no sense.
        ImageError: its compression is none of `COMPRESSIONS`.
    """
    order, big = _HEADS[data[:4]]
    try:
        (place,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
        if not 0 < count <= _MOST_ENTRIES:
            raise ValueError(f"its directory has {count:,} entries, expected 1 to {_MOST_ENTRIES:,}")
        entries = _entries(data, order, big, place + (8 if big else 2), count)
    except (struct.error, OverflowError) as error:
        raise TruncatedError("its directory is not whole") from error
    one = {tag: _first(data, order, *entry) for tag, entry in entries.items() if tag in _ONE}
    if _WIDTH not in one or _HEIGHT not in one:
        raise ValueError("it does not say its size")
    compression = one.pop(_COMPRESSION, 1)
    if compression not in COMPRESSIONS:
        known = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise ImageError(f"is a TIFF with compression {compression}, expected {known}")
    tile = one.get(_TILE_WIDTH, 0) * one.get(_TILE_HEIGHT, 0)
    if tile > _MOST_TILE_PIXELS:
        raise ValueError(f"a tile of it has {tile:,} pixels, expected {_MOST_TILE_PIXELS:,} at most")
    kept = [(tag, entry) for tag, entry in sorted(entries.items()) if tag != _ORIENTATION]
    orientation = valid(one.get(_ORIENTATION, UPRIGHT)) or UPRIGHT
    return Parts(_with_directory(data, order, big, kept), (one[_WIDTH], one[_HEIGHT]), orientation)


def _entries(data: bytes, order: str, big: bool, place: int, count: int) -> dict[int, tuple[int, int, int, bytes]]:
    # {tag: (type, count, where its values lie, the entry as it is written)}, checked
    found: dict[int, tuple[int, int, int, bytes]] = {}
    total = 0
    length, inline = (20, 8) if big else (12, 4)
    for start in range(place, place + length * count, length):
        if start + length > len(data):
            raise TruncatedError("its directory is not whole")
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHL"), data, start)
        if tag in found or tag not in _NUMBERS | _OPTIONS | {_ORIENTATION}:
            continue
        if kind not in _TYPES:
            raise ValueError(f"its entry {tag} has type {kind}, expected numbers")
        most = 1 if tag in _ONE else _MOST_VALUES
        if not 0 < values <= most:
            raise ValueError(f"its entry {tag} has {values:,} values, expected 1{f' to {most:,}' if most > 1 else ''}")
        size, where = values * _TYPES[kind][1], start + length - inline
        if size > inline:
            (where,) = struct.unpack_from(order + ("Q" if big else "L"), data, where)
        total += size
        if where + size > len(data) or total > len(data):
            raise TruncatedError(f"its entry {tag} lies beyond its end")
        found[tag] = kind, values, where, data[start : start + length]
    return found


def _first(data: bytes, order: str, kind: int, _count: int, where: int, _entry: bytes) -> int:
    return int(struct.unpack_from(order + _TYPES[kind][0], data, where)[0])


def _with_directory(
    data: bytes, order: str, big: bool, kept: Sequence[tuple[int, tuple[int, int, int, bytes]]]
) -> bytes:
    # On an even place, as the format wants it, with no directory after it.
    padding = bytes(len(data) % 2)
    place = len(data) + len(padding)
    directory = struct.pack(order + ("Q" if big else "H"), len(kept)) + b"".join(entry[3] for _, entry in kept)
    head = data[:8] + struct.pack(order + "Q", place) if big else data[:4] + struct.pack(order + "L", place)
    return b"".join([head, data[len(head) :], padding, directory, bytes(8 if big else 4)])
