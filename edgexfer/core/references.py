"""`reference.npz`, read as if a stranger had written it: two arrays of known shapes, or an error.

An .npz is a zip of .npy files. numpy would make room for whatever shape such a file claims, and inflate whatever is in
the zip; so both are compared with what the manifest says before anything is inflated. Objects, which are pickles, are
no uint8 and no float32.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import ArtifactError
from edgexfer.core.zip_directory import check_directory

_MOST_IMAGES = 1024
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, OverflowError, struct.error)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_references(
    content: bytes, path: Path, precision: str, size: tuple[int, int], classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Reads the inputs and the outputs that one precision of the network must give to them.

    Args:
        content: of the file.
        path: named in errors.
        precision: of the network; where the file has no `probabilities.<precision>`, `probabilities` hold for it.
        size: height and width of the network's input, in pixels.
        classes: how many the network knows.

    Returns:
        Pixels uint8 [N, height, width, 3], and probabilities float32 [N, classes]; N is at least 1.

    Raises:
        ArtifactError: damaged, or arrays of another type or shape.
    """
    try:
        check_directory(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            pixels = _read(archive, "pixels", np.dtype(np.uint8), (*size, 3))
            own = f"probabilities.{precision}"
            name = own if f"{own}.npy" in archive.namelist() else "probabilities"
            probabilities = _read(archive, name, np.dtype(np.float32), (classes,))
    except (*_DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactError(f"{path} is damaged: {error}", "make the bundle again") from error
    if len(pixels) != len(probabilities):
        raise ArtifactError(
            f"{path} has {len(pixels)} inputs and {len(probabilities)} outputs", "make the bundle again"
        )
    return pixels, probabilities


def _read(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], row: tuple[int, ...]) -> NDArray[Any]:
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in an unknown way")
    with archive.open(member) as file:
        shape, fortran, found = _header(file)
        fits = len(shape) == 1 + len(row) and shape[1:] == row and 1 <= shape[0] <= _MOST_IMAGES
        if not fits or found != dtype or fortran:
            raise ValueError(f"{name} is {found} {list(shape)}, expected {dtype} {['N', *row]}")
        size_bytes = math.prod(shape) * dtype.itemsize
        data = file.read(size_bytes)
        if len(data) != size_bytes or file.read(1):
            raise ValueError(f"{name} holds not as many bytes as its shape needs")
    return np.frombuffer(bytearray(data), dtype).reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"unknown version of .npy {version}")
    return _HEADERS[version](file)
