"""Writes preprocess.npz beside itself: synthetic images and the pixels that are made of them.

    python tests/golden/make_preprocess.py

Run it only where Preprocess gets a new version: what is recorded is what every bundle relies on.
Versions differ in JPEGs alone; both are recorded.
Arrays: `<case>.source` uint8 [h, w, 3] or the uint8 bytes of a JPEG, `<case>.expected` uint8 [H, W, 3], and
`pillow`, the version that made them.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from edgexfer.core.preprocess import Preprocess, pixels

FILE = Path(__file__).parent / "preprocess.npz"
CASES: dict[str, tuple[tuple[int, int], Preprocess]] = {
    "wide-cover": ((60, 91), Preprocess(32, 32)),
    "tall-cover": ((97, 40), Preprocess(32, 32)),
    "wide-stretch": ((60, 91), Preprocess(32, 32, "stretch")),
    "bilinear": ((75, 75), Preprocess(32, 32, "cover", "bilinear")),
    "oblong": ((50, 50), Preprocess(24, 48)),
    "enlarged": ((10, 13), Preprocess(32, 32)),
    "same": ((32, 32), Preprocess(32, 32)),
    "far-larger": ((140, 211), Preprocess(32, 32)),
    "jpeg-version-1": ((300, 400), Preprocess(32, 32, version=1)),
    "jpeg": ((300, 400), Preprocess(32, 32)),
}


def synthetic(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Draws smooth waves with an edge and a little noise: uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows * a + columns * b + c) for a, b, c in random.uniform(0.02, 0.4, (3, 3))]
    image = np.stack(waves, axis=2) * 90 + 128 + 40 * (columns > width // 3)[..., None]
    return np.clip(image + random.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def as_source(name: str, array: NDArray[np.uint8]) -> Any:
    """Returns what is given to `pixels`: the bytes of a JPEG, or the image itself."""
    return array.tobytes() if name.startswith("jpeg") else array


def main() -> None:
    """Writes the file."""
    arrays: dict[str, Any] = {"pillow": np.array(PIL.__version__)}
    for seed, (name, ((height, width), preprocess)) in enumerate(CASES.items()):
        source = synthetic(height, width, seed)
        if name.startswith("jpeg"):
            buffer = io.BytesIO()
            Image.fromarray(source).save(buffer, "JPEG", quality=90)
            source = np.frombuffer(buffer.getvalue(), np.uint8)
        arrays[f"{name}.source"] = source
        arrays[f"{name}.expected"] = pixels(as_source(name, source), preprocess)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
