"""PixelCache: every image decoded and resized once, kept as one uint8 array [images, H, W, 3].

It lies in memory while it fits a budget, else in a nameless temporary file: nothing is left on the disk,
even after kill -9. Epochs read batches from it by index. Where several processes train together it is always the file,
and the others of this machine map it: one copy of the pixels, in the kernel's page cache, for all of them.
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexfer.core.errors import EdgexferError
from edgexfer.core.preprocess import Preprocess, Source, pixels, resize_image
from edgexfer.core.threads import Progress, in_threads
from edgexfer.train.processes.place import find_place

MAX_BUDGET_BYTES = 2 << 30
MEMORY_SHARE = 0.25
_ZEROS = 16 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheHandle:
    """What another process of this machine needs to map a cache that lies in a file.

    Attributes:
        path: the open file of the process that made it, /proc/PID/fd/N.
        identity: device and inode of that file, so that no other one is mapped by mistake.
        images: rows of the file.
        preprocess: of the cache.
        order: what `PixelCache.select` was given, or None.
        written: bool [images].
    """

    path: str
    identity: tuple[int, int]
    images: int
    preprocess: Preprocess
    order: NDArray[np.intp] | None
    written: NDArray[np.bool_]


@final
class PixelCache:
    """The pixels of a data set; close it when done, or use it as a context manager.

    Rows are written by `keep` (while `core.intake.inspect` decodes anyway) or by `fill`. Rows that were
    never written cost no memory and may not be read.

    Args:
        images: how many rows, 1 or more.
        preprocess: size and manner of the resize; rows are what `core.preprocess.pixels` gives.
        budget_bytes: up to here it lies in memory; `memory_budget()` by default.
        folder: for the temporary file; TMPDIR or /var/tmp by default, since /tmp is often memory itself.

    Raises:
        EdgexferError: the disk is too small for it, or the folder cannot be written.
    """

    def __init__(
        self, images: int, preprocess: Preprocess, *, budget_bytes: int | None = None, folder: Path | None = None
    ) -> None:
        self.preprocess = preprocess
        self.shape = (images, preprocess.height, preprocess.width, 3)
        self.size_bytes = images * preprocess.height * preprocess.width * 3
        self._file: IO[bytes] | None = None
        self._order: NDArray[np.intp] | None = None
        self._written = np.zeros(images, dtype=np.bool_)
        if self.size_bytes <= (memory_budget() if budget_bytes is None else budget_bytes):
            self._rows: NDArray[np.uint8] | None = np.zeros(self.shape, dtype=np.uint8)
            return
        where = _temporary_folder() if folder is None else folder
        if self.size_bytes >> 20:
            log.info("keeping %d MiB of decoded images in a temporary file in %s", self.size_bytes >> 20, where)
        self._file = _reserve(where, self.size_bytes)
        self._rows = np.memmap(self._file, dtype=np.uint8, mode="r+", shape=self.shape)

    @classmethod
    def mapped(cls, handle: CacheHandle) -> PixelCache:
        """Opens the cache of another process of this machine, to be read alone.

        Raises:
            OSError: it cannot be seen from here: another machine or container, another user, or no Linux.
        """
        file = open(handle.path, "rb")  # noqa: SIM115, PTH123 - held by the cache until close
        found = os.fstat(file.fileno())
        if (found.st_dev, found.st_ino) != handle.identity:
            file.close()
            raise FileNotFoundError(errno.ENOENT, "is another file here", handle.path)
        made = cls.__new__(cls)
        made.preprocess, made._file = handle.preprocess, file
        made.shape = (handle.images, handle.preprocess.height, handle.preprocess.width, 3)
        made.size_bytes = int(np.prod(made.shape))
        made._order, made._written = handle.order, handle.written
        made._rows = np.memmap(file, dtype=np.uint8, mode="r", shape=made.shape)
        return made

    def handle(self) -> CacheHandle | None:
        """Returns what `mapped` needs in another process; None while the pixels lie in this process's own memory."""
        if self._file is None:
            return None
        number = self._file.fileno()
        found = os.fstat(number)
        where, identity = f"/proc/{os.getpid()}/fd/{number}", (found.st_dev, found.st_ino)
        return CacheHandle(where, identity, self.shape[0], self.preprocess, self._order, self._written)

    @property
    def in_memory(self) -> bool:
        """Whether the pixels lie in memory and not in a file."""
        return self._file is None

    def keep(self, row: int, image: Image.Image) -> None:
        """Writes one row from an upright RGB image. Threads may write different rows at once.

        Args:
            row: 0-based.
            image: as `core.decode.decode(..., at_least=preprocess.at_least)` returns it.
        """
        self._array()[row] = resize_image(image, self.preprocess)
        self._written[row] = True

    def put(self, first: int, pixels_of: NDArray[np.uint8]) -> None:
        """Writes rows that were decoded elsewhere.

        Args:
            first: the first row.
            pixels_of: uint8 [rows, H, W, 3].
        """
        self._array()[first : first + len(pixels_of)] = pixels_of
        self._written[first : first + len(pixels_of)] = True

    def replace(self, rows: NDArray[np.integer[Any]], pixels_of: NDArray[np.uint8]) -> None:
        """Gives rows, as they are numbered after `select`, other pixels, uint8 [len(rows), H, W, 3]."""
        places = np.asarray(rows, dtype=np.intp) if self._order is None else self._order[rows]
        self._array()[places] = pixels_of
        self._written[places] = True

    def fill(self, sources: Sequence[Source], *, workers: int | None = None, progress: Progress | None = None) -> None:
        """Decodes `sources`, one for each row, in threads.

        Args:
            sources: what `core.decode.decode` takes.
            workers: threads; one for each CPU by default.
            progress: called with (done, all) after each image.

        Raises:
            ImageError: one of them cannot be decoded.
            ValueError: as many sources as rows are needed.
        """
        if len(sources) != len(self):
            raise ValueError(f"{len(sources)} sources for {len(self)} rows")
        rows = self._array()

        def one(row: int) -> None:
            rows[row] = pixels(sources[row], self.preprocess)
            self._written[row] = True

        in_threads(one, range(len(sources)), workers=workers, progress=progress)

    def select(self, order: NDArray[np.integer[Any]]) -> None:
        """Lets row i mean what row `order[i]` was until now; rows that are not in `order` are out of reach."""
        self._order = np.asarray(order, dtype=np.intp)

    def __len__(self) -> int:
        return self.shape[0] if self._order is None else len(self._order)

    def __getitem__(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Returns a copy of the rows, uint8 [len(rows), H, W, 3].

        Raises:
            IndexError: a row that does not exist or was never written.
        """
        wanted = np.asarray(rows, dtype=np.intp)
        if self._order is not None:
            wanted = self._order[wanted]
        if not self._written[wanted].all():
            raise IndexError(f"row {wanted[~self._written[wanted]][0]} of the pixel cache was never written")
        return np.asarray(self._array()[wanted])

    def close(self) -> None:
        """Frees memory and disk. May be called twice."""
        self._rows = None
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> PixelCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _array(self) -> NDArray[np.uint8]:
        if self._rows is None:
            raise ValueError("the pixel cache is closed")
        return self._rows


def memory_budget() -> int:
    """Returns how many bytes a cache may take in memory: 2 GiB, or a quarter of what is free where that is less.

    None where several processes train together: a file can be mapped by all of them.
    """
    if find_place().size > 1:
        return 0
    return min(MAX_BUDGET_BYTES, int(MEMORY_SHARE * _available_bytes()))


def _available_bytes() -> int:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # macOS has no such name: let the budget decide
        return int(MAX_BUDGET_BYTES / MEMORY_SHARE)
    # SC_AVPHYS_PAGES counts the page cache as used; the kernel knows better what it could give.
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    for line in _lines("/sys/fs/cgroup/memory.max"):  # a container's limit
        if line.strip().isdigit():
            free = min(free, int(line))
    return free


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def _temporary_folder() -> Path:
    if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):  # noqa: S108 - the file there has no name
        return Path("/var/tmp")  # noqa: S108
    return Path(tempfile.gettempdir())


def _reserve(folder: Path, size_bytes: int) -> IO[bytes]:
    # The blocks are taken now: a disk that fills up later would kill the process when it writes through the map.
    try:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - held by the cache until close
    except OSError as error:
        raise EdgexferError(
            f"cannot write decoded images to {folder}: {error.strerror}", "set TMPDIR to a folder you may write to"
        ) from error
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size_bytes)
        else:
            for start in range(0, size_bytes, _ZEROS):
                file.write(bytes(min(_ZEROS, size_bytes - start)))
            file.flush()
    except OSError as error:
        file.close()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise EdgexferError(
            f"{folder} has no room for {size_bytes >> 20} MiB of decoded images: {error.strerror}",
            "free some space, set TMPDIR to a folder on a larger disk, or choose a smaller input size",
        ) from error
    return file
