"""One process at a time on one place: a verb of minutes holds the place of what it makes.

The lock is the system's own (flock) on `.NAME.lock` beside the place, so it ends with its holder, however that ends. In
the file stands who holds it. It is removed at the end; one that a killed process left is nobody's, and is taken over.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgexfer.core.errors import BusyError
from edgexfer.core.files import explained_write
from edgexfer.core.holder import holder_by_note, note_of_holder
from edgexfer.core.staging import remove_leftovers

log = logging.getLogger(__name__)

_POLL_S = 0.2
_mine = threading.local()


@contextmanager
def held_place(out: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Keeps other processes from making `out` at the same time, and removes what killed ones left beside it.

    Within the block the same thread may hold it again. Where the file system knows no locks nothing is held.

    Args:
        out: what is about to be made or replaced; parents are created, and removed again where nothing came into them.
        wait_s: how long to wait for another process that holds it; that one waits is said.

    Raises:
        BusyError: another process, or thread, holds it, and did so for `wait_s`.
        EdgexferError: nothing can be written there.
    """
    place = f"{os.getpid()} {out.absolute()}"  # a child of fork() has this memory, and not the right
    held: set[str] = _mine.__dict__.setdefault("held", set())
    if place in held:
        yield
        return
    path = out.with_name(f".{out.name}.lock")
    missing = [parent for parent in out.absolute().parents if not parent.exists()]
    with explained_write(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _taken(path, out, wait_s)
    held.add(place)
    try:
        remove_leftovers(out)
        yield
    finally:
        held.discard(place)
        # Removed while it is still locked: who waits for it sees that the file it has locked is not there any more.
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):
            for parent in missing:
                parent.rmdir()


def _taken(path: Path, out: Path, wait_s: float) -> int:
    began, said = time.monotonic(), False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if _locked(descriptor):
                if _is_at(descriptor, path):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, note_of_holder(), 0)
                    return descriptor
                os.close(descriptor)  # its holder has just removed it
                continue
            waited_s = time.monotonic() - began
            if waited_s >= wait_s:
                waited = f"; waited {waited_s:.0f} s for it" if wait_s else ""
                raise BusyError(
                    f"{holder_by_note(path)} is at work on {out}{waited}",
                    "let it end, or end it; or choose another --out",
                )
        except BaseException:
            with suppress(OSError):
                os.close(descriptor)
            raise
        os.close(descriptor)
        if not said:
            said = True
            log.warning("waiting for %s, which is at work on %s", holder_by_note(path), out)
        time.sleep(min(_POLL_S, max(0.0, wait_s - waited_s)))


def _locked(descriptor: int) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - not on every system

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # no locks here: nothing can be held
        return True
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
