"""Figures of a network on cached images, with torchmetrics; used while training, never for a bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.metrics import metric_collection, plain_figures
from edgexfer.train.network import channels_last

_BATCH = 64


@torch.no_grad()
def logits(network: DeployNetwork, cache: PixelCache, rows: NDArray[np.int64]) -> Tensor:
    """Returns the network's logits for cached images, float32 [len(rows), classes]."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(rows), _BATCH):
        pixels = torch.from_numpy(cache[rows[start : start + _BATCH]]).to(device).permute(0, 3, 1, 2)
        parts.append(network(channels_last(pixels)).float().cpu())
    return torch.cat(parts)


def probabilities(network: DeployNetwork, cache: PixelCache, rows: NDArray[np.int64]) -> Tensor:
    """Returns the network's probabilities for cached images, float32 [len(rows), classes]."""
    return logits(network, cache, rows).softmax(1)


def figures(
    network: DeployNetwork, cache: PixelCache, class_ids: NDArray[np.int64], rows: NDArray[np.int64]
) -> dict[str, Any]:
    """Returns images, top1, macro_f1, recall by class, calibration_error and confusion as numbers and lists."""
    return figures_of(probabilities(network, cache, rows), class_ids[rows])


def figures_of(found: Tensor, class_ids: NDArray[np.int64]) -> dict[str, Any]:
    """Returns what `figures` does for probabilities float32 [N, classes] and the true classes, int64 [N]."""
    computed = metric_collection(found.shape[1])(found, torch.from_numpy(class_ids))
    return {"images": len(found), **plain_figures(computed)}


def figures_by_split(network: DeployNetwork, prepared: Prepared) -> dict[str, Any]:
    """Returns `figures` of the validation images, and of the test images where there are any."""
    return {
        split: figures(network, prepared.cache, prepared.class_ids, rows)
        for split in ("val", "test")
        if len(rows := prepared.indices(split))
    }
