"""How well a frozen network's features fit a data set, before anything is trained: LogME, You et al. 2021.

The logarithm of the evidence that a Bayesian linear model gives the labels, its two precisions chosen to maximise it.
It needs one pass over the images and no validation set, and orders backbones by what fine-tuning them will reach
better than the accuracy of a head does where images are few.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 20
_CONVERGED = 1e-3
_SILENT = 1e-6
_LEAST_FREE = 1e-3  # degrees of freedom: of a model that can fit anything none would be left, and all noise be zero


def log_maximum_evidence(features: NDArray[np.float32], class_ids: NDArray[np.int64]) -> float:
    """Returns LogME: the higher, the better the features suit the classes; comparable for one set of images alone.

    Args:
        features: [images, features]. With fewer images than features a linear model can fit anything, and the
            figure says little.
        class_ids: int64 [images]; each class that occurs is a regression of its own, one against the others.
    """
    x = features.astype(np.float64)
    x -= x.mean(axis=0)
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    # Directions in which the images do not differ say nothing; rounding would make them small numbers to divide by.
    telling = singular > _SILENT * (singular[0] + 1e-30)
    left, singular = left[:, telling], singular[telling]
    found = [_evidence(left, singular**2, class_ids == label) for label in np.unique(class_ids)]
    return float(np.mean(found))


def _evidence(left: NDArray[np.float64], variance: NDArray[np.float64], wanted: NDArray[np.bool_]) -> float:
    """Returns the evidence of one class per image, maximised by the fixed point of the paper's algorithm 3."""
    count = len(wanted)
    target = wanted - wanted.mean()
    along = (left.T @ target) ** 2
    across = max(float(target @ target - along.sum()), 0.0)
    prior, noise = 1.0, 1.0
    for _ in range(_ROUNDS):
        known = float((variance / (variance + prior / noise)).sum())
        weights = float((variance * along / (variance + prior / noise) ** 2).sum())
        residual = across + float((along * (prior / noise / (variance + prior / noise)) ** 2).sum())
        before = prior / noise
        prior, noise = max(known, _LEAST_FREE) / (weights + 1e-12), max(count - known, _LEAST_FREE) / (residual + 1e-12)
        if abs(prior / noise - before) <= _CONVERGED * before:
            break
    evidence = (
        len(variance) * np.log(prior)
        + count * np.log(noise)
        - np.log(prior + noise * variance).sum()
        - noise * residual
        - prior * weights
        - count * np.log(2 * np.pi)
    )
    return float(evidence / (2 * count))
