"""The head first: logistic regression on the frozen network's features, written back as its classifier.

It is the best a small set can ask for at the price of one pass over the images, and where fine-tuning starts:
"Do Better ImageNet Models Transfer Better?" (Kornblith et al. 2019) fits it the same way.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from edgexfer.core.findings import IMBALANCE
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.head.transferability import log_maximum_evidence
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.network import captured_features, channels_last, head_of

_INVERSE_PENALTIES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
_ENOUGH_VAL = 100  # from here on val tells the penalties apart better than folds of a small training set do
_FOLDS, _FOLDED_IMAGES = 4, 512
_MIRRORED_IMAGES = 32  # of val: two classes of ten that mirror into each other cost a fifth of them
_FITTED_IMAGES, _WEIGHED_IMAGES = 20_000, 2048  # more change a head of some thousand weights hardly
_BATCH = 64
_LEAST_SPREAD = 0.2


@dataclass(frozen=True)
class Probe:
    """A fitted head.

    Attributes:
        weight: float32 [classes, features].
        bias: float32 [classes].
        inverse_penalty: the C of scikit-learn.
        chosen_on: what chose it: "val", "folds" of the training images, or "nothing" where a class has one image.
        folds_top1: top-1 of training images by heads that had not seen them, 0 to 1: how well the frozen features
            fit, and so how much there is to learn; None where no class has two images.
        folds_images: how many images that is a share of.
        evidence: LogME of the training images, see train/head/transferability.py.
        forward_ms: time of one image through the network, in milliseconds.
        mirror_keeps_classes: whether mirrored images are still recognised, so that training may mirror.
        val_logits: what the head answers to the validation images, float32 [images, classes].
    """

    weight: Tensor
    bias: Tensor
    inverse_penalty: float
    chosen_on: str
    folds_top1: float | None
    folds_images: int
    evidence: float
    forward_ms: float
    mirror_keeps_classes: bool
    val_logits: Tensor

    def to_json(self) -> dict[str, float | str | None]:
        """Returns the figures for the record."""
        return {
            "inverse_penalty": self.inverse_penalty,
            "chosen_on": self.chosen_on,
            "folds_top1": None if self.folds_top1 is None else round(self.folds_top1, 4),
            "folds_images": self.folds_images,
            "log_maximum_evidence": round(self.evidence, 4),
            "forward_ms": round(self.forward_ms, 3),
        }


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

    The penalty is chosen as the best epoch is, by top-1 on the validation images, of equals by the loss; where these
    are few, by folds of the training images.

    Whether mirroring keeps the classes is asked of the images: the head, fitted on upright images, must recognise
    the mirrored validation images nearly as well. A mirrored "b" is a "d"; a mirrored bee is a bee.

    Args:
        network: the frozen network.
        cache: pixels by row.
        class_ids: int64 [rows], 0-based; every class occurs in `train`.
        train: rows to fit on.
        val: rows to choose the penalty with, and to judge the mirror.
    """
    train = train[_some(class_ids[train], _FITTED_IMAGES)]
    seen = features(network, cache, train)
    mean, spread = seen.mean(axis=0), seen.std(axis=0)
    # A feature that hardly ever varies would get a weight in the hundreds, and 8 bits could not hold the others.
    spread = np.maximum(spread, _LEAST_SPREAD * spread.mean() + 1e-6)
    x, y = (seen - mean) / spread, class_ids[train]
    began = time.perf_counter()  # the first images take longer: memory is asked for, kernels are chosen
    judged = (features(network, cache, val) - mean) / spread, class_ids[val]
    forward_ms = 1000 * (time.perf_counter() - began) / len(val)
    folded = _foldable(y)
    if len(val) >= _ENOUGH_VAL or not len(folded):
        chosen_on = "val" if len(val) >= _ENOUGH_VAL else "nothing"
        fitted = _path(_INVERSE_PENALTIES if chosen_on == "val" else _INVERSE_PENALTIES[-1:], x, y)
        chosen = max(fitted, key=lambda model: (model.score(*judged), -_loss(model, *judged)))
        folds_top1 = _by_fold((float(chosen.C),), x[folded], y[folded])[0][0] if len(folded) else None
    else:
        by_fold = _by_fold(_INVERSE_PENALTIES, x[folded], y[folded])
        best = max(range(len(by_fold)), key=lambda place: by_fold[place])
        chosen_on, folds_top1 = "folds", by_fold[best][0]
        chosen = _path((_INVERSE_PENALTIES[best],), x, y)[0]
    coefficients, intercepts = _all_classes(chosen)
    weight = coefficients / spread
    weighed = _some(y, _WEIGHED_IMAGES)
    return Probe(
        torch.from_numpy(weight).float(),
        torch.from_numpy(intercepts - weight @ mean).float(),
        float(chosen.C),
        chosen_on,
        folds_top1,
        len(folded),
        log_maximum_evidence(seen[weighed], y[weighed]),
        forward_ms,
        _mirror_keeps_classes(chosen, network, cache, val, judged, lambda found: (found - mean) / spread),
        torch.from_numpy(judged[0] @ coefficients.T + intercepts).float(),
    )


def _mirror_keeps_classes(
    model: LogisticRegression,
    network: DeployNetwork,
    cache: PixelCache,
    val: NDArray[np.int64],
    judged: tuple[NDArray[np.float32], NDArray[np.int64]],
    scaled: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> bool:
    asked = _some(judged[1], _MIRRORED_IMAGES)
    upright = float(model.score(judged[0][asked], judged[1][asked]))
    mirrored = float(model.score(scaled(features(network, cache, val[asked], mirrored=True)), judged[1][asked]))
    # Two images of noise are forgiven; a class that mirrors into another loses far more.
    return mirrored >= upright - max(0.02, 2 / len(asked))


def write_head(network: nn.Module, probe: Probe) -> None:
    """Copies the fitted head into the network's classifier."""
    _, head = head_of(network)
    with torch.no_grad():
        head.weight.copy_(probe.weight)
        head.bias.copy_(probe.bias)


def _path(penalties: Sequence[float], x: NDArray[np.float32], y: NDArray[np.int64]) -> list[LogisticRegression]:
    """Fits a head for each penalty, strongest first, each from where the one before it ended."""
    model = LogisticRegression(max_iter=1000, tol=1e-3, class_weight=_class_weight(y), warm_start=True)
    with _stopping_early_is_fine():
        return [copy.deepcopy(model.set_params(C=penalty).fit(x, y)) for penalty in penalties]


def _foldable(y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns rows to divide into folds, balanced over the classes; a class with one image could not be left out."""
    rows = np.flatnonzero(np.bincount(y)[y] >= 2)
    kept = rows[_some(y[rows], max(_FOLDED_IMAGES, 2 * len(np.unique(y[rows]))))] if len(rows) else rows
    return kept if len(np.unique(y[kept])) >= 2 else kept[:0]


def _by_fold(penalties: Sequence[float], x: NDArray[np.float32], y: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Returns top-1 and minus the loss of left-out images for each penalty; every class has two images or more."""
    # Rotated into the images' own span a ridge penalty and its solution are the same, with fewer numbers to find.
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    x = left * singular
    found = [(0.0, 0.0)] * len(penalties)
    folds = StratifiedKFold(min(_FOLDS, int(np.bincount(y)[np.unique(y)].min())), shuffle=True, random_state=0)
    for train, test in folds.split(x, y):
        share = len(test) / len(y)
        for place, model in enumerate(_path(penalties, x[train], y[train])):
            right, loss = found[place]
            right += share * float(model.score(x[test], y[test]))
            found[place] = right, loss - share * _loss(model, x[test], y[test])
    return found


def _some(y: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Returns the rows of up to `most` images, drawn class by class in turn, ascending."""
    drawn = np.random.default_rng(0).permutation(len(y))
    place = np.zeros(len(y), dtype=np.int64)
    for label in np.unique(y):
        own = drawn[y[drawn] == label]
        place[own] = np.arange(len(own))
    return np.sort(drawn[np.argsort(place[drawn], kind="stable")][:most])


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
