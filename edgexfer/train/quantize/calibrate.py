"""Calibration images: from the training split alone, balanced over the classes, drawn by seed, recorded by digest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.target import CalibrationRecipe
from edgexfer.train.images.split import SplitRow


def calibration_rows(rows: Sequence[SplitRow], recipe: CalibrationRecipe) -> NDArray[np.int64]:
    """Returns the indices in `rows` of the images that calibrate, int64, in drawing order.

    Classes take turns until `recipe.images` are drawn or the training split is used up.
    """
    generator = np.random.default_rng(recipe.seed)
    by_class: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if row.split == "train":
            by_class.setdefault(row.label, []).append(index)
    queues = [list(generator.permutation(by_class[label])) for label in sorted(by_class)]
    drawn: list[int] = []
    while len(drawn) < recipe.images and any(queues):
        drawn += [queue.pop() for queue in queues if queue]
    return np.array(drawn[: recipe.images], dtype=np.int64)
