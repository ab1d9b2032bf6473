"""The agent's folder on the device: its layout, its locks, and what is swept from it.

`lock` is held while something is registered or removed; `runs/ID/lock` for as long as the agent ID lives. The system
lets go of both when a process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KINDS = ("python", "deps", "bundles", "data")
# How many of each stay when nobody uses them, the last used first.
KEPT = {"python": 3, "deps": 3, "bundles": 8, "data": 4}
# What was sent but never used waits this long for a run that goes on where another was interrupted.
UNUSED_S = 24 * 3600
# How long to wait for another run of this user: at the store, which each holds for moments, and at the device itself.
STORE_S = 120.0
DEVICE_S = 4 * 3600.0
_POLL_S = 0.1


class RefusalError(Exception):
    """Something the user can mend, with its hint; told to the other side as it is."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Home:
    """The folder, and this agent's own `runs/ID/` in it.

    Attributes:
        root: `~/.cache/edgexfer/on`.
        files: the store.
        run: this agent's scratch; gone when it leaves.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = root / "files"
        root.mkdir(mode=0o700, parents=True, exist_ok=True)  # what lies here is executed
        for name in ("files", "runs", *KINDS):
            (root / name).mkdir(exist_ok=True)
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{secrets.token_hex(3)}"
        self.run = root / "runs" / name
        with self.locked():
            self._sweep()
            self.run.mkdir(mode=0o700)
            self._lock = os.open(self.run / "lock", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the whole home; keep it short. Raises RefusalError where another run does not."""
        handle = os.open(self.root / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            _wait_for(handle, STORE_S, self.root, lambda _: None)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def busy(self, waiting: Callable[[str], None]) -> Iterator[None]:
        """Holds the device, so that no other run of this user measures or builds there at the same time.

        Args:
            waiting: called again and again, with who it is, while another run has to end first; what it raises ends
                the waiting.

        Raises:
            RefusalError: the other run did not end for hours.
        """
        handle = os.open(self.root / "busy", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            _wait_for(handle, DEVICE_S, self.root, waiting)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """Yields a path in `runs/ID/` where nothing is yet; what lies there at the end is removed."""
        path = self.run / f"{name}-{secrets.token_hex(4)}"
        try:
            yield path
        finally:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def use(self, kind: str, name: str) -> Path:
        """Marks `kind/name` as used by this run, so that no other removes it, and returns its path."""
        path = self.root / kind / name
        with self.locked():
            with (self.run / "uses").open("a", encoding="utf-8") as uses:
                uses.write(f"{kind}/{name}\n")
            with suppress(FileNotFoundError):
                os.utime(path)
        return path

    def place(self, stage: Path, place: Path) -> None:
        """Renames the finished folder `stage` to `place`; where another run was faster, its folder stays."""
        with self.locked():
            if not place.exists():
                stage.rename(place)

    def leave(self) -> None:
        """Removes this agent's scratch."""
        shutil.rmtree(self.run, ignore_errors=True)

    def trim(self) -> None:
        """Removes what no living run uses and was not used of late, then files that nothing links to."""
        with self.locked():
            self._sweep()
            used = self._in_use()
            for kind, kept in KEPT.items():
                idle = [path for path in (self.root / kind).iterdir() if f"{kind}/{path.name}" not in used]
                idle.sort(key=lambda path: path.stat().st_mtime, reverse=True)
                for path in idle[kept:]:
                    shutil.rmtree(path, ignore_errors=True)
            for path in self.files.iterdir():
                with suppress(FileNotFoundError):
                    state = path.stat()
                    if state.st_nlink == 1 and time.time() - state.st_mtime > UNUSED_S:
                        path.unlink()

    def _sweep(self) -> None:
        for folder in (self.root / "runs").iterdir():
            if not _alive(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _in_use(self) -> set[str]:
        used: set[str] = set()
        for folder in (self.root / "runs").iterdir():
            with suppress(FileNotFoundError):
                used.update((folder / "uses").read_text(encoding="utf-8").split())
        return used


def home_path() -> Path:
    """Returns where the home lies: in XDG_CACHE_HOME, or else in ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says that a relative path there is to be ignored.
    return (Path(cache) if cache.startswith("/") else Path.home() / ".cache") / "edgexfer" / "on"


def _alive(folder: Path) -> bool:
    try:
        handle = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


def _wait_for(handle: int, wait_s: float, root: Path, waiting: Callable[[str], None]) -> None:
    # The holder writes into the file who it is; the lock itself is the system's, and ends with its holder.
    began = time.monotonic()
    while not _lock(handle):
        holder = os.pread(handle, 200, 0).decode("utf-8", "replace") or "process unknown"
        if time.monotonic() - began > wait_s:
            raise RefusalError(
                f"another run holds {root} ({holder}); waited {wait_s:.0f} s for it",
                "end that one on the device, and run this again",
            )
        waiting(holder)
        time.sleep(_POLL_S)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode(), 0)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
