"""Pseudo-labels: which unlabeled images a network is sure enough of to learn from its own answers (Lee 2013)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confident(
    probabilities: NDArray[np.float32], *, confidence: float, share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the images that are labelled and their labels: int64 [images] ascending, and int64 [images].

    Of the images that the network takes for a class, the surest `share` is labelled, as long as they reach
    `confidence`. So classes that the network is shy of are not left out: one threshold for all lets the easy ones take
    over (class-balanced self-training, Zou et al. 2018, section 4).

    Args:
        probabilities: [images, classes].
        confidence: the least probability of the label, 0 to 1.
        share: of a class's images, above 0 and up to 1; one at least.
    """
    labels, sureness = probabilities.argmax(1), probabilities.max(1)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        surest = members[np.argsort(-sureness[members], kind="stable")]
        chosen[surest[: max(1, round(share * len(members)))]] = True
    chosen &= sureness >= confidence
    rows = np.flatnonzero(chosen).astype(np.int64)
    return rows, labels[rows].astype(np.int64)
