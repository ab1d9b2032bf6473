"""Whether two sets of images differ: train from val, DATA from --unlabeled. Features of both in, one figure out.

A classifier is asked to tell the sets apart by their frozen features, on images that it was not fitted on. Where it
cannot, they are alike to the network; how well it can is the proxy A-distance's idea (Ben-David et al. 2010, "A theory
of learning from different domains"). It is given as the area under the ROC curve: how often, of one image of each set,
the right one is told; half is chance. It says that sets differ, not that accuracy suffers by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.head.probe import features
from edgexfer.train.images.pixel_cache import PixelCache

_MOST_IMAGES = 300
_FOLDS = 5
_INVERSE_PENALTY = 0.001
_SLIGHT, _CLEAR = 0.6, 0.8


@dataclass(frozen=True)
class SetShift:
    """How well two sets of images are told apart.

    Attributes:
        auc: area under the ROC curve; 0.5 is chance, 1 without fail.
        low: lower end of its 95 % interval.
        high: upper end.
        images: how many of each set were used.
    """

    auc: float
    low: float
    high: float
    images: tuple[int, int]

    @property
    def words(self) -> str:
        """What the figure means."""
        if self.low <= 0.5 or self.auc < _SLIGHT:
            return "no difference seen"
        return "they differ clearly" if self.auc >= _CLEAR else "they differ a little"

    @property
    def differs(self) -> bool:
        """Whether a user should look at it."""
        return self.words == "they differ clearly"

    def line(self, one: str, other: str) -> str:
        """Returns one line for a log; `one` and `other` name the sets."""
        return (
            f"{one} against {other}: told apart in {100 * self.auc:.0f} of 100 pairs "
            f"(chance 50; 95 %: {100 * self.low:.0f} to {100 * self.high:.0f}): {self.words}"
        )

    def to_json(self) -> dict[str, float | str | list[int]]:
        """Returns the record for the manifest."""
        rounded = {name: round(getattr(self, name), 4) for name in ("auc", "low", "high")}
        return {**rounded, "images": list(self.images), "words": self.words}


def set_shift(one: NDArray[np.float32], other: NDArray[np.float32], seed: int = 0) -> SetShift | None:
    """Measures how well images of two sets are told apart by their features.

    Args:
        one: float32 [images, features], as train/probe.features gives them.
        other: the same of the other set.
        seed: of the draw where a set has more than 300 images, and of the folds.

    Returns:
        None where a set has fewer than 5 images.
    """
    rng = np.random.default_rng(seed)
    one, other = (rows[rng.permutation(len(rows))[:_MOST_IMAGES]] for rows in (one, other))
    if min(len(one), len(other)) < _FOLDS:
        return None
    x = np.concatenate([one, other])
    y = np.repeat([0, 1], [len(one), len(other)])
    # Many features and few images: a strong penalty, else the folds tell nothing but their own noise.
    regression = LogisticRegression(C=_INVERSE_PENALTY, class_weight="balanced", max_iter=200, tol=1e-2)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(make_pipeline(StandardScaler(), regression), x, y, cv=folds, method="decision_function")
    auc = float(roc_auc_score(y, scores))
    error = _standard_error(auc, len(one), len(other))
    return SetShift(auc, max(0.0, auc - 1.96 * error), min(1.0, auc + 1.96 * error), (len(one), len(other)))


def shift_of_caches(
    network: DeployNetwork,
    one: tuple[PixelCache, NDArray[np.int64]],
    other: tuple[PixelCache, NDArray[np.int64]],
    seed: int = 0,
) -> SetShift | None:
    """Returns `set_shift` of some images of two sets, each a cache and the rows in it, as `network` sees them."""
    drawn = [np.sort(np.random.default_rng(seed).permutation(rows)[:_MOST_IMAGES]) for _, rows in (one, other)]
    if min(map(len, drawn)) < _FOLDS:
        return None
    return set_shift(features(network, one[0], drawn[0]), features(network, other[0], drawn[1]), seed)


def _standard_error(auc: float, one: int, other: int) -> float:
    """Of an area under the curve: Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve"."""
    first, second = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = auc * (1 - auc) + (other - 1) * (first - auc * auc) + (one - 1) * (second - auc * auc)
    return math.sqrt(max(0.0, variance) / (one * other))
