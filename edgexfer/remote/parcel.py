"""What is sent to a device: a bundle or some images, as paths there with the files here and their SHA-256."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgexfer.core.errors import DataError
from edgexfer.core.files import sha256_of_bytes, sha256_of_file
from edgexfer.core.manifest import MANIFEST, read_manifest
from edgexfer.core.packed import SIGNATURES, read_beside_manifest

IMAGE_LIST = "images.csv"


@dataclass(frozen=True)
class Content:
    """One file's content.

    Attributes:
        sha256: 64 hexadecimal digits.
        size_bytes: its length.
        source: the file it is read from, or the bytes themselves.
    """

    sha256: str
    size_bytes: int
    source: Path | bytes


@dataclass(frozen=True)
class Parcel:
    """A folder to be made on the device.

    Attributes:
        kind: "bundle" or "data", the request of the agent that makes it.
        name: of the folder.
        files: path in it, with forward slashes -> its content.
    """

    kind: str
    name: str
    files: dict[str, Content]


def of_bytes(data: bytes) -> Content:
    """Returns `data` as a content."""
    return Content(sha256_of_bytes(data), len(data), data)


def bundle_parcel(folder: Path) -> Parcel:
    """Returns what the manifest of a bundle lists, the manifest, and who has signed it; engines built here stay here.

    Raises:
        ArtifactError: the folder is no bundle, or is damaged.
    """
    manifest = read_manifest(folder, "bundle")
    files = {
        name: Content(entry["sha256"], (folder / name).stat().st_size, folder / name)
        for name, entry in manifest["files"].items()
    }
    raw, signatures = read_beside_manifest(folder)
    files[MANIFEST] = of_bytes(raw)
    if signatures is not None:
        files[SIGNATURES] = of_bytes(signatures)
    return Parcel("bundle", folder.resolve().name, files)


def image_parcel(rows: Sequence[tuple[Path, str, str]]) -> Parcel:
    """Returns these images, and `images.csv`, which lists them with their labels.

    An image whose name leads out of the folder, or cannot be written into a CSV, is named after its content.

    Args:
        rows: for each image the file here, its name there, and its label.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    if not rows:
        raise DataError("there are no images to send", "give a folder or CSV with images in it")
    files: dict[str, Content] = {}
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("path", "label"))
    for path, wanted, label in rows:
        try:
            content = Content(sha256_of_file(path), path.stat().st_size, path)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}", "make it readable") from error
        name = wanted if _is_plain(wanted) else f"by-content/{content.sha256}{path.suffix.lower()}"
        files[name] = content
        table.writerow((name, label))
    files[IMAGE_LIST] = of_bytes(text.getvalue().encode())
    return Parcel("data", "data", files)


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
    return inside and name.isprintable() and name not in ("", ".", IMAGE_LIST)
