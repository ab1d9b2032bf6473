"""A folder takes the place of another: flushed to the disk, then moved in one step, so that there is always one."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

_EXCHANGE, _HERE = 2, -100
"""RENAME_EXCHANGE and AT_FDCWD of Linux."""


def replace_folder(source: Path, out: Path) -> None:
    """Renames the folder `source` to `out`; an older `out` is removed afterwards.

    On Linux both change places in one step: at every moment there is an `out`. Where the file system cannot do that the
    older one is moved aside first.
    """
    sync_tree(source)
    if not out.exists():
        source.rename(out)
        sync_folder(out.parent)
        return
    if exchange(source, out):
        sync_folder(out.parent)
        remove_tree(source)
        return
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}.old")
    out.rename(aside)
    try:
        source.rename(out)
    except BaseException:
        aside.rename(out)
        raise
    sync_folder(out.parent)
    remove_tree(aside)


def exchange(one: Path, other: Path) -> bool:
    """Lets two paths on one file system change places, in one step; returns False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux, or a C library before glibc 2.28 and musl 1.2.6
        return False
    return bool(rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


def remove_tree(folder: Path) -> None:
    """Removes a folder, or a link to one, as far as it may."""
    if folder.is_symlink():
        with suppress(OSError):
            folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Flushes `folder` and all below it to the disk, so that a rename never overtakes the content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flushes the names in a folder to the disk, where the file system knows how to."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # one may write into it and not read it; or Windows
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)
