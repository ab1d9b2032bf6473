"""Image files from strangers: used, or refused in one line, alike at every door. The long run is long_images.py."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from edgexfer import load
from edgexfer.core.dataset import read_dataset
from edgexfer.core.decode import MAX_SIDE, decode
from edgexfer.core.errors import ImageError
from edgexfer.core.findings import Looks
from edgexfer.core.intake import inspect
from edgexfer.core.jpeg_parts import jpeg_parts
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.sharpness import sharpness
from tests.hostile.image_seeds import (
    chunk,
    exif,
    image_seeds,
    many_scans,
    png,
    saved,
    scene,
    segment,
    with_segments,
)
from tests.hostile.long_images import corpus, lay_out, predicted, watch_apart

MUTANTS = 300
SEEDS = image_seeds()
# Of these Pillow reads what is beside the pixels, and stumbles.
OTHERWISE = {"png text bomb", "png icc bomb"}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system does not tell a process's peak")
def test_mutants_are_used_or_refused_and_nothing_else_happens(tmp_path: Path) -> None:
    watched = watch_apart(MUTANTS, 0, tmp_path)
    assert watched.bad == []
    assert len(watched.came) == MUTANTS
    used = sum(not reason for reason in watched.came.values())
    assert MUTANTS / 5 < used < MUTANTS * 4 / 5
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.train
def test_all_doors_decide_alike(tmp_path: Path, bundle_folder: Path) -> None:
    from edgexfer.train.images.prepared import prepare

    placed = lay_out(corpus(120, first=MUTANTS), tmp_path / "data", good=(6, 6))
    dataset = read_dataset(tmp_path / "data")
    found = inspect(dataset, on_image=Looks(len(dataset.samples)).keep)
    check = {item.path: item.reason for item in found.rejected}
    prepared = prepare(dataset, Preprocess(32, 32), seed=0)
    prepared.cache.close()
    assert {item.path: item.reason for item in prepared.intake.rejected} == check
    paths = {tmp_path / "data" / place: place for place in placed.values()}
    with load(bundle_folder) as classifier:
        refused = predicted(classifier, list(paths))
    assert {paths[path]: reason for path, reason in refused.items()} == check


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_warnings_neither_come_nor_decide(name: str) -> None:
    came = []
    for action in ("error", "ignore"):
        with warnings.catch_warnings():
            warnings.simplefilter(action)  # type: ignore[arg-type]
            try:
                came.append(decode(SEEDS[name]).size)
            except ImageError as error:
                came.append(error.message)
    assert came[0] == came[1]


@pytest.mark.parametrize("name", sorted(set(SEEDS) - OTHERWISE))
def test_what_is_left_behind_changes_no_pixel(name: str) -> None:
    try:
        ours = decode(SEEDS[name])
    except ImageError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pillows = decode(Image.open(io.BytesIO(SEEDS[name])))
    assert ours.size == pillows.size
    assert ours.tobytes() == pillows.tobytes()


def test_a_foreign_format_is_refused_by_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    for name, held in (
        ("psd", "a Photoshop document"),
        ("eps", "PostScript"),
        ("heic", "HEIC"),
        ("page", "a web page"),
        ("zeros", "nothing but zero bytes"),
        ("words", "text"),
        ("pointer", "a Git LFS pointer"),
    ):
        path.write_bytes(SEEDS[f"foreign {name}"])
        with pytest.raises(
            ImageError, match=rf"photo\.jpg is not an image of a known format: it holds {held}.*expected JPEG"
        ):
            decode(path)
    path.write_bytes(SEEDS["png"])
    assert decode(path).size == (24, 24)  # what it holds counts, and not how it is called


def test_a_hundred_kilobytes_do_not_ask_for_hours() -> None:
    with pytest.raises(ImageError, match=r"takes \d+ passes over its pixels, expected 500 or fewer"):
        decode(many_scans(2000, 600))
    assert decode(many_scans(2000, 20), at_least=(64, 64)).size == (250, 250)


def test_to_count_scans_takes_little_more_than_the_file() -> None:
    data = SEEDS["jpeg"] + b"\xff\xda" * (4 << 20)
    tracemalloc.start()
    try:
        assert jpeg_parts(data).passes == (4 << 20) + 1
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    finally:
        tracemalloc.stop()
    assert jpeg_parts(SEEDS["jpeg"] + b"\xff\xda" * 1000).passes == 1001


def test_a_form_that_python_decodes_may_not_be_large() -> None:
    with pytest.raises(ImageError, match=r"4,000,000 pixels in a slow form of PPM, expected 1,000,000 or fewer"):
        decode(SEEDS["ppm in words"])
    assert decode(SEEDS["pgm in words"]).size == (4, 2)


def test_a_long_strip_takes_no_gigabytes() -> None:
    strip = Image.new("RGB", (400_000, 60))
    tracemalloc.start()
    try:
        sharpness(strip)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
    assert decode(SEEDS["png 1 x 65535"]).size == (1, 65535)
    with pytest.raises(ImageError, match=f"longest side allowed is {MAX_SIDE:,}"):
        decode(png(MAX_SIDE + 1, 1, bytes(9), bits=1, colour=0))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photo.jpg")
    for path in (tmp_path / "photo.jpg", Path("/dev/zero")):
        with pytest.raises(ImageError, match="is no regular file"):
            decode(path)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt", b"eXIf", b"acTL", b"teSt"])
def test_damage_beside_the_pixels_is_no_reason(kind: bytes) -> None:
    whole = saved(scene(), "PNG")
    broken = bytearray(chunk(kind, os.urandom(40)))
    broken[-1] ^= 1
    assert decode(whole[:33] + bytes(broken) + whole[33:]).tobytes() == scene().tobytes()


def test_turned_by_whatever_says_so() -> None:
    by_xmp = b'<rdf tiff:Orientation="6"/>'
    raw = b"\nexif\n%8d\n" % 26 + exif((0x0112, 3, 1, 6)).hex().encode() + b"\n"
    jpeg, picture = saved(scene(30, 20), "JPEG"), saved(scene(30, 20), "PNG")
    for data in (
        with_segments(jpeg, segment(0xE1, exif((0x0112, 3, 1, 6)))),
        with_segments(jpeg, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + by_xmp)),
        picture[:33] + chunk(b"eXIf", exif((0x0112, 3, 1, 6))[6:]) + picture[33:],
        picture[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + by_xmp) + picture[33:],
        picture[:33] + chunk(b"tEXt", b"Raw profile type exif\0" + raw) + picture[33:],
    ):
        assert decode(data).size == (20, 30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert decode(Image.open(io.BytesIO(data))).tobytes() == decode(data).tobytes()
    for orientation in (0, 9, 65535):
        assert decode(with_segments(jpeg, segment(0xE1, exif((0x0112, 3, 1, orientation))))).size == (30, 20)


@pytest.mark.train
def test_the_input_size_is_chosen_by_our_formats_alone(tmp_path: Path) -> None:
    from edgexfer.train.images.prepared import fitting_input_size

    for label in "ab":
        (tmp_path / label).mkdir()
        for number, shade in enumerate((10, 200)):
            saved_as = tmp_path / label / f"{number}.png"
            saved_as.write_bytes(saved(Image.fromarray(np.full((96, 96, 3), shade, np.uint8)), "PNG"))
        for number in range(9):
            (tmp_path / label / f"eps{number}.jpg").write_bytes(SEEDS["foreign eps"])
        (tmp_path / label / "bomb.png").write_bytes(png(9900, 10_000, bytes(9), bits=1, colour=0))
    # The bombs have a head that can be read; the drawings in PostScript are never opened.
    assert fitting_input_size(read_dataset(tmp_path), 224) == 96


def grey_tiff(side: int) -> bytes:
    """A page that says so many pixels a side and holds 64 bytes of them; its directory ends the file."""
    numbers = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: side, 279: 64}
    entries = b"".join(struct.pack("<HHLHH", tag, 3, 1, value, 0) for tag, value in numbers.items())
    return b"II*\0" + struct.pack("<L", 72) + bytes(64) + struct.pack("<H", len(numbers)) + entries + bytes(4)


@pytest.mark.parametrize(
    "kept", [-4, -5, -6], ids=["no place of a next page", "a value cut", "a value cut to its number"]
)
def test_a_tiff_that_ends_within_its_directory_is_truncated(kept: int) -> None:
    whole = grey_tiff(8)
    assert decode(whole).size == (8, 8)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if kept == -4:
            assert decode(whole[:kept]).size == (8, 8)
        else:
            with pytest.raises(ImageError, match="is truncated: its directory is not whole"):
                decode(whole[:kept])
    assert warned == []


def test_a_tiff_that_pillow_would_warn_of_is_refused() -> None:
    with pytest.raises(ImageError, match="has too many pixels: 9990 x 9990, the limit is 89 million"):
        decode(grey_tiff(9990))
