"""Frames whose score was low, kept in a folder on this device until somebody says what they show.

    FOLDER/20261121T204501123456-0431-stop-1f.jpg    when (UTC), score 0.431, what the network took it for

They lie loose in it, in no class folder: a class that was guessed must not be trained on. Whoever has looked at one
moves it to FOLDER/<its class>/; `finetune FOLDER` then reads those and passes over the loose ones, and
`--unlabeled FOLDER` reads all. Only loose files with such a name count to the bound and are ever removed, the oldest
first. The folder is read anew before each is written, under its lock: the bound holds over restarts and for several
processes. Files come as they were; what was no file becomes a JPEG.
"""

from __future__ import annotations

import io
import logging
import math
import queue
import re
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from PIL import Image

from edgexfer.core.decode import Source, decode
from edgexfer.core.errors import EdgexferError, SettingsError
from edgexfer.core.files import explained_write, locked_folder, write_file
from edgexfer.core.prediction import Prediction

log = logging.getLogger(__name__)

_NAME = re.compile(r"\d{8}T\d{12}-\d{4}-.*-[0-9a-f]{2}\.(jpg|png|webp|bmp|tif|gif|ppm)")
_HEADS = {b"\x89PNG": "png", b"RIFF": "webp", b"BM": "bmp", b"II": "tif", b"MM": "tif", b"GIF8": "gif", b"P": "ppm"}
_WAITING = 2  # frames in memory at most, beside the one that is being written
_CLOSED_WITHIN_S = 5.0
_LETTERS = 24


@dataclass(frozen=True)
class LowScores:
    """Which frames are kept, where, and how many.

    Attributes:
        folder: where; made where it is not there.
        below: the score under which a frame is kept, above 0 up to 1; None for the frames that are called unknown.
        most: files, 1 or more.
        most_bytes: all of them together.
        apart_s: seconds between two of them at least: one scene shall not fill the folder, and flash memory shall last.
    """

    folder: str | Path
    below: float | None = None
    most: int = 500
    most_bytes: int = 200_000_000
    apart_s: float = 10.0

    def __post_init__(self) -> None:
        for name, good, wanted in (
            ("below", self.below is None or 0 < self.below <= 1, "more than 0 and up to 1"),
            ("most", self.most >= 1, "1 or more"),
            ("most_bytes", self.most_bytes >= 1, "1 or more"),
            ("apart_s", 0 <= self.apart_s < math.inf, "0 or more"),
        ):
            if not good:
                raise SettingsError(f"{name} of LowScores is {getattr(self, name)}, expected {wanted}")


class Keeper:
    """Writes frames from a thread of its own, so that no prediction waits for the disk.

    Attributes:
        kept: how many were written.
        lost: how many were not: the disk was too slow or refused them.
    """

    def __init__(self, wanted: LowScores) -> None:
        self.wanted = wanted
        self.kept = 0
        self.lost = 0
        self._folder = Path(wanted.folder)
        with explained_write(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._due = -math.inf
        self._lock = threading.Lock()
        self._frames: queue.Queue[tuple[str, bytes | Image.Image] | None] = queue.Queue(_WAITING)
        self._writer: threading.Thread | None = None
        self._told = ""

    def offer(self, image: Source, prediction: Prediction, score: float) -> None:
        """Keeps the image where it is wanted; never raises, and waits for nothing but a copy of it."""
        below = self.wanted.below
        low = prediction.unknown if below is None else not score >= below
        if not low or time.monotonic() < self._due:
            return
        with self._lock:
            if time.monotonic() < self._due:
                return
            self._due = time.monotonic() + self.wanted.apart_s
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="edgexfer-frames", daemon=True)
                self._writer.start()
        try:
            frame = _copied(image)
            self._frames.put_nowait((_stem(prediction, score), frame))
        except (OSError, EdgexferError) as error:
            self._lose(str(error))
        except queue.Full:
            self._lose("the disk is too slow")

    def close(self) -> None:
        """Writes what waits, for a few seconds at most. May be called twice."""
        with self._lock:
            writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            self._frames.put(None, timeout=_CLOSED_WITHIN_S)
        except queue.Full:
            return
        writer.join(_CLOSED_WITHIN_S)

    def _write(self) -> None:
        while (frame := self._frames.get()) is not None:
            try:
                data = frame[1] if isinstance(frame[1], bytes) else _encoded(frame[1])
                if self._keep(f"{frame[0]}.{_suffix(data)}", data):
                    self.kept += 1
            except Exception as error:  # noqa: BLE001 - whatever a disk or encoder says must not end this thread
                self._lose(str(error))

    def _keep(self, name: str, data: bytes) -> bool:
        if len(data) > self.wanted.most_bytes:
            self._lose(f"a frame has {len(data)} bytes, most_bytes is {self.wanted.most_bytes}")
            return False
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked_folder(self._folder):
            there = _kept(self._folder)
            size = sum(path.stat().st_size for path in there)
            while there and (len(there) >= self.wanted.most or size + len(data) > self.wanted.most_bytes):
                oldest = there.pop(0)
                size -= oldest.stat().st_size
                oldest.unlink()
            write_file(self._folder / name, data)
        return True

    def _lose(self, reason: str) -> None:
        with self._lock:
            self.lost += 1
            told, self._told = self._told, reason
        if reason != told:  # a full disk is told once, not every ten seconds for years
            log.warning("a frame was not kept in %s: %s", self._folder, reason)


def _kept(folder: Path) -> list[Path]:
    """Returns our loose files, the oldest first, and removes what a process left that was killed while it wrote."""
    found = []
    for path in folder.iterdir():
        if _NAME.fullmatch(path.name) and path.is_file():
            found.append(path)
        elif path.suffix == ".tmp" and _NAME.match(path.name.removeprefix(".")):
            path.unlink(missing_ok=True)
    return sorted(found)


def _copied(image: Source) -> bytes | Image.Image:
    # The application may use the same buffer, or the same file, for its next frame.
    if isinstance(image, (str, Path)):
        return Path(image).read_bytes()
    if isinstance(image, np.ndarray):
        return decode(image.copy())
    return image.copy() if isinstance(image, Image.Image) else bytes(image)


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    decode(image).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _suffix(data: bytes) -> str:
    return next((suffix for head, suffix in _HEADS.items() if data.startswith(head)), "jpg")


def _stem(prediction: Prediction, score: float) -> str:
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f")
    label = re.sub(r"[^\w.]+", "_", prediction.label)[:_LETTERS]
    return f"{now}-{min(round(1000 * score), 1000):04d}-{label}-{secrets.token_hex(1)}"
