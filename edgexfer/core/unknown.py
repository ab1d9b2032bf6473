"""Unknown: an image whose best score is below those of images like the training's is called so, and not believed.

The score is the largest probability: "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
Networks", Hendrycks and Gimpel, ICLR 2017. It is all that a device needs, since the graph gives probabilities alone.
`export` chooses where it is cut, on the validation images, and the bundle's manifest keeps that:

    "unknown": {"score": "max_probability", "known_share": 0.95, "images": 310, "precisions": {"int8": {
        "known_from": 0.85, "val": 0.955, "held_out": 0.945, "generated": {"noise": 1.0, "flat": 1.0, "blots": 1.0}}}}

known_share is what was asked for and images are those it was chosen on. For each precision: the threshold, a
probability; the share of the validation images and of the other held-out ones (absent where there are none) that stay
known; and the share of pictures made from random numbers, by kind, that are called unknown. Each precision has its own
threshold, for 8 bits shift scores. The key is absent in older bundles: there nothing is unknown.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import ArtifactError, SettingsError

SCORE = "max_probability"
KNOWN_SHARE = 0.95
_LEAST_SHARE, _SURE = 0.5, 1e-9


def check_known_share(share: float) -> None:
    """Raises SettingsError where `share` is no share of images that can be asked to stay known."""
    if not _LEAST_SHARE <= share <= 1:
        raise SettingsError(f"the share of known images is {share:g}, expected {_LEAST_SHARE:g} to 1")


def known_from(scores: NDArray[np.float32], share: float = KNOWN_SHARE) -> float:
    """Returns the score from which on an image is known: the k-th lowest, k = max(1, (1 - share)(N + 1) rounded down).

    New images like these then stay known with a probability of 1 - k / (N + 1) or more, whatever the network: split
    conformal prediction, Vovk, Gammerman and Shafer 2005, section 4.1. Fewer than `images_needed` cannot promise
    `share`: of such the lowest score is taken, so that all of them stay known.

    Args:
        scores: the largest probability of each image, [N], N is 1 or more; none of them was trained on.
        share: of images like these that shall stay known, 0.5 to 1.
    """
    rank = max(1, math.floor((1 - share) * (len(scores) + 1) + _SURE))
    return float(np.sort(scores)[rank - 1])


def images_needed(share: float) -> int:
    """Returns how many images can promise that `share` of further ones stays known; 0 for 1, which none can."""
    return 0 if share >= 1 else math.ceil(1 / (1 - share) - _SURE) - 1


def threshold_of(record: Any, precision: str, where: str) -> float | None:
    """Reads the threshold of one precision.

    Args:
        record: the value of the manifest's key `unknown`; None where there is no such key.
        precision: of the network that runs.
        where: what is named in errors.

    Returns:
        A probability; None where there is no threshold.

    Raises:
        ArtifactError: the record is not as the module's docstring says, or is of a score that this edgexfer has not.
    """
    if record is None:
        return None
    again = "export the bundle again with `edgexfer export RUN --target NAME`"
    if not isinstance(record, dict) or not isinstance(record.get("precisions"), dict):
        raise ArtifactError(f"{where}: 'unknown' in its manifest is not a record of thresholds", again)
    if record.get("score") != SCORE:
        raise ArtifactError(f"{where} calls images unknown by {record.get('score')!r}, this edgexfer by {SCORE}", again)
    entry = record["precisions"].get(precision)
    if entry is None:
        return None
    value = entry.get("known_from") if isinstance(entry, dict) else entry
    if (
        not isinstance(entry, dict)
        or isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value <= 1
    ):
        raise ArtifactError(f"{where}: the threshold for {precision} is {value!r}, expected a probability", again)
    return float(value)
