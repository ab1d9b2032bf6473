"""Mutations of image files: from a number comes an image file, always the same one with the same Pillow."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgexfer.core.png_parts import SIGNATURE
from edgexfer.core.sample import IMAGE_SUFFIXES
from tests.hostile.image_seeds import chunk, exif, segment, with_segments
from tests.hostile.long import mutated

_ODD = (
    0,
    1,
    2,
    7,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    10_000,
    65_500,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
_SUFFIXES = sorted(IMAGE_SUFFIXES)
_HEAD = 80


@dataclass(frozen=True, slots=True)
class Mutant:
    """An image file.

    Attributes:
        name: of the file, with a suffix that says nothing of its content.
        kind: of what and how it was made.
        data: its content.
    """

    name: str
    kind: str
    data: bytes


def mutant(number: int, seeds: Mapping[str, bytes]) -> Mutant:
    """Makes the mutant of a number.

    Args:
        number: 0 or more.
        seeds: as `image_seeds` returns them.
    """
    dice = random.Random(number)
    seed = dice.choice(list(seeds))
    how = dice.choice(list(_WAYS))
    data = _WAYS[how](seeds[seed], dice)
    if how == "splice":
        other = seeds[dice.choice(list(seeds))]
        data = data[: dice.randrange(len(data) + 1)] + other[dice.randrange(len(other) + 1) :]
    return Mutant(f"{number:06}{dice.choice(_SUFFIXES)}", f"{seed}: {how}", data)


def _cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def _lie(data: bytes, dice: random.Random) -> bytes:
    # Another number, in some width and order of bytes, where heads have theirs.
    raw = bytearray(data)
    frames = [place for place in (data.find(b"\xff\xc0"), data.find(b"\xff\xc2"), data.find(b"\xff\xda")) if place > 0]
    for _ in range(dice.randint(1, 3)):
        start = dice.choice([0, 0, *frames, max(0, len(raw) - _HEAD)])
        place = min(start + dice.randrange(_HEAD), max(0, len(raw) - 4))
        number = dice.choice(_ODD)
        width = dice.choice([kind for kind in "BHL" if number < 256 ** struct.calcsize("<" + kind)])
        value = struct.pack(dice.choice("<>") + width, number)
        raw[place : place + len(value)] = value
    return bytes(raw)


def _lie_with_sums(data: bytes, dice: random.Random) -> bytes:
    # Of PNGs: a lie inside of a chunk, and the sum made right again, so that it is believed.
    if not data.startswith(SIGNATURE):
        return _lie(data, dice)
    chunks, place = [], len(SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = dice.randrange(len(chunks))
    kind, body = chunks[chosen]
    chunks[chosen] = kind, mutated(body, dice) if dice.random() < 0.5 else _lie(body + bytes(4), dice)[: len(body)]
    return SIGNATURE + b"".join(chunk(*each) for each in chunks)


def _junk_inside(data: bytes, dice: random.Random) -> bytes:
    # Profiles and EXIF that make no sense, where they belong.
    junk = dice.randbytes(dice.choice((0, 9, 99, 3000)))
    entries = [
        (
            dice.choice((0x0112, 0x8769, 0x8825, 0x0201, dice.randrange(65536))),
            dice.randrange(14),
            dice.choice(_ODD),
            dice.choice(_ODD),
        )
        for _ in range(dice.randint(1, 20))
    ]
    block = dice.choice((exif(*entries, after=junk), b"Exif\0\0" + junk, b"Exif\0\0MM\0*" + junk))
    if data.startswith(SIGNATURE):
        more = dice.choice(
            (chunk(b"eXIf", block[6:]), chunk(b"iCCP", b"x\0\0" + junk), chunk(b"acTL", junk), chunk(b"tRNS", junk))
        )
        return data[:33] + more + data[33:]
    if data.startswith(b"\xff\xd8"):
        more = (segment(0xE1, block), segment(0xE2, b"ICC_PROFILE\0" + junk), segment(0xE2, b"MPF\0" + block[6:]))
        return with_segments(
            data, dice.choice((*more, segment(0xED, b"Photoshop 3.0\0" + junk), segment(0xEE, b"Adobe" + junk)))
        )
    if data[:4] == b"RIFF":
        more = dice.choice((b"EXIF", b"ICCP", b"XMP ", b"ANMF")) + struct.pack("<I", len(junk)) + junk
        return data[:4] + struct.pack("<I", len(data) - 8 + len(more)) + data[8:] + more
    return junk + data if dice.random() < 0.2 else data + junk


def _again(data: bytes, dice: random.Random) -> bytes:
    # A stretch that comes many times over.
    place, length = dice.randrange(len(data) + 1), dice.choice((1, 4, 16, 300))
    return data[:place] + data[place : place + length] * dice.choice((2, 50, 2000)) + data[place:]


def _emptied(data: bytes, dice: random.Random) -> bytes:
    place, length = dice.randrange(len(data) + 1), dice.choice((4, 64, 2000))
    gone = data[place : place + length]
    return data[:place] + dice.choice((b"\0", b"\xff")) * len(gone) + data[place + length :]


_WAYS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "as it is": lambda data, _: data,
    "cut": _cut,
    "changed": mutated,
    "lie": _lie,
    "lie with sums": _lie_with_sums,
    "junk inside": _junk_inside,
    "again": _again,
    "emptied": _emptied,
    "splice": lambda data, _: data,
}
