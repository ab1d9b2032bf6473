"""The end of a zip file, looked at before Python's zipfile makes an object of every entry that its directory lists.

Only plain archives are taken: one part, no comment, no ZIP64; so zipfile finds what is found here (APPNOTE.TXT 6.3.10,
section 4.3.16).
"""

from __future__ import annotations

import struct
from pathlib import Path

from edgexfer.core.plain_files import read_tail

_END = struct.Struct("<4s4H2IH")
_LOCATOR_BYTES = 20
_MOST_ENTRIES = 20_000
_MOST_DIRECTORY_BYTES = 8 << 20


def check_directory(file: Path | bytes) -> None:
    """Checks that the directory of a zip file, or of its content, is where and as large as a plain one is.

    Raises:
        OSError: the file cannot be read, or is no regular file.
        ValueError: it is no zip, or one of another kind than this edgexfer reads.
    """
    size = _LOCATOR_BYTES + _END.size
    tail = file[-size:] if isinstance(file, bytes) else read_tail(file, size)
    if len(tail) < _END.size or tail[-_END.size :][:4] != b"PK\5\6":
        raise ValueError("it does not end as a zip does, or has a comment")
    _, disk, first_disk, here, entries, size_bytes, _, comment = _END.unpack(tail[-_END.size :])
    if disk or first_disk or here != entries or comment:
        raise ValueError("it has a comment, or several parts")
    if tail[: -_END.size].startswith(b"PK\6\7") or entries == 0xFFFF or size_bytes == 0xFFFFFFFF:
        raise ValueError("it is a ZIP64 file")
    if entries > _MOST_ENTRIES or size_bytes > _MOST_DIRECTORY_BYTES:
        raise ValueError(f"it lists {entries} files in {size_bytes:,} bytes, {_MOST_ENTRIES} files at most are read")
