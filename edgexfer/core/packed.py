"""A bundle in one file, `NAME.edgx.zip`: read as if a stranger had packed it.

`zip -r NAME.edgx.zip NAME.edgx` makes one; what is in the archive lies at its root, or in one folder. It is unpacked
into a temporary folder of this user, which is removed with the last Bundle that uses it. Only what the manifest lists
is unpacked, the manifest and the signatures, each no larger than the manifest says; engines, which a device builds for
itself, stay behind.

Refused is an archive in which any name leads out of the folder, is there twice or in two spellings that some system
takes for one, or belongs to a link, a device or a pipe; that is encrypted or compressed otherwise than by deflate; or
that grows to more than MOST_GROWTH times its size.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import explained_write
from edgexfer.core.manifest import MANIFEST, MOST_MANIFEST_BYTES, check_listing, parse_manifest
from edgexfer.core.plain_files import read_plain, same_to_some_system, why_no_name
from edgexfer.core.zip_directory import check_directory

SIGNATURES = "signatures.json"
MOST_SIGNATURES_BYTES = 1 << 20
MOST_GROWTH = 100
_FREE_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_ENCRYPTED = 0x1
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError)
_AGAIN = "pack it again with `zip -r NAME.edgx.zip NAME.edgx`"


class Unpacked:
    """A temporary folder with a bundle in it, which is there for as long as this object.

    Attributes:
        folder: that holds the manifest.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def is_packed(path: Path) -> bool:
    """Returns whether `path` is a file, and so an archive if it is a bundle at all."""
    return path.is_file()


def read_beside_manifest(path: Path) -> tuple[bytes, bytes | None]:
    """Returns the bytes of a bundle's manifest, and of its signatures where it has any; nothing of it is checked yet.

    Args:
        path: folder or archive.

    Raises:
        ArtifactError: there is no manifest, or one of the two is too large or no regular file.
    """
    if is_packed(path):
        with _opened(path) as (archive, prefix):
            signatures = prefix + SIGNATURES
            held = _read(archive, signatures, MOST_SIGNATURES_BYTES) if signatures in archive.namelist() else None
            return _read(archive, prefix + MANIFEST, MOST_MANIFEST_BYTES), held
    beside = path / SIGNATURES
    try:
        held = read_plain(beside, MOST_SIGNATURES_BYTES) if beside.exists() or beside.is_symlink() else None
        return read_plain(path / MANIFEST, MOST_MANIFEST_BYTES), held
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is not a bundle: {error}", _AGAIN) from error


def unpack(path: Path) -> Unpacked:
    """Unpacks an archive; digests are checked by whoever opens the folder.

    Raises:
        ArtifactError: it is no such archive, or does what the module's docstring says.
        EdgexferError: there is no space for it.
    """
    with _opened(path) as (archive, prefix):
        raw = _read(archive, prefix + MANIFEST, MOST_MANIFEST_BYTES)
        files: dict[str, Any] = parse_manifest(raw, path / MANIFEST, "bundle")["files"]
        check_listing(files, path, "bundle")
        _check_growth(path, sum(entry["size_bytes"] for entry in files.values()))
        unpacked = Unpacked(Path(tempfile.mkdtemp(prefix="edgexfer-")))
        with explained_write(unpacked.folder):
            for name, entry in files.items():
                _write(archive, prefix + name, unpacked.folder / name, entry["size_bytes"])
            if prefix + SIGNATURES in archive.namelist():
                held = _read(archive, prefix + SIGNATURES, MOST_SIGNATURES_BYTES)
                (unpacked.folder / SIGNATURES).write_bytes(held)
            (unpacked.folder / MANIFEST).write_bytes(raw)
    return unpacked


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, str]]:
    try:
        check_directory(path)
        with zipfile.ZipFile(path) as archive:
            yield archive, _prefix(archive)
    except OSError as error:
        if error.errno is not None and error.filename is not None and Path(error.filename) != path:
            raise  # of what is being written
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}", _AGAIN) from error
    except ArtifactError:
        raise
    except _DAMAGED as error:
        raise ArtifactError(f"{path} is not a bundle, nor a zip of one: {error}", _AGAIN) from error


def _prefix(archive: zipfile.ZipFile) -> str:
    names = [_checked(entry) for entry in archive.infolist()]
    if twins := same_to_some_system(names):
        raise ValueError(f"{twins[0][:80]!r} and {twins[1][:80]!r} would be one file")
    if MANIFEST in names:
        return ""
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or f"{next(iter(tops))}/{MANIFEST}" not in names:
        raise ValueError(f"it has no {MANIFEST} at its root or in its one folder")
    return f"{next(iter(tops))}/"


def _checked(entry: zipfile.ZipInfo) -> str:
    name = entry.filename.removesuffix("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    reason = why_no_name(name)
    if entry.filename != entry.orig_filename:
        reason = "it is not written plainly"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        reason = "it is a link, a device or a pipe"
    elif entry.flag_bits & _ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        reason = "it is encrypted, or compressed in another way than by deflate"
    if reason:
        raise ValueError(f"{entry.orig_filename[:80]!r}: {reason}")
    return name


def _check_growth(path: Path, size_bytes: int) -> None:
    packed = path.stat().st_size
    if size_bytes > _FREE_BYTES + MOST_GROWTH * packed:
        raise ValueError(f"{packed:,} bytes would become {size_bytes:,}")


def _read(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    with archive.open(name) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"{name} is larger than {most_bytes:,} bytes")
    return data


def _write(archive: zipfile.ZipFile, name: str, place: Path, size_bytes: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    left = size_bytes
    with archive.open(name) as source, place.open("xb") as target:
        while chunk := source.read(min(_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            target.write(chunk)
    if left:
        raise ValueError(f"{name} has not the size that the manifest lists")
