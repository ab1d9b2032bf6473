"""Which 8-bit instructions an emulated program ran: read from QEMU's log of what it translated (`-d in_asm`).

QEMU translates a block of code when it is about to run for the first time, so what is not in the log did not run.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

# (bits that are fixed, their value) by the Arm Architecture Reference Manual: A64 with vectors, with an element, SVE.
# Dot and matrix products of four or eight pairs a lane add up in 32 bits; before sadalp does, two are summed in 16.
_ENCODINGS = {
    "sadalp": ((0xBF3FFC00, 0x0E206800),),
    "udot": ((0xBFE0FC00, 0x2E809400), (0xBFC0F400, 0x2F80E000), (0xFFE0FC00, 0x44800400)),
    "sdot": ((0xBFE0FC00, 0x0E809400), (0xBFC0F400, 0x0F80E000), (0xFFE0FC00, 0x44800000)),
    "usdot": ((0xBFE0FC00, 0x0E809C00), (0xBFC0F400, 0x0F80F000)),
    "ummla": ((0xFFE0FC00, 0x6E80A400), (0xFFE0FC00, 0x45C09800)),
    "smmla": ((0xFFE0FC00, 0x4E80A400), (0xFFE0FC00, 0x45009800)),
    "usmmla": ((0xFFE0FC00, 0x4E80AC00), (0xFFE0FC00, 0x45809800)),
}
KNOWN = tuple(_ENCODINGS)
_LINE = re.compile(r"0x[0-9a-f]+:  ([0-9a-f]{8})  ")


def products_in(log: Path) -> Counter[str]:
    """Returns how many different instructions of each kind in KNOWN stand in the log of an emulated Arm program."""
    found: Counter[str] = Counter()
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if match := _LINE.match(line):
                word = int(match[1], 16)
                found.update(
                    name
                    for name, encodings in _ENCODINGS.items()
                    if any(word & fixed == value for fixed, value in encodings)
                )
    return found
