"""Top-1 of a checkpoint on images of one's own choice, in evaluation's preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.loop.judge import probabilities


def top1_on(checkpoint: Checkpoint, images: Sequence[tuple[Path, str]]) -> float:
    """Returns the share of `images`, pairs of path and class, that the checkpoint's network recognises.

    All of its classes compete, those that do not occur among `images` as well.
    """
    paths = [path for path, _ in images]
    truth = np.array([checkpoint.labels.index(label) for _, label in images])
    with PixelCache(len(paths), checkpoint.preprocess) as cache:
        cache.fill(paths)
        found = probabilities(checkpoint.float_network(), cache, np.arange(len(paths))).argmax(1).numpy()
    return float((found == truth).mean())
