"""Class folders of plain colours: with the tiny bundle red is "a", green "b", blue "c"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"a": (200, 30, 30), "b": (30, 200, 30), "c": (30, 30, 200)}


def write_image(path: Path, colour: tuple[int, int, int], seed: int = 0) -> Path:
    """Writes a PNG of 12 x 10 noisy pixels around `colour`; another seed gives another digest."""
    noise = np.random.default_rng(seed).integers(-20, 21, (10, 12, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


def write_folders(root: Path, each: int = 4) -> Path:
    """Writes `each` images of each class to root/<class>/<n>.png, every one different."""
    for index, (label, colour) in enumerate(COLOURS.items()):
        for number in range(each):
            write_image(root / label / f"{number}.png", colour, seed=100 * index + number)
    return root
