"""The embedded example: 1,797 scans of handwritten digits, in scikit-learn (UCI, Alpaydin and Kaynak 1998)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits


def digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the scans, float64 [1797, 8, 8] with ink from 0 to 16, and the digit of each, int64 [1797]."""
    loaded = load_digits()
    return loaded.images, loaded.target.astype(np.int64)
