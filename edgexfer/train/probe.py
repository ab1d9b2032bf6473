"""The head first: logistic regression on the frozen network's features, written back as its classifier.

It is the best a small set can ask for at the price of one pass over the images, and where fine-tuning starts:
"Do Better ImageNet Models Transfer Better?" (Kornblith et al. 2019) fits it the same way.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor, nn

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.network import captured_features, channels_last, head_of
from edgexfer.train.pixel_cache import PixelCache

_INVERSE_PENALTIES = (0.0001, 0.001, 0.01, 0.1)
_BATCH = 64
_LEAST_SPREAD = 0.2
IMBALANCE = 1.5  # from here on, classes are weighted by how rare they are


@dataclass(frozen=True)
class Probe:
    """A fitted head.

    Attributes:
        weight: float32 [classes, features].
        bias: float32 [classes].
        inverse_penalty: the C of scikit-learn that the validation images chose.
        mirror_keeps_classes: whether mirrored images are still recognised, so that training may mirror.
    """

    weight: Tensor
    bias: Tensor
    inverse_penalty: float
    mirror_keeps_classes: bool


@torch.inference_mode()
def features(
    network: DeployNetwork, cache: PixelCache, rows: NDArray[np.int64], *, mirrored: bool = False
) -> NDArray[np.float32]:
    """Returns what enters the classifier for the images `rows`, float32 [len(rows), features]."""
    device = next(network.parameters()).device
    with captured_features(network) as seen:
        for start in range(0, len(rows), _BATCH):
            pixels = torch.from_numpy(cache[rows[start : start + _BATCH]]).to(device).permute(0, 3, 1, 2)
            network(channels_last(pixels.flip(3) if mirrored else pixels))
        return torch.cat(seen).float().cpu().numpy()


def fit_probe(
    network: DeployNetwork,
    cache: PixelCache,
    class_ids: NDArray[np.int64],
    train: NDArray[np.int64],
    val: NDArray[np.int64],
) -> Probe:
    """Fits the head on the images `train`; the network itself is not changed.

    The penalty is chosen as the best epoch is: by top-1 on the validation images, of equals by the loss.

    Whether mirroring keeps the classes is asked of the images: the head, fitted on upright images, must recognise
    the mirrored validation images nearly as well. A mirrored "b" is a "d"; a mirrored bee is a bee.

    Args:
        network: the frozen network.
        cache: pixels by row.
        class_ids: int64 [rows], 0-based; every class occurs in `train`.
        train: rows to fit on.
        val: rows to choose the penalty with, and to judge the mirror.
    """
    seen = features(network, cache, train)
    mean, spread = seen.mean(axis=0), seen.std(axis=0)
    # A feature that hardly ever varies would get a weight in the hundreds, and 8 bits could not hold the others.
    spread = np.maximum(spread, _LEAST_SPREAD * spread.mean() + 1e-6)
    x, y = (seen - mean) / spread, class_ids[train]
    judged = (features(network, cache, val) - mean) / spread, class_ids[val]
    fitted = [_regression(penalty, x, y) for penalty in _INVERSE_PENALTIES]
    chosen = max(fitted, key=lambda model: (model.score(*judged), -_loss(model, *judged)))
    upright = chosen.score(*judged)
    mirrored = chosen.score((features(network, cache, val, mirrored=True) - mean) / spread, class_ids[val])
    # Two images of noise are forgiven; a class that mirrors into another loses far more.
    keeps = mirrored >= upright - max(0.02, 2 / len(val))
    coefficients, intercepts = _all_classes(chosen)
    weight = coefficients / spread
    return Probe(
        torch.from_numpy(weight).float(),
        torch.from_numpy(intercepts - weight @ mean).float(),
        float(chosen.C),
        bool(keeps),
    )


def write_head(network: nn.Module, probe: Probe) -> None:
    """Copies the fitted head into the network's classifier."""
    _, head = head_of(network)
    with torch.no_grad():
        head.weight.copy_(probe.weight)
        head.bias.copy_(probe.bias)


def _regression(penalty: float, x: NDArray[np.float32], y: NDArray[np.int64]) -> LogisticRegression:
    with _stopping_early_is_fine():
        return LogisticRegression(C=penalty, max_iter=1000, tol=1e-3, class_weight=_class_weight(y)).fit(x, y)


def _loss(model: LogisticRegression, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    return float(log_loss(y, model.predict_proba(x), labels=model.classes_))


def _class_weight(y: NDArray[np.int64]) -> str | None:
    counts = np.bincount(y)
    return "balanced" if counts.max() > IMBALANCE * counts.min() else None


@contextmanager
def _stopping_early_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _all_classes(fitted: LogisticRegression) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # With two classes scikit-learn keeps one row of log odds; a softmax over (-z/2, z/2) is the same.
    if len(fitted.coef_) == 1:
        return np.vstack([-fitted.coef_, fitted.coef_]) / 2, np.concatenate([-fitted.intercept_, fitted.intercept_]) / 2
    return fitted.coef_, fitted.intercept_
