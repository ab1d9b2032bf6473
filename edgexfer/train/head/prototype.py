"""Prototypes: a class is the mean of its images' normalised features. One image is enough, and nothing is trained.

"Prototypical Networks for Few-shot Learning" (Snell et al. 2017) on a frozen pretrained network, centred and brought
to unit length before the means are taken, as "SimpleShot" (Wang et al. 2019) found best. The nearest prototype by
cosine is a linear function of the features, so it is the network's classifier and exports like any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SHARPNESS = 12.0  # logit of an image that points exactly at a prototype; a temperature is fitted on val afterwards


def prototype_head(
    features: NDArray[np.float32], class_ids: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the classifier whose answer is the nearest prototype.

    Args:
        features: [images, features].
        class_ids: int64 [images], 0-based; every class occurs.
        classes: how many there are.

    Returns:
        weight float32 [classes, features] and bias float32 [classes].
    """
    counts = np.bincount(class_ids, minlength=classes)
    means = np.stack([features[class_ids == label].mean(axis=0) for label in range(classes)])
    # The classes' means count alike, however many images each has.
    centre = means.mean(axis=0)
    spread = features.std(axis=0) if counts.sum() > classes else np.ones(features.shape[1], np.float32)
    spread = np.maximum(spread, 0.2 * spread.mean() + 1e-6)
    scaled = (features - centre) / spread
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = scaled / np.maximum(lengths, 1e-12)
    prototypes = np.stack([unit[class_ids == label].mean(axis=0) for label in range(classes)])
    prototypes /= np.maximum(np.linalg.norm(prototypes, axis=1, keepdims=True), 1e-12)
    # A linear head cannot divide by each image's length; that scales all its logits alike and changes no answer.
    weight = _SHARPNESS * prototypes / spread / lengths.mean()
    return weight.astype(np.float32), (-weight @ centre).astype(np.float32)
