"""Decoding: a path, bytes, a PIL image or an array in; one upright 8-bit RGB image out.

The same function serves evaluation, calibration and the device. A JPEG much larger than asked for is
scaled by its decoder while it decodes (`at_least`), which is several times faster than decoding all of it.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from edgexfer.core.errors import ImageError
from edgexfer.core.image_parts import Parts, TruncatedError, gif_parts, ppm_parts, webp_parts
from edgexfer.core.jpeg_parts import jpeg_parts
from edgexfer.core.known_content import FORMATS, content_of, format_of
from edgexfer.core.orientation import ORIENTATION_TAG, UPRIGHT
from edgexfer.core.plain_files import read_regular
from edgexfer.core.png_parts import png_parts
from edgexfer.core.rgb import HINT, rgb_array, to_rgb
from edgexfer.core.tiff_parts import tiff_parts

Source: TypeAlias = "str | Path | bytes | bytearray | memoryview | Image.Image | NDArray[Any]"

MAX_PIXELS = 100_000_000
MAX_WEBP_PIXELS = 70_000_000
"""Its decoder takes twice the memory of the others."""
MAX_TIFF_PIXELS = 89_000_000
"""Of one that is larger Pillow's reader of TIFF warns by itself."""
MAX_SIDE = 1_000_000
MAX_FILE_BYTES = 512 << 20
MAX_VISITS = 2_000_000_000
"""Pixels by the passes of a progressive JPEG: a hundred kilobytes may ask for thousands of passes over all of them."""
MAX_SLOW_PIXELS = 1_000_000
"""Of the forms of PPM that Pillow reads in Python."""
_LARGE_PIXELS = 20_000_000
_LARGEST_PIECE = 16 << 20
_MOST_REASON = 200
# Of Pillow's parsers these seven can be reached and no other, whatever a program has registered.
_PARSERS: dict[str, tuple[Callable[[bytes], Parts], Callable[[io.BytesIO, str], ImageFile.ImageFile]]] = {
    "JPEG": (jpeg_parts, JpegImageFile),
    "PNG": (png_parts, PngImageFile),
    "WEBP": (webp_parts, WebPImageFile),
    "BMP": (Parts, BmpImageFile),
    "TIFF": (tiff_parts, TiffImageFile),
    "GIF": (gif_parts, GifImageFile),
    "PPM": (ppm_parts, PpmImageFile),
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_one_large = threading.Lock()


def _renew_lock() -> None:
    global _one_large  # noqa: PLW0603 - a forked child shall not wait for a thread that it does not have
    _one_large = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def decode(source: Source, *, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Decodes an image to upright RGB; transparency is laid on white, 16 bits are scaled to 8.

    Args:
        source: path, bytes of an image file, PIL image, or array: uint8 or uint16, [H, W], [H, W, 1],
            [H, W, 3] RGB or [H, W, 4] RGBA. An image that was passed in is never changed.
        at_least: (height, width) that the caller needs. A JPEG may come back smaller than its file
            says, but never smaller than this.

    Returns:
        An image of mode RGB; `source` itself where it is one already.

    Raises:
        ImageError: missing, empty, damaged, truncated, none of FORMATS, beyond one of the bounds above, or an array
            of another shape or dtype.
    """
    if isinstance(source, np.ndarray):
        return Image.fromarray(rgb_array(source))
    if isinstance(source, Image.Image):
        return _finish(source, "the PIL image", None)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), f"the image of {len(source)} bytes", at_least)
    if not isinstance(source, (str, Path)):
        raise ImageError(
            f"cannot read an image from a {type(source).__name__}", "give a path, bytes, a PIL image or a uint8 array"
        )
    return _from_bytes(read_image_file(Path(source), str(source)), str(source), at_least)


def read_image_file(path: Path, name: str) -> bytes:
    """Returns the bytes of an image file.

    Args:
        path: where; links are followed.
        name: what the error calls it.

    Raises:
        ImageError: missing, a folder, a pipe or a device, unreadable, or more than MAX_FILE_BYTES.
    """
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a folder, expected an image file") from error
    except OverflowError as error:
        raise ImageError(f"{name} {error}, the limit is {MAX_FILE_BYTES >> 20} MiB", "scale it down first") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise ImageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def upright_size(data: bytes) -> tuple[int, int]:
    """Returns (width, height) of an image file as it stands upright, from its head; no pixel is decoded.

    Args:
        data: the file.

    Raises:
        ImageError: not an image of a known format, or a head that makes no sense.
    """
    image, parts = _opened(data, f"the image of {len(data)} bytes")
    width, height = image.size
    return (width, height) if parts.orientation < 5 else (height, width)


def _from_bytes(data: bytes, name: str, at_least: tuple[int, int] | None) -> Image.Image:
    image, parts = _opened(data, name)
    if isinstance(image, JpegImageFile):
        # In one piece where it is none of the largest: each piece of 64 kB would make its decoder start anew.
        image.decodermaxblock = min(len(parts.data), _LARGEST_PIECE)
        if at_least is not None:
            height, width = at_least if parts.orientation < 5 else at_least[::-1]
            image.draft(None, (width, height))
    return _finish(image, name, parts.orientation)


def _opened(data: bytes, name: str) -> tuple[ImageFile.ImageFile, Parts]:
    # What Image.open does, without its warnings: to silence those would change the filters of other threads as well.
    if not data:
        raise ImageError(f"{name} is empty", HINT)
    kind = format_of(data)
    if kind is None:
        held = content_of(data[:256])
        found = f": it holds {held}, expected" if held else ":"
        raise ImageError(f"{name} is not an image of a known format{found} {', '.join(FORMATS)}", HINT)
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"{name} is a file of {len(data) >> 20} MiB, the limit is {MAX_FILE_BYTES >> 20} MiB", HINT)
    take_apart, plugin = _PARSERS[kind]
    try:
        parts = take_apart(data)
        most = {"WEBP": MAX_WEBP_PIXELS, "TIFF": MAX_TIFF_PIXELS}.get(kind, MAX_PIXELS)
        _check_pixels(parts.size or (1, 1), most)
        image = plugin(io.BytesIO(parts.data), "")
        _check_pixels(image.size, most)
    except ImageError as error:
        raise ImageError(f"{name} {error.message}", error.hint or HINT) from error
    except Exception as error:  # parsers raise nearly anything on damaged bytes
        raise _damaged(name, error) from error
    pixels = image.width * image.height
    if pixels * parts.passes > MAX_VISITS:
        most = max(1, MAX_VISITS // pixels)
        raise ImageError(f"{name} takes {parts.passes:,} passes over its pixels, expected {most:,} or fewer", HINT)
    if parts.slow and pixels > MAX_SLOW_PIXELS:
        raise ImageError(
            f"{name} has {pixels:,} pixels in a slow form of PPM, expected {MAX_SLOW_PIXELS:,} or fewer", HINT
        )
    return image, parts


def _finish(image: Image.Image, name: str, orientation: int | None) -> Image.Image:
    # `orientation` is None where the image was opened elsewhere, and knows by itself.
    large = image.width * image.height > _LARGE_PIXELS
    with _one_large if large else nullcontext():
        return _upright_rgb(image, name, orientation)


def _upright_rgb(image: Image.Image, name: str, orientation: int | None) -> Image.Image:
    try:
        _check_pixels(image.size, MAX_PIXELS)
        image.load()
        turn = _UPRIGHT.get(_orientation(image) if orientation is None else orientation)
        rgb = to_rgb(image)
        if orientation is not None and rgb is not image:
            image.close()  # ours alone: its pixels take no room any more
        if turn is not None:
            rgb = rgb.transpose(turn)
            rgb.info = {}  # it still says how to turn it; nobody shall do so twice
    except ImageError as error:
        raise ImageError(f"{name} {error.message}", error.hint) from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise _damaged(name, error) from error
    return rgb


def _check_pixels(size: tuple[int, int], most: int) -> None:
    width, height = size
    if width * height > most:
        limit = f"the limit is {most // 1_000_000} million"
        raise ImageError(f"has too many pixels: {width} x {height}, {limit}", "scale it down first")
    if width * height == 0:
        raise ImageError(f"has no pixels: {width} x {height}")
    if max(size) > MAX_SIDE:
        raise ImageError(f"is {width} x {height} pixels, the longest side allowed is {MAX_SIDE:,}")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, UPRIGHT))
    except Exception:  # noqa: BLE001 - unreadable EXIF beside good pixels is no reason to refuse them
        return UPRIGHT


def _damaged(name: str, error: Exception) -> ImageError:
    # Pillow hands a decoder's stumbles ("KeyError: 123") on as SyntaxError; only what it words itself is for people.
    cause = error.__cause__ if isinstance(error, SyntaxError) and error.__cause__ else error
    if isinstance(cause, MemoryError):
        return ImageError(f"{name} takes more memory than there is", "scale it down first, or leave it out")
    worded = isinstance(cause, (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError))
    worded = worded and not (cause.args and isinstance(cause.args[0], bytes))
    said = "".join(letter if letter.isprintable() else " " for letter in str(cause)) if worded else ""
    reason = " ".join(said.split())[:_MOST_REASON]
    word = "truncated" if "truncated" in reason.lower() or isinstance(cause, (EOFError, TruncatedError)) else "damaged"
    return ImageError(f"{name} is {word}: {reason or 'its content makes no sense'}", HINT)
