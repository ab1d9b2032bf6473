"""Accuracy in numbers: arrays of classes and scores in, figures out. Pure numpy; nothing is read or kept here.

Everywhere `truth` and `predicted` are int [N], class ids from 0 to classes - 1, and N may be 0 (figures are then nan).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ECE_BINS = 15


def top1(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Returns the fraction of images whose most probable class is the right one, 0 to 1."""
    return float((truth == predicted).mean()) if len(truth) else float("nan")


def wilson_interval(right: int, images: int, z: float = 1.96) -> tuple[float, float]:
    """Returns the ends of the confidence interval of a fraction (Wilson 1927), nan for no image.

    Args:
        right: images for which it holds.
        images: all of them.
        z: standard deviations on each side; 1.96 is 95 % confidence.
    """
    if images == 0:
        return float("nan"), float("nan")
    fraction, weight = right / images, z * z / images
    middle = (fraction + weight / 2) / (1 + weight)
    reach = z * (fraction * (1 - fraction) / images + weight / (4 * images)) ** 0.5 / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Returns int64 [classes, classes]: row = the true class, column = the predicted one."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def recall(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns float64 [classes]: the fraction of each class's images that was found; nan where it has no image."""
    return _ratio(np.diag(matrix), matrix.sum(axis=1))


def precision(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns float64 [classes]: the fraction of each class's predictions that is right; nan where it has none."""
    return _ratio(np.diag(matrix), matrix.sum(axis=0))


def f1(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns float64 [classes]: harmonic mean of recall and precision; nan where a class never occurs."""
    return _ratio(2 * np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Returns the mean of F1 over the classes, each counting the same, 0 to 1.

    A class that has no image and was never predicted is left out of the mean; one that was predicted
    without having an image counts as 0. scikit-learn and torchmetrics have the same rule.
    """
    scores = f1(matrix)
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else float("nan")


def macro_f1_interval(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: int,
    *,
    tail: float = 0.025,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the ends of the confidence interval of `macro_f1`; nan for no image, and where all answers are right.

    Images are drawn with replacement, and the percentiles of what they give are the ends (Efron and Tibshirani 1993,
    "An Introduction to the Bootstrap"). F1 is no fraction of images, so that Wilson's interval does not fit it. On few
    images it is too narrow, and where no answer is wrong every draw gives 1: nothing is learned from that.

    Args:
        truth: int [N], true classes.
        predicted: int [N], predicted classes.
        classes: how many there are.
        tail: the chance that is left out at each end.
        resamples: how many draws.
        seed: of the draws.
    """
    if (truth == predicted).all():
        return float("nan"), float("nan")
    # Images with the same class and answer are alike, so how many of each are drawn is all that counts.
    cells, images = np.unique(truth * classes + predicted, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(truth), images / len(truth), resamples)
    hits, occurs = np.zeros((2, resamples, classes))
    for cell, counts in zip(cells.tolist(), drawn.T, strict=True):
        mine, said = divmod(cell, classes)
        occurs[:, mine] += counts
        occurs[:, said] += counts
        hits[:, mine] += counts * (mine == said)
    found = np.nanmean(np.divide(2 * hits, occurs, out=np.full(hits.shape, np.nan), where=occurs > 0), axis=1)
    low, high = np.quantile(found, (tail, 1 - tail))
    return float(low), float(high)


def expected_calibration_error(scores: NDArray[np.float64], right: NDArray[np.bool_], bins: int = ECE_BINS) -> float:
    """Returns how far the scores lie from the accuracy that they promise, 0 (honest) to 1.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017: images are sorted into `bins` of equal
    width by their score; the error is the mean of |accuracy - mean score| over the bins, weighted by images.

    Args:
        scores: float [N], probability of the predicted class, 0 to 1.
        right: bool [N], whether that class is the true one.
        bins: how many; see `calibration_bins`.
    """
    if not len(scores):
        return float("nan")
    _, hits, promised = calibration_bins(scores, right, bins)
    return float(np.abs(hits - promised).sum() / len(scores))


def calibration_bins(
    scores: NDArray[np.float64], right: NDArray[np.bool_], bins: int = ECE_BINS
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Sorts images by their score into bins of equal width; bin i holds (i / bins, (i + 1) / bins], the first 0 too.

    Args:
        scores: float [N], probability of the predicted class, 0 to 1.
        right: bool [N], whether that class is the true one.
        bins: how many.

    Returns:
        For each bin: its images, int [bins]; how many of them are right, int [bins]; how many the scores promise
        to be right (their sum), float [bins].
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, scores, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins).astype(np.int64)
    hits = np.bincount(place[right], minlength=bins).astype(np.int64)
    return counts, hits, np.bincount(place, weights=scores, minlength=bins).astype(np.float64)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio
