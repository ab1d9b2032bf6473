"""decode: every kind of image comes out as upright 8-bit RGB, and what cannot is an ImageError in plain words."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgexfer.core.decode import MAX_PIXELS, decode, upright_size
from edgexfer.core.errors import ImageError

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """Dark to bright from left to right in red, from top to bottom in green: any turn or flip shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = columns * 255 // max(width - 1, 1), rows * 255 // max(height - 1, 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 40)], axis=2).astype(np.uint8))


def gap(found: Image.Image, expected: Image.Image) -> int:
    assert found.mode == "RGB"
    assert found.size == expected.size
    return int(np.abs(np.asarray(found, np.int16) - np.asarray(expected, np.int16)).max())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_are_exact(kind: str) -> None:
    assert gap(decode(encoded(scene(), kind)), scene()) == 0


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("GIF", {})])
def test_lossy_formats_are_close(kind: str, options: dict[str, Any]) -> None:
    assert gap(decode(encoded(scene(), kind, **options)), scene()) <= 40


def test_mpo_gives_its_first_picture() -> None:
    other = Image.new("RGB", (64, 48))
    data = encoded(scene(), "MPO", save_all=True, append_images=[other], quality=95)
    assert gap(decode(data), scene()) <= 20


def test_path_string_bytes_and_image_agree(tmp_path: Path) -> None:
    path = tmp_path / "häuser ☃.png"
    scene().save(path)
    data = path.read_bytes()
    for source in (path, str(path), data, bytearray(data), memoryview(data), Image.open(path)):
        assert gap(decode(source), scene()) == 0


def test_rgb_image_is_returned_itself() -> None:
    image = scene()
    assert decode(image) is image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_obeyed_once(orientation: int, kind: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = scene().transpose(undo[orientation]) if orientation in undo else scene()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if kind == "TIFF" else {"exif": exif, "quality": 95}
    data = encoded(stored, kind, **options)
    upright = decode(data)
    assert gap(upright, scene()) <= (40 if kind in ("JPEG", "WEBP") else 0)
    assert gap(decode(upright), upright) == 0
    opened = Image.open(io.BytesIO(data))
    assert gap(decode(opened), upright) == 0
    assert opened.size in (stored.size, scene().size)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_upright_size_is_that_of_the_decoded_image(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(64, 48), kind, exif=exif)
    assert upright_size(data) == decode(data).size == ((48, 64) if orientation == 6 else (64, 48))


def test_upright_size_of_no_image() -> None:
    with pytest.raises(ImageError, match="image of 5 bytes is not an image of a known format"):
        upright_size(b"notes")


def test_palette_with_alpha_of_its_own() -> None:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([*RED, 0], "RGBA")
    assert gap(decode(palette), Image.new("RGB", (4, 4), WHITE)) == 0


def test_unreadable_exif_does_not_matter() -> None:
    assert gap(decode(encoded(scene(), "PNG", exif=b"Exif\0\0garbage")), scene()) == 0


@pytest.mark.parametrize("orientation", [1, 6])
def test_draft_keeps_what_is_needed(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(1600, 800), "JPEG", exif=exif)
    assert decode(data).size == ((1600, 800) if orientation == 1 else (800, 1600))
    wide = decode(data, at_least=(200, 400) if orientation == 1 else (400, 200))
    assert wide.size == ((400, 200) if orientation == 1 else (200, 400))
    tight = decode(data, at_least=(200, 200))
    assert tight.size == ((400, 200) if orientation == 1 else (200, 400))
    assert decode(data, at_least=(600, 600)).size == decode(data).size


@given(st.integers(1, 600), st.integers(1, 600), st.integers(1, 64), st.integers(1, 64), st.sampled_from([1, 6]))
@settings(max_examples=40, deadline=None)
def test_draft_is_never_below_what_is_needed(
    width: int, height: int, need_h: int, need_w: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(width, height), "JPEG", exif=exif)
    full, small = decode(data).size, decode(data, at_least=(need_h, need_w)).size
    for found, whole, need in zip(small, full, (need_w, need_h), strict=True):
        assert found == whole or found >= need


def test_grey_palette_and_one_bit() -> None:
    grey = scene().convert("L")
    assert gap(decode(encoded(grey)), grey.convert("RGB")) == 0
    one_bit = scene().convert("1")
    assert gap(decode(encoded(one_bit)), one_bit.convert("RGB")) == 0
    palette = scene().quantize(16)
    assert gap(decode(encoded(palette)), palette.convert("RGB")) == 0


def test_cmyk() -> None:
    assert (
        gap(
            decode(encoded(Image.new("RGB", (8, 8), RED).convert("CMYK"), "JPEG", quality=95)),
            Image.new("RGB", (8, 8), RED),
        )
        <= 6
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    clear = Image.new(mode, (4, 4), 0)
    assert gap(decode(encoded(clear)), Image.new("RGB", (4, 4), WHITE)) == 0
    half = Image.new("RGBA", (4, 4), (*RED, 128))
    assert np.abs(np.asarray(decode(encoded(half)), np.int16) - (255, 127, 127)).max() <= 1


def test_transparent_palette_and_colour_key() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([*RED, 0, 0, 255])
    data = encoded(palette, transparency=1)
    assert gap(decode(data), Image.new("RGB", (4, 4), WHITE)) == 0
    gif = encoded(palette, "GIF", transparency=1)
    assert gap(decode(gif), Image.new("RGB", (4, 4), WHITE)) == 0
    keyed = encoded(Image.new("RGB", (4, 4), RED), transparency=RED)
    assert gap(decode(keyed), Image.new("RGB", (4, 4), WHITE)) == 0


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        found = np.asarray(decode(encoded(Image.fromarray(values), kind)))
        assert found[0, :, 0].tolist() == [0, 1, 128, 255]
    wide = np.asarray(decode(Image.fromarray(values.astype(np.int32))))
    assert wide[0, :, 2].tolist() == [0, 1, 128, 255]
    keyed = encoded(Image.fromarray(values), transparency=0)
    assert np.asarray(decode(keyed))[0, 1:, 0].tolist() == [1, 128, 255]
    pgm = b"P5 2 1 65535\n" + struct.pack(">2H", 0, 65535)
    assert np.asarray(decode(pgm))[0, :, 1].tolist() == [0, 255]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_out_of_any_known_range_are_refused(mode: str) -> None:
    image = Image.new(mode, (2, 2), 70000)
    with pytest.raises(ImageError, match=r"float pixels|from 70000 to 70000, expected 0 to 65535"):
        decode(image)


def test_arrays_of_every_accepted_shape() -> None:
    rgb = np.asarray(scene())
    grey = rgb[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(np.asarray(decode(rgb)), rgb)
    assert np.array_equal(np.asarray(decode(np.asfortranarray(rgb)[::2, ::-3])), rgb[::2, ::-3])
    assert np.array_equal(np.asarray(decode(grey)), expected)
    assert np.array_equal(np.asarray(decode(grey[..., None])), expected)
    assert np.array_equal(np.asarray(decode(rgb.astype(np.uint16) * 257)), rgb)
    assert np.array_equal(np.asarray(decode(rgb.astype(">u2") * np.uint16(257))), rgb)
    clear = np.dstack([rgb, np.zeros_like(grey)])
    assert (np.asarray(decode(clear)) == 255).all()
    opaque = np.dstack([rgb, np.full_like(grey, 255)])
    assert np.array_equal(np.asarray(decode(opaque)), rgb)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), "dtype float32, expected uint8"),
        (np.zeros((4, 4, 3), np.int64), "dtype int64, expected uint8"),
        (np.zeros((4, 4, 3), bool), "dtype bool, expected uint8"),
        (np.zeros((3, 40, 40), np.uint8), r"shape \[3, 40, 40\], expected RGB pixels \[H, W, 3\]"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"shape \[1, 4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \[0, 4, 3\]"),
        (np.zeros(5, np.uint8), r"shape \[5\]"),
        (np.zeros((), np.uint8), r"shape \[\]"),
    ],
)
def test_other_arrays_are_refused_by_what_was_found(array: np.ndarray[Any, Any], said: str) -> None:
    with pytest.raises(ImageError, match=said):
        decode(array)


def test_what_is_no_image_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.jpg").write_text("not an image")
    (tmp_path / "folder.jpg").mkdir()
    cases = {"empty.jpg": "is empty", "notes.jpg": "is not an image of a known format", "folder.jpg": "is a folder"}
    for name, said in {**cases, "absent.jpg": "does not exist", "a\0b.jpg": "cannot be read"}.items():
        with pytest.raises(ImageError, match=said) as caught:
            decode(tmp_path / name)
        assert str(tmp_path) in caught.value.message
    with pytest.raises(ImageError, match="from a list"):
        decode([1, 2, 3])  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="image of 0 bytes is empty"):
        decode(b"")


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(ImageError, match=r"photo\.jpg cannot be read: Permission denied"):
        decode(tmp_path / "photo.jpg")


def test_formats_outside_the_list_stay_closed() -> None:
    for kind in ("ICO", "TGA", "PCX", "EPS"):
        with pytest.raises(ImageError, match="not an image of a known format"):
            decode(encoded(scene(), kind))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, part: float, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(len(data) * part)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's TIFF reader warns of the cut as well
        with pytest.raises(ImageError, match=r"cut\.img is (truncated|damaged)"):
            decode(path)


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"]), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_an_image_or_an_image_error(kind: str, data: st.DataObject) -> None:
    raw = bytearray(encoded(scene(24, 16), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ImageError):  # and nothing else
        assert decode(bytes(raw), at_least=(4, 4)).mode == "RGB"


def bomb(width: int, height: int) -> bytes:
    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (60_000, 60_000), (2_000_000_000, 2_000_000_000)])
def test_too_many_pixels_are_refused_from_the_header(width: int, height: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=r"too many pixels: \d+ x \d+, the limit is 100 million"):
            decode(bomb(width, height))
    assert width * height > MAX_PIXELS


def test_no_warning_between_pillows_limit_and_ours() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=r"truncated|damaged"):  # past the header, and the pixels are missing
            decode(bomb(9_900, 10_000))


def test_image_with_too_many_pixels_that_was_opened_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgexfer.core.decode.MAX_PIXELS", 100)
    with pytest.raises(ImageError, match="the PIL image has too many pixels: 64 x 48"):
        decode(scene())


def test_image_whose_file_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    scene().save(path)
    with Image.open(path) as image:
        pass
    with pytest.raises(ImageError, match="the PIL image is damaged"):
        decode(image)


def test_many_threads_and_no_global_change() -> None:
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    data, found = encoded(scene(), "JPEG"), []
    threads = [threading.Thread(target=lambda: found.append(decode(data).tobytes())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_large_images_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = [0], [0]

    def counted(image: Image.Image) -> Image.Image:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.02)
        inside[0] -= 1
        return image

    monkeypatch.setattr("edgexfer.core.decode._LARGE_PIXELS", 64 * 48 - 1)
    monkeypatch.setattr("edgexfer.core.decode.to_rgb", counted)
    threads = [threading.Thread(target=decode, args=(encoded(scene()),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_does_not_wait_for_the_parents_large_image() -> None:
    code = (
        "import os\n"
        "from PIL import Image\n"
        "from edgexfer.core import decode\n"
        "decode._LARGE_PIXELS = 1\n"
        "decode._one_large.acquire()\n"
        "if (child := os.fork()) == 0:\n"
        "    os._exit(int(decode.decode(Image.new('L', (8, 8))).mode != 'RGB'))\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
