"""Files that are whole or absent, written beside their place and renamed into it; and locks that die with their holder.

Content is flushed to the disk before the rename, the folder that names it afterwards: also after a power cut there is
the old file or the new one. See docs/reliability.md.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgexfer.core.errors import BusyError, EdgexferError
from edgexfer.core.holder import holder_of_folder
from edgexfer.core.replace import sync_folder

_CHUNK_BYTES = 1 << 20
_POLL_S = 0.02
_SAID_AFTER_S = 5.0

log = logging.getLogger(__name__)


def sha256_of_bytes(data: bytes) -> str:
    """Returns the SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Returns the SHA-256 of the file's content as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def explained_write(path: Path) -> Iterator[None]:
    """Turns the system's refusal to write at `path` into an EdgexferError that names it.

    Raises:
        EdgexferError: no permission, disk full, read-only, or a parent that is a file.
    """
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "free some space, or write to another disk",
            errno.EDQUOT: "your quota is used up: free some space, or write to another disk",
            errno.EACCES: "choose a place that you may write to",
            errno.EPERM: "choose a place that you may write to",
            errno.EFBIG: "files may not become as large there: see `ulimit -f`",
            errno.EIO: "the disk fails there: choose another one",
            errno.EROFS: "that file system is read-only: choose another place",
            errno.ENOTDIR: "a part of that path is a file: choose another place",
            errno.EEXIST: "a part of that path is a file: choose another place",
            errno.EISDIR: "that is a folder: name a file in it",
            errno.ENAMETOOLONG: "choose a shorter name",
            errno.ELOOP: "a symbolic link is in the way: remove it, or choose another place",
        }
        if error.errno == errno.ENOENT and _lies_on(path, error.filename):
            hints[errno.ENOENT] = "no folder can be made there: choose another place"
        if error.errno not in hints:
            raise
        raise EdgexferError(f"cannot write {path}: {error.strerror}", hints[error.errno]) from error


def _lies_on(path: Path, named: object) -> bool:
    # Whether the system complains of the way to `path`, not of a file somewhere in a stage beside it.
    return isinstance(named, str) and (Path(named) in path.parents or Path(named).parent == path.parent)


def write_file(path: Path, data: bytes | str) -> None:
    """Writes `data` to `path` through a temporary sibling, so that `path` is never half-written.

    A sibling that a killed process left for the same `path` is removed. A device or pipe (/dev/stdout) is written to as
    it is.

    Raises:
        EdgexferError: `path` cannot be written.
    """
    import secrets  # noqa: PLC0415 - as above

    raw = data.encode() if isinstance(data, str) else data
    with explained_write(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as device:
                device.write(raw)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_files(path)
        written = False
        while not written:
            written = _written(path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp"), path, raw)
        sync_folder(path.parent)


def _written(stage: Path, path: Path, raw: bytes) -> bool:
    # False where another process took `stage` for a leftover before it was locked.
    lock = None
    try:
        with stage.open("wb") as file:
            lock = lock_folder(stage)  # from here on it says that its maker lives
            if not stage.exists():
                return False
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
            stage.replace(path)
            return True
    finally:
        stage.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def remove_stale_files(path: Path) -> None:
    """Removes what a killed process left beside `path` when it wrote there; what a living one writes stays."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")
    try:
        found = [Path(entry.path) for entry in os.scandir(path.parent) if ours.fullmatch(entry.name)]
    except OSError:  # one may write into the folder and not list it
        return
    for stage in found:
        lock = lock_folder(stage, wait=False)
        if lock is not None:
            with suppress(OSError):
                stage.unlink(missing_ok=True)
            os.close(lock)


@contextmanager
def locked_folder(folder: Path, *, shared: bool = False, wait_s: float = 3600.0) -> Iterator[bool]:
    """Keeps other processes that call this for the same folder waiting, until the block ends.

    The lock is the system's own on the folder itself: no file is left behind, and it ends with its process.

    Args:
        folder: where it does not exist there is nothing to lock.
        shared: let others in that are shared too: for those who read.
        wait_s: how long to wait for another process; after 5 s it is said that one waits, and for whom.

    Yields:
        Whether the lock is held; False where the folder is missing, or the system or file system has no such locks.

    Raises:
        BusyError: another process held it for as long as that.
    """
    descriptor = lock_folder(folder, shared=shared, wait_s=wait_s)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def lock_folder(folder: Path, *, shared: bool = False, wait: bool = True, wait_s: float = 3600.0) -> int | None:
    """Locks a folder, or a file, until the descriptor that it returns is closed, or this process has ended.

    Returns:
        None where the folder is missing, another process has it and `wait` is False, or the system has no such locks.

    Raises:
        BusyError: it was waited for during `wait_s`.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on every system

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    began, said = time.monotonic(), False
    try:
        while True:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                waited_s = time.monotonic() - began
                if not wait:
                    break
                if waited_s >= wait_s:
                    raise BusyError(
                        f"{folder} is in use by {holder_of_folder(folder)}; waited {waited_s:.0f} s for it",
                        "let that one end, or end it, and run this again",
                    ) from None
                if not said and waited_s >= _SAID_AFTER_S:
                    said = True
                    log.warning("waiting for %s, which uses %s", holder_of_folder(folder), folder)
                time.sleep(_POLL_S)
            else:
                return descriptor
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):  # a network file system that refuses to lock a folder
            return None
        raise
    os.close(descriptor)
    return None
