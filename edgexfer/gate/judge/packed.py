"""Packed: many integers as a few lines of text inside a JSON file, small and exact.

    {"shape": [40, 10], "lines": ["eNrt0...", ...]}

Integers are taken in C order, each but the first as its difference from the one before; the differences as 8 bytes,
little-endian, are laid out plane by plane (all lowest bytes first), compressed by zlib and written in base64, in lines
that a diff can show and a mail does not break. What is read is bounded by the shape before anything is decompressed.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import ArtifactError

MOST = 4_000_000
"""Integers in one packed array; more is no baseline."""
_DIMENSIONS = 2
_WIDTH = 96
_BYTES = 8
_LEVEL = 9


@dataclass(frozen=True)
class Packed:
    """Integers of an array of one or two dimensions.

    Attributes:
        shape: its sizes.
        lines: base64 of the compressed differences.
    """

    shape: tuple[int, ...]
    lines: tuple[str, ...]


def pack(values: NDArray[np.int64]) -> Packed:
    """Packs one integer or more, int64 [n] or [n, m]; the same values give the same text wherever zlib is the same."""
    differences = np.diff(values.reshape(-1), prepend=np.int64(0)).astype("<i8")
    planes = differences.view(np.uint8).reshape(-1, _BYTES).T.tobytes()
    text = base64.b64encode(zlib.compress(planes, _LEVEL)).decode("ascii")
    lines = tuple(text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH))
    return Packed(tuple(int(size) for size in values.shape), lines)


def unpack(packed: Packed, where: str) -> NDArray[np.int64]:
    """Returns the integers, in their shape.

    Args:
        packed: what `pack` made, or what somebody wrote.
        where: what is named in errors, such as the file and the key.

    Raises:
        ArtifactError: not base64, not zlib, more or fewer bytes than the shape says, or a shape that is none.
    """
    sizes = packed.shape
    if not 1 <= len(sizes) <= _DIMENSIONS or not all(1 <= size <= MOST for size in sizes) or math.prod(sizes) > MOST:
        raise ArtifactError(f"{where} has a shape of none or of more than {MOST} integers")
    count = math.prod(sizes)
    try:
        compressed = base64.b64decode("".join(packed.lines), validate=True)
        machine = zlib.decompressobj()
        planes = machine.decompress(compressed, count * _BYTES + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise ArtifactError(f"{where} is damaged: {error}") from error
    if len(planes) != count * _BYTES or not machine.eof or machine.unused_data:
        raise ArtifactError(f"{where} is damaged: it does not hold {count} integers")
    differences = np.frombuffer(planes, np.uint8).reshape(_BYTES, count).T.copy().view("<i8").reshape(-1)
    # Sums wrap around as the differences did, so that every integer comes back.
    return np.cumsum(differences, dtype=np.int64).reshape(packed.shape)
