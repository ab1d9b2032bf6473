"""The figures that a classifier is judged by while it trains, by torchmetrics."""

from __future__ import annotations

from typing import Any

import torchmetrics.classification as metrics
from torch import Tensor
from torchmetrics import MetricCollection


def metric_collection(classes: int, *, over_processes: bool = False) -> MetricCollection:
    """Returns the figures that a classifier is judged by; all take probabilities [N, classes] and ids [N].

    Args:
        classes: how many there are.
        over_processes: whether `compute` joins what all processes of the run have seen; then all of them call it.
    """
    how: dict[str, Any] = {"sync_on_compute": over_processes}
    return MetricCollection(
        {
            "top1": metrics.MulticlassAccuracy(classes, average="micro", **how),
            "macro_f1": metrics.MulticlassF1Score(classes, average="macro", **how),
            "recall": metrics.MulticlassRecall(classes, average="none", **how),
            "calibration_error": metrics.MulticlassCalibrationError(classes, n_bins=15, **how),
            "confusion": metrics.MulticlassConfusionMatrix(classes, **how),
        }
    )


def plain_figures(computed: dict[str, Tensor]) -> dict[str, Any]:
    """Returns what `MetricCollection.compute` gave as numbers and lists."""
    return {name: value.tolist() if value.ndim else float(value) for name, value in computed.items()}
