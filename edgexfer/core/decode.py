"""Decoding: a path, bytes, a PIL image or an array in; one upright 8-bit RGB image out.

The same function serves evaluation, calibration and the device. A JPEG much larger than asked for is
scaled by its decoder while it decodes (`at_least`), which is several times faster than decoding all of it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import (  # each plugin registers its format; the rest of Pillow's formats stay closed
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,
    WebPImagePlugin,  # noqa: F401
)

from edgexfer.core.errors import ImageError

Source: TypeAlias = "str | Path | bytes | bytearray | memoryview | Image.Image | NDArray[Any]"

MAX_PIXELS = 100_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # MPO (two JPEGs in one file) comes with JPEG
_HINT = "save it again as a JPEG or PNG, or leave it out"
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
        ImageError: missing, empty, damaged, truncated, no image, more than MAX_PIXELS pixels, or an
            array of another shape or dtype.
    """
    if isinstance(source, np.ndarray):
        return Image.fromarray(rgb_array(source))
    if isinstance(source, Image.Image):
        return _finish(source, "the PIL image")
    if isinstance(source, (bytes, bytearray, memoryview)):
        name = f"the image of {len(source)} bytes"
        return _from_file(io.BytesIO(source), name, at_least)
    if not isinstance(source, (str, Path)):
        raise ImageError(
            f"cannot read an image from a {type(source).__name__}", "give a path, bytes, a PIL image or a uint8 array"
        )
    try:
        with Path(source).open("rb") as file:
            return _from_file(file, str(source), at_least)
    except FileNotFoundError as error:
        raise ImageError(f"{source} does not exist") from error
    except IsADirectoryError as error:
        raise ImageError(f"{source} is a folder, expected an image file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def upright_size(data: bytes) -> tuple[int, int]:
    """Returns (width, height) of an image file as it stands upright, from its header (a TIFF is decoded).

    Args:
        data: bytes that `decode` has accepted.

    Raises:
        ImageError: not an image of a known format.
    """
    image = _open(io.BytesIO(data), data[:16])
    if image is None:
        raise ImageError(f"the image of {len(data)} bytes is not an image of a known format", _HINT)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        image.load()  # Pillow turns a TIFF itself, and only some of its versions say so before
    width, height = image.size
    return (width, height) if _orientation(image) < 5 else (height, width)


def rgb_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Brings an array of pixels to contiguous uint8 [H, W, 3]; returns `array` itself where it is that.

    Raises:
        ImageError: another dtype or shape.
    """
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"the array has dtype {array.dtype}, expected uint8 (0 to 255) or uint16 (0 to 65535)",
            "for floats between 0 and 1: (array * 255).round().astype('uint8')",
        )
    shape = array.shape
    channels = 1 if array.ndim == 2 else shape[-1] if array.ndim == 3 else 0
    if channels not in (1, 3, 4) or array.size == 0:
        raise ImageError(
            f"the array has shape {list(shape)}, expected RGB pixels [H, W, 3] (or [H, W], [H, W, 1], [H, W, 4])",
            "for [3, H, W] give array.transpose(1, 2, 0)",
        )
    if array.dtype == np.uint16:
        array = _eight_bits(array)
    if channels == 4:
        rgba = Image.fromarray(np.ascontiguousarray(array))
        return np.array(_on_white(rgba))
    if channels == 1:
        array = np.repeat(array.reshape(shape[0], shape[1], 1), 3, axis=2)
    return np.ascontiguousarray(array)


def _from_file(file: IO[bytes], name: str, at_least: tuple[int, int] | None) -> Image.Image:
    head = file.read(16)
    file.seek(0)
    if not head:
        raise ImageError(f"{name} is empty", _HINT)
    try:
        image = _open(file, head)
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise _damaged(name, error) from error
    if image is None:
        raise ImageError(f"{name} is not an image of a known format ({', '.join(FORMATS)})", _HINT)
    _check_pixels(image, name)
    if at_least is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
        height, width = at_least if _orientation(image) < 5 else at_least[::-1]
        image.draft(None, (width, height))
    return _finish(image, name)


def _open(file: IO[bytes], head: bytes) -> ImageFile.ImageFile | None:
    # What Image.open does, without its DecompressionBombWarning: to silence that here would change
    # the process's warning filters under other threads. _check_pixels is stricter.
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(head) is True:
            return factory(file, "")
    return None


def _finish(image: Image.Image, name: str) -> Image.Image:
    _check_pixels(image, name)
    try:
        image.load()
        turn = _UPRIGHT.get(_orientation(image))
        rgb = _to_rgb(image)
        if turn is not None:
            rgb = rgb.transpose(turn)
            rgb.info = {}  # it still says how to turn it; nobody shall do so twice
    except ImageError as error:
        raise ImageError(f"{name} {error.message}", error.hint) from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise _damaged(name, error) from error
    return rgb


def _check_pixels(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has too many pixels: {width} x {height}, the limit is {MAX_PIXELS // 1_000_000} million",
            "scale it down first",
        )
    if width * height == 0:
        raise ImageError(f"{name} has no pixels: {width} x {height}")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - unreadable EXIF beside good pixels is no reason to refuse them
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray(rgb_array(_sixteen_bits(image)))  # first: Pillow's own conversion clips them
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image)
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise ImageError("has float pixels, expected 8 or 16 bits a channel", _HINT)
    if image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA":
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def _sixteen_bits(image: Image.Image) -> NDArray[np.uint16]:
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"has integer pixels from {low} to {high}, expected 0 to 65535", _HINT)
    return values.astype(np.uint16)


def _eight_bits(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    # 65535 = 255 * 257: the full range maps to the full range, each level rounded to the nearest.
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _damaged(name: str, error: Exception) -> ImageError:
    # Pillow hands a decoder's stumbles ("KeyError: 123") on as SyntaxError; only what it words itself is for people.
    cause = error.__cause__ if isinstance(error, SyntaxError) and error.__cause__ else error
    worded = isinstance(cause, (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError))
    reason = " ".join(str(cause).split()) if worded else ""
    word = "truncated" if "truncated" in reason.lower() or isinstance(cause, EOFError) else "damaged"
    return ImageError(f"{name} is {word}: {reason or 'its content makes no sense'}", _HINT)
