"""Files and folders that are whole or absent: written beside their place, then renamed into it."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgexfer.core.errors import EdgexferError

_CHUNK_BYTES = 1 << 20


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
            errno.EROFS: "that file system is read-only: choose another place",
            errno.ENOTDIR: "a part of that path is a file: choose another place",
            errno.EEXIST: "a part of that path is a file: choose another place",
            errno.EISDIR: "that is a folder: name a file in it",
            errno.ENAMETOOLONG: "choose a shorter name",
        }
        if error.errno == errno.ENOENT and _lies_on(path, error.filename):
            hints[errno.ENOENT] = "no folder can be made there: choose another place"
        if error.errno not in hints:
            raise
        raise EdgexferError(f"cannot write {path}: {error.strerror}", hints[error.errno]) from error


def _lies_on(path: Path, named: object) -> bool:
    # Whether the system complains of the way to `path`, not of a file somewhere in a stage beside it.
    return isinstance(named, str) and (Path(named) in path.parents or Path(named).parent == path.parent)


def replace_folder(source: Path, out: Path) -> None:
    """Renames the folder `source` to `out`; an older `out` is moved aside first and removed afterwards."""
    sync_tree(source)
    if not out.exists():
        source.rename(out)
        return
    # Imported by those who write: who only loads a bundle need not wait for them.
    import secrets  # noqa: PLC0415
    import shutil  # noqa: PLC0415

    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}.old")
    out.rename(aside)
    try:
        source.rename(out)
    except BaseException:
        aside.rename(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Flushes every file below `folder` to the disk, so that a rename never overtakes the content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def write_file(path: Path, data: bytes | str) -> None:
    """Writes `data` to `path` through a temporary sibling, so that `path` is never half-written.

    A device or pipe (/dev/stdout) is written to as it is.

    Raises:
        EdgexferError: `path` cannot be written.
    """
    import secrets  # noqa: PLC0415 - as above

    raw = data.encode() if isinstance(data, str) else data
    stage = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with explained_write(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as device:
                device.write(raw)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with stage.open("wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            stage.replace(path)
        finally:
            stage.unlink(missing_ok=True)


@contextmanager
def locked_folder(folder: Path, *, shared: bool = False) -> Iterator[bool]:
    """Keeps other processes that call this for the same folder waiting, until the block ends.

    The lock is the system's own on the folder itself: no file is left behind, and it ends with its process.

    Args:
        folder: where it does not exist there is nothing to lock.
        shared: let others in that are shared too: for those who read.

    Yields:
        Whether the lock is held; False where the folder is missing, or the system or file system has no such locks.
    """
    descriptor = lock_folder(folder, shared=shared)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def lock_folder(folder: Path, *, shared: bool = False, wait: bool = True) -> int | None:
    """Locks a folder until the descriptor that it returns is closed, or this process has ended.

    Returns:
        None where the folder is missing, another process has it and `wait` is False, or the system has no such locks.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on every system

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):  # taken, or a network file system that refuses to lock a folder
            return None
        raise
    return descriptor
