"""Thumbnails: images of a data set, found by content, as small JPEGs inside the page.

An image is looked for where it was, below the data set's folder, and counts only with the SHA-256 that was recorded.
What is not there is searched for in the whole folder: first among files of the same name, then among all.
"""

from __future__ import annotations

import base64
import io
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from edgexfer.core.decode import decode
from edgexfer.core.errors import DataError, EdgexferError
from edgexfer.core.files import sha256_of_file
from edgexfer.core.sample import is_ignored_name, is_image_name

log = logging.getLogger(__name__)

SIDE = 160  # pixels of the longer side
_QUALITY = 78
_MOST_HASHED = 20_000  # files of a folder in which an image is searched for


@dataclass(frozen=True)
class Wanted:
    """An image to show.

    Attributes:
        path: relative to the data set's root, as it was recorded.
        sha256: of the file; its first 16 digits or more.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class Thumbnail:
    """A small picture for the page.

    Attributes:
        source: the picture as a `data:` address.
        width: pixels.
        height: pixels.
    """

    source: str
    width: int
    height: int


def thumbnails(wanted: Iterable[Wanted], data: Path) -> dict[str, Thumbnail]:
    """Returns {sha256 as it was asked for: thumbnail} of the images that are at hand and can be decoded.

    Args:
        wanted: what to look for.
        data: the data set: a folder, or the CSV that lists it.

    Raises:
        DataError: `data` does not exist.
    """
    if not data.exists():
        raise DataError(f"{data} does not exist, expected the data set", "name where the images are with --data")
    root = data if data.is_dir() else data.parent
    missing = {item.sha256: item for item in wanted if item.sha256}
    found: dict[str, Path] = {}
    for item in missing.values():
        place = _place(root, item.path)
        if place is not None and _matches(place, (item.sha256,)):
            found[item.sha256] = place
    _search(root, {key: item for key, item in missing.items() if key not in found}, found)
    made = {key: _thumbnail(path) for key, path in found.items()}
    return {key: thumbnail for key, thumbnail in made.items() if thumbnail is not None}


def _place(root: Path, name: str) -> Path | None:
    try:
        path = root / PurePosixPath(name)
        return path if path.is_file() else None
    except (OSError, ValueError):  # too long, a NUL character
        return None


def _search(root: Path, missing: dict[str, Wanted], found: dict[str, Path]) -> None:
    if not missing:
        return
    names = {PurePosixPath(item.path).name for item in missing.values()}
    files = list(_images(root))
    files.sort(key=lambda path: path.name not in names)  # stable: those of the same name first
    if len(files) > _MOST_HASHED:
        log.info("%s has %d images: only %d are searched for those to show", root, len(files), _MOST_HASHED)
    for path in files[:_MOST_HASHED]:
        if key := _matches(path, missing):
            found[key] = path
            del missing[key]
            if not missing:
                return


def _images(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_ignored_name(name))
        yield from (
            Path(folder, name) for name in sorted(names) if is_image_name(Path(name)) and not is_ignored_name(name)
        )


def _matches(path: Path, digests: Iterable[str]) -> str:
    # Which of the digests is that of the file; "" for none.
    try:
        digest = sha256_of_file(path)
    except OSError:
        return ""
    return next((wanted for wanted in digests if len(wanted) >= 16 and digest.startswith(wanted)), "")


def _thumbnail(path: Path) -> Thumbnail | None:
    try:
        image = decode(path, at_least=(SIDE, SIDE))
    except EdgexferError as error:
        log.info("%s cannot be shown: %s", path, error.message)
        return None
    factor = min(1.0, SIDE / max(image.size))
    size: Sequence[int] = [max(1, round(side * factor)) for side in image.size]
    small = image.resize((size[0], size[1]), Image.Resampling.LANCZOS) if factor < 1 else image
    memory = io.BytesIO()
    # A new image: what the file said of camera and place stays out of the page.
    bare = Image.new("RGB", small.size)
    bare.paste(small)
    bare.save(memory, "JPEG", quality=_QUALITY, optimize=True)
    encoded = base64.b64encode(memory.getvalue()).decode()
    return Thumbnail(f"data:image/jpeg;base64,{encoded}", *small.size)
