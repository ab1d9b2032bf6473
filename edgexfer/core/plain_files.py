"""Plain files: what is opened of an artifact that came from strangers, and nothing else that a path may lead to.

A name in a manifest or an archive is a relative path with forward slashes that stays inside its folder. What lies there
must be a regular file that is reached through no link: a link leads out of the folder, a pipe never ends, and a device
such as /dev/zero has no size.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

_MOST_NAME_BYTES = 240
_CHUNK_BYTES = 1 << 20
# On systems that have them: do not follow a link, and do not wait for a pipe that was put there in between.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def why_no_name(name: object) -> str:
    """Returns why `name` cannot be that of a file inside a folder, on any system; "" where it can."""
    if not isinstance(name, str) or not name:
        return "it is no text"
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        return "it leads out of the folder"
    if not name.isprintable() or path.as_posix() != name or name == ".":
        return "it is not written plainly"
    if len(name.encode("utf-8", "replace")) > _MOST_NAME_BYTES:
        return f"it is longer than {_MOST_NAME_BYTES} bytes"
    return ""


def same_to_some_system(names: Iterable[str]) -> tuple[str, str] | None:
    """Returns two of `names` that are one file where letters of either case or Unicode form are the same, or None."""
    found: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if folded in found:
            return found[folded], name
        found[folded] = name
    return None


def why_not_plain(folder: Path, name: str) -> str:
    """Returns why `name` is no regular file below `folder` reached without a link; "" where it is one."""
    parts = PurePosixPath(name).parts
    path = folder
    for number, part in enumerate(parts, start=1):
        path /= part
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            return error.strerror or "it cannot be read"
        if stat.S_ISLNK(mode):
            return "it is a link" if number == len(parts) else f"{part} is a link"
        if number == len(parts) and not stat.S_ISREG(mode):
            return "it is no regular file"
    return ""


def size_of(path: Path) -> int:
    """Returns the size in bytes of the file at `path` itself, not of one that it links to."""
    return path.lstat().st_size


def sha256_of_plain(path: Path) -> str:
    """Returns the SHA-256 of a regular file as 64 hexadecimal digits; raises OSError where it is none."""
    digest = hashlib.sha256()
    descriptor = _open(path)
    try:
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            digest.update(chunk)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def read_plain(path: Path, most_bytes: int) -> bytes:
    """Returns the content of a regular file.

    Raises:
        OSError: it cannot be opened, or is no regular file.
        ValueError: it holds more than `most_bytes`.
    """
    with os.fdopen(_open(path), "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"larger than {most_bytes:,} bytes")
    return data


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Returns the content of a regular file of the user's own, to which links may lead.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device, neither of which is waited for.
        OverflowError: it holds more than `most_bytes`; the message says how much.
    """
    with os.fdopen(_open(path, _FLAGS & ~getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > most_bytes:
            raise OverflowError(f"is a file of {size_bytes >> 20} MiB")
        return file.read(most_bytes)


def read_tail(path: Path, size_bytes: int) -> bytes:
    """Returns the last bytes of a regular file, all of a shorter one; raises OSError where it is none."""
    with os.fdopen(_open(path), "rb") as file:
        file.seek(-min(size_bytes, os.fstat(file.fileno()).st_size), os.SEEK_END)
        return file.read(size_bytes)


def _open(path: Path, flags: int = _FLAGS) -> int:
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(f"{path} is no regular file")
    return descriptor
