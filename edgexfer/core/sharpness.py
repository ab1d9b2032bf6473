"""Sharpness: which images are blurred, by the variance of their Laplacian against the rest of the set.

The figure is that of Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy: a comparative study".
What is sharp depends on what is photographed, so that no number separates sharp from blurred everywhere: an image
counts as blurred where it lies far below the set's median, by the median absolute deviation (Iglewicz and Hoaglin 1993,
"How to Detect and Handle Outliers"). A set that is blurred as a whole is not noticed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 224  # larger images are scaled down to it: training does not see what is lost
_LONGEST = 100_000  # or a strip a million pixels long, whose short side is short enough, would take gigabytes
_DEVIATIONS = 3.5
# Of the logarithm: a factor of 14 below the median at least. Of two cameras one may be ten times softer: no blur.
_LEAST_DEVIATION = 0.75
_LEAST_IMAGES = 20
_DEVIATION_OF_NORMAL = 1.4826


def sharpness(image: Image.Image) -> float:
    """Returns the variance of the Laplacian of an RGB image, in squared grey levels; 0 for less than 3 x 3 pixels.

    Args:
        image: upright. Its short side is scaled to 224 pixels where it is longer, so that images compare.
    """
    short = min(image.size)
    factor = max(1, short // (2 * _SIDE), -(-max(image.size) // _LONGEST))
    grey = (image.reduce(factor) if factor > 1 else image).convert("L")
    if min(grey.size) > _SIDE:
        scale = _SIDE / min(grey.size)
        grey = grey.resize((round(grey.width * scale), round(grey.height * scale)), Image.Resampling.BOX)
    if min(grey.size) < 3:
        return 0.0
    levels = np.asarray(grey, np.float32)
    across = levels[1:-1, :-2] + levels[1:-1, 2:]
    along = levels[:-2, 1:-1] + levels[2:, 1:-1]
    return float((across + along - 4 * levels[1:-1, 1:-1]).var())


def blurred(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the places of the images that are far less sharp than the median one, the worst first.

    Args:
        values: `sharpness` of each image; of fewer than 20 nothing can be said.
    """
    if len(values) < _LEAST_IMAGES:
        return np.zeros(0, np.int64)
    logs = np.log(np.maximum(values, 1e-3))
    middle = np.median(logs)
    deviation = max(_LEAST_DEVIATION, float(np.median(np.abs(logs - middle))) * _DEVIATION_OF_NORMAL)
    order = np.argsort(logs, kind="stable")
    far: NDArray[np.int64] = order[logs[order] < middle - _DEVIATIONS * deviation]
    return far
