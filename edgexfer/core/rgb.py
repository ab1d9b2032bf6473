"""RGB: pixels of any mode and depth to 8 bits a colour. Transparency is laid on white, 16 bits are scaled.

What needs several copies of the pixels works in strips, so that a large image takes little more than itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexfer.core.errors import ImageError

HINT = "save it again as a JPEG or PNG, or leave it out"
_BAND_PIXELS = 4_000_000


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


def to_rgb(image: Image.Image) -> Image.Image:
    """Brings an image of any mode to RGB; returns `image` itself where it is that.

    Raises:
        ImageError: float pixels, or integers beyond 16 bits; the message goes on after the image's name.
    """
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_sixteen_bits(image)  # first: Pillow's own conversion clips them
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image)
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise ImageError("has float pixels, expected 8 or 16 bits a channel", HINT)
    if image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA":
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    made = Image.new("RGB", image.size)
    for box in _bands(image):
        band = image.crop(box)
        rgba = band if band.mode == "RGBA" else band.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        made.paste(Image.alpha_composite(white, rgba).convert("RGB"), box)
    return made


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    made = Image.new("RGB", image.size)
    for box in _bands(image):
        values = np.asarray(image.crop(box))
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ImageError(f"has integer pixels from {low} to {high}, expected 0 to 65535", HINT)
        made.paste(Image.fromarray(_eight_bits(values.astype(np.uint16))).convert("RGB"), box)
    return made


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    # What takes several copies of the pixels is done in strips of them.
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _eight_bits(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    # 65535 = 255 * 257: the full range maps to the full range, each level rounded to the nearest.
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
