"""Preprocess: how any image becomes the network's pixels, and the one implementation of it.

Evaluation, calibration and the device all call `pixels`; nothing else decodes, resizes or crops. The
whole short side is used (there is no centre crop by 0.875), so an image that already has the
network's size passes through untouched.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexfer.core.decode import MAX_PIXELS, Source, decode
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.rgb import rgb_array
from edgexfer.core.toml import from_table

__all__ = ["MAX_PIXELS", "Preprocess", "Source", "decode", "pixels", "resize_image"]

VERSION = 2
_DECODED_AT_LEAST = {1: 2, 2: 1}
"""How many times the network's size a JPEG has at least that its decoder scales, by version of the definition."""
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Preprocess:
    """From an image of any size to uint8 [height, width, 3].

    Attributes:
        height: of the network's input, in pixels.
        width: of the network's input, in pixels.
        resize: "cover" scales the image to fill height x width and cuts what hangs over, evenly on
            both sides; "stretch" keeps all of it and gives up the ratio of its sides.
        interpolation: of the resize, antialiased.
        version: of this definition; another one gives other pixels. Version 1 let a JPEG's decoder scale it to no less
            than twice the network's size, version 2 to no less than that size, which takes half the time and costs no
            accuracy (docs/benchmarks.md).
    """

    height: int
    width: int
    resize: Literal["cover", "stretch"] = "cover"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise SettingsError(f"preprocess has size {self.height} x {self.width}, expected 1 pixel or more")
        if self.version not in _DECODED_AT_LEAST:
            raise SettingsError(f"preprocess has version {self.version}, expected {VERSION}")

    @property
    def at_least(self) -> tuple[int, int]:
        """Height and width that an image must have when it comes from its decoder, where its file is as large."""
        times = _DECODED_AT_LEAST[self.version]
        return times * self.height, times * self.width

    def to_json(self) -> dict[str, Any]:
        """Returns what an artifact's manifest records."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Any) -> Preprocess:
        """Reads what `to_json` wrote.

        Raises:
            ArtifactError: of another version, or not a record of a Preprocess.
            SettingsError: an unknown or missing key, or a value of a wrong type.
        """
        if not isinstance(record, dict):
            raise ArtifactError(f"preprocess is {record!r}, expected a JSON object", "make the artifact again")
        version = record.get("version")
        if version not in _DECODED_AT_LEAST:
            raise ArtifactError(
                f"preprocess has version {version}, this edgexfer knows {' and '.join(map(str, _DECODED_AT_LEAST))}",
                "install the version of edgexfer that wrote it, or make the artifact again with this one",
            )
        return from_table(cls, record, "preprocess")


def pixels(source: Source, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Turns any image into the network's pixels.

    Args:
        source: what `decode` takes.
        preprocess: size and manner of the resize.

    Returns:
        uint8 [height, width, 3] RGB, contiguous. A contiguous uint8 array that has this shape already is
        returned itself, not a copy.

    Raises:
        ImageError: the image cannot be decoded.
    """
    if isinstance(source, np.ndarray):
        array = rgb_array(source)
        if array.shape[:2] == (preprocess.height, preprocess.width):
            return array
        return resize_image(Image.fromarray(array), preprocess)
    return resize_image(decode(source, at_least=preprocess.at_least), preprocess)


def resize_image(image: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Resizes and crops a decoded image, both in one pass.

    Args:
        image: of mode RGB, as `decode` returns it.
        preprocess: size and manner of the resize.

    Returns:
        uint8 [height, width, 3] RGB, contiguous and writable; the very pixels of `image` where it has that size.
    """
    size = (preprocess.width, preprocess.height)
    if image.size == size:
        return np.array(image)
    box = _cover_box(image.size, size) if preprocess.resize == "cover" else (0.0, 0.0, image.width, image.height)
    # reducing_gap: far larger images are first averaged down to at least twice the size, as a JPEG's draft does.
    small = image.resize(size, _FILTERS[preprocess.interpolation], box=box, reducing_gap=2.0)
    return np.array(small)


def _cover_box(found: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    # The largest centred box (left, upper, right, lower) of the wanted ratio.
    width, height = found
    scale = min(width / wanted[0], height / wanted[1])
    box_width, box_height = min(wanted[0] * scale, width), min(wanted[1] * scale, height)
    left, upper = (width - box_width) / 2, (height - box_height) / 2
    return left, upper, min(left + box_width, width), min(upper + box_height, height)
