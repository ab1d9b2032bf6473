"""Files by content on the device, and the folders that are put together from them by hard links."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from edgexfer.remote.agent.home import Home, RefusalError

_CHUNK_BYTES = 1 << 20


class Incoming:
    """Files that are being received, one after the other, into the run's scratch.

    After a failure the rest of that upload, which is on its way already, is passed over until `end` or `drop`.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.run / "incoming"
        self._expected = ""
        self._left = 0
        self._failed = False

    def begin(self, sha256: str, size_bytes: int) -> None:
        """Says which file comes next."""
        if not self._failed:
            self._attempt(lambda: self._begin(sha256, size_bytes))

    def part(self, data: bytes) -> None:
        """Takes the file's next bytes."""
        if not self._failed:
            self._attempt(lambda: self._part(data))

    def end(self) -> bool:
        """Says that the last file has come; returns False where one has failed before."""
        failed, self._failed = self._failed, False
        if not failed:
            self._finish()
        return not failed

    def drop(self) -> None:
        """Says that no more comes."""
        self._give_up()
        self._failed = False

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException:
            self._give_up()
            self._failed = True
            raise

    def _give_up(self) -> None:
        self._expected = ""
        self._path.unlink(missing_ok=True)

    def _begin(self, sha256: str, size_bytes: int) -> None:
        self._finish()
        self._expected, self._left = sha256, size_bytes
        self._digest = hashlib.sha256()
        self._file = self._path.open("wb", buffering=0)

    def _part(self, data: bytes) -> None:
        view = memoryview(data)
        while view:  # a write may be short where the disk is nearly full
            view = view[self._file.write(view) :]
        self._digest.update(data)
        self._left -= len(data)

    def _finish(self) -> None:
        if not self._expected:
            return
        expected, self._expected = self._expected, ""
        self._file.close()  # not flushed to the disk: what a power cut spoils, `missing` finds by its digest
        if self._left or self._digest.hexdigest() != expected:
            raise RefusalError("a file changed while it was being sent", "run it again")
        stored = self._home.files / expected
        with self._home.locked():
            # What another run sent meanwhile stays: replaced, the file would vanish in the middle of that run's `link`.
            if stored.exists():
                self._path.unlink()
            else:
                self._path.rename(stored)


def missing(home: Home, digests: Iterable[str]) -> list[str]:
    """Returns those of `digests` that are not in the store, each once; a file that has rotted there is removed."""
    absent: list[str] = []
    wanted = list(dict.fromkeys(digests))
    with home.locked():  # another run may be trimming the store: from here on these count as sent now
        for digest in wanted:
            with suppress(FileNotFoundError):
                os.utime(home.files / digest)
    for digest in wanted:
        path = home.files / digest
        try:
            whole = sha256_of(path) == digest
        except FileNotFoundError:
            absent.append(digest)
            continue
        if not whole:
            path.unlink(missing_ok=True)
            absent.append(digest)
    return absent


def require_space(home: Home, size_bytes: int) -> None:
    """Raises RefusalError where less than `size_bytes` is free."""
    free = shutil.disk_usage(home.root).free
    if free < size_bytes:
        raise RefusalError(
            f"{home.root} has {free / 1e6:.0f} MB free, {size_bytes / 1e6:.0f} MB are to be sent",
            "free some space there",
        )


def assemble(home: Home, kind: str, name: str, files: dict[str, str]) -> Path:
    """Makes `kind/DIGEST/name` out of the store, or mends it where it is there already.

    Args:
        home: the agent's home.
        kind: "bundles" or "data".
        name: of the folder inside.
        files: path in the folder -> SHA-256.

    Returns:
        The folder's path.
    """
    content = json.dumps([name, sorted(files.items())]).encode("ascii")
    place = home.use(kind, hashlib.sha256(content).hexdigest()[:16])
    if place.exists():
        _mend(home, place / name, files)
        return place / name
    with home.scratch(kind) as stage:
        for path, sha256 in files.items():
            target = stage / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            link(home.files / sha256, target)
        if kind == "bundles":
            _carry_engines(home, stage / name, name, set(files.values()))
        home.place(stage, place)
    return place / name


def link(source: Path, target: Path) -> None:
    """Makes `target` the same file as `source`, or a copy where the file system knows no hard links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS):
            raise
        shutil.copyfile(source, target)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of the file's content as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _mend(home: Home, folder: Path, files: dict[str, str]) -> None:
    # The store's files have just been verified (`missing`); what is not the same file any more is linked anew.
    for path, sha256 in files.items():
        source, target = home.files / sha256, folder / path
        if target.exists() and (source.samefile(target) or sha256_of(target) == sha256):
            continue
        with home.scratch("link") as anew:
            link(source, anew)
            target.parent.mkdir(parents=True, exist_ok=True)
            anew.replace(target)


def _carry_engines(home: Home, stage: Path, name: str, models: set[str]) -> None:
    # Engines are keyed by the model they were built from (edgexfer/core/engines.py): those that an older bundle of that
    # name holds for one of these models still fit, and whoever opens one checks its manifest.
    older = [path for path in (home.root / "bundles").glob(f"*/{glob.escape(name)}/engines") if path.is_dir()]
    for engines in sorted(older, key=lambda path: path.stat().st_mtime, reverse=True):
        for path in engines.iterdir():
            target = stage / "engines" / path.name
            with suppress(FileNotFoundError):  # a build that goes on there replaces what it has made before
                if path.name.startswith("timing-") and not target.exists():
                    target.parent.mkdir(exist_ok=True)
                    link(path, target)
                elif path.is_dir() and not target.exists() and _model_of(path) in models:
                    target.mkdir(parents=True)
                    for file in path.iterdir():
                        link(file, target / file.name)


def _model_of(engine: Path) -> str:
    try:
        return str(json.loads((engine / "manifest.json").read_bytes())["key"]["model_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
