"""`reference.npz` from a stranger: two arrays of known shapes, no pickle, no more memory than they need."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import ArtifactError
from tests.hostile.forge import with_references


class Trap:
    """Tells when it is unpickled."""

    sprung = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (setattr, (Trap, "sprung", True))


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def claims(shape: tuple[int, ...], dtype: str = "|u1", data: bytes = b"") -> bytes:
    header, file = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pixels.npy", header.getvalue() + data)
        archive.writestr("probabilities.npy", header.getvalue() + data)
    return file.getvalue()


PIXELS, ANSWERS = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 3), np.float32)


def test_what_fits_is_read(bundle_folder: Path) -> None:
    pixels, answers = open_bundle(
        with_references(bundle_folder, saved(pixels=PIXELS, probabilities=ANSWERS))
    ).references()
    assert (pixels.shape, pixels.dtype, answers.shape, answers.dtype) == ((2, 8, 8, 3), np.uint8, (2, 3), np.float32)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04junk",
        b"\x93NUMPY",
        saved(pixels=PIXELS),
        saved(pixels=PIXELS[:, :4], probabilities=ANSWERS),
        saved(pixels=PIXELS, probabilities=ANSWERS[:1]),
        saved(pixels=PIXELS, probabilities=ANSWERS.astype(np.float64)),
        saved(pixels=PIXELS.astype(np.int8), probabilities=ANSWERS),
        saved(pixels=np.asfortranarray(PIXELS), probabilities=ANSWERS),
        saved(pixels=PIXELS[:0], probabilities=ANSWERS[:0]),
        saved(pixels=np.uint8(3), probabilities=ANSWERS),
        claims((10**12,)),
        claims((10**12, 8, 8, 3)),
        claims((-1, 8, 8, 3)),
        claims((16, 8, 8, 3)),
        claims((16, 8, 8, 3), data=bytes(1 << 20)),
        saved(pixels=PIXELS, probabilities=ANSWERS) + b"trailing",
    ],
)
def test_what_does_not_fit_is_refused(bundle_folder: Path, data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"reference\.npz"):
        open_bundle(with_references(bundle_folder, data)).references()


def test_objects_are_never_unpickled(bundle_folder: Path) -> None:
    array = np.array([Trap()], dtype=object)
    with pytest.raises(ArtifactError, match="expected uint8"):
        open_bundle(with_references(bundle_folder, saved(pixels=array, probabilities=array))).references()
    assert not Trap.sprung


def test_a_bomb_is_not_inflated(bundle_folder: Path) -> None:
    opened = open_bundle(with_references(bundle_folder, claims((16, 8, 8, 3), data=bytes(20 << 20))))
    tracemalloc.start()
    with pytest.raises(ArtifactError):
        opened.references()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
