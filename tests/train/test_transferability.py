"""LogME: the evidence it names is the largest that any two precisions give, and it orders features by their worth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from edgexfer.train.head.transferability import log_maximum_evidence

pytestmark = pytest.mark.train


def features(signal: float, seed: int = 0, images: int = 40, width: int = 12) -> tuple[NDArray[np.float32], NDArray]:
    rng = np.random.default_rng(seed)
    ids = np.arange(images) % 2
    x = rng.normal(size=(images, width))
    x[:, 0] += signal * (2 * ids - 1)
    return x.astype(np.float32), ids.astype(np.int64)


def evidence(x: NDArray[np.float64], target: NDArray[np.float64], prior: float, noise: float) -> float:
    """Of labels under a linear model, by the normal distribution that it is."""
    covariance = x @ x.T / prior + np.eye(len(x)) / noise
    return float(multivariate_normal(cov=covariance).logpdf(target)) / len(x)


@pytest.mark.parametrize(("images", "width"), [(40, 12), (60, 4)])
def test_it_is_the_largest_evidence(images: int, width: int) -> None:
    x, ids = features(1.0, images=images, width=width)
    centred = x.astype(np.float64) - x.mean(axis=0)
    target = ids - ids.mean()
    grid = 10.0 ** np.arange(-2, 5, 0.1)
    best = max(evidence(centred, target, prior, noise) for prior in grid for noise in 10.0 ** np.arange(-0.5, 1.6, 0.1))
    assert log_maximum_evidence(x, ids) == pytest.approx(best, abs=5e-3)


def test_features_that_tell_the_classes_apart_are_worth_more() -> None:
    found = [log_maximum_evidence(*features(signal)) for signal in (0.0, 0.7, 1.5, 4.0)]
    assert found == sorted(found)


def test_the_order_of_images_does_not_count() -> None:
    x, ids = features(1.0)
    order = np.random.default_rng(1).permutation(len(ids))
    assert log_maximum_evidence(x[order], ids[order]) == pytest.approx(log_maximum_evidence(x, ids))


@pytest.mark.parametrize("x", [np.ones((8, 40), np.float32), np.random.default_rng(0).random((8, 40), np.float32)])
def test_features_that_say_nothing_or_are_too_many_give_a_number(x: NDArray[np.float32]) -> None:
    assert np.isfinite(log_maximum_evidence(x, np.arange(8) % 2))
