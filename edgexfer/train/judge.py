"""Figures of a network on cached images, with torchmetrics; used while training, never for a bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.network import channels_last
from edgexfer.train.pixel_cache import PixelCache
from edgexfer.train.prepared import Prepared
from edgexfer.train.trainee import metric_collection, plain_figures

_BATCH = 64


@torch.no_grad()
def probabilities(network: DeployNetwork, cache: PixelCache, rows: NDArray[np.int64]) -> Tensor:
    """Returns the network's probabilities for cached images, float32 [len(rows), classes]."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(rows), _BATCH):
        pixels = torch.from_numpy(cache[rows[start : start + _BATCH]]).to(device).permute(0, 3, 1, 2)
        parts.append(network(channels_last(pixels)).softmax(1).cpu())
    return torch.cat(parts)


def figures(
    network: DeployNetwork, cache: PixelCache, class_ids: NDArray[np.int64], rows: NDArray[np.int64]
) -> dict[str, Any]:
    """Returns images, top1, macro_f1, recall by class, calibration_error and confusion as numbers and lists."""
    found = probabilities(network, cache, rows)
    collection = metric_collection(found.shape[1])
    computed = collection(found, torch.from_numpy(class_ids[rows]))
    return {"images": len(rows), **plain_figures(computed)}


def figures_by_split(network: DeployNetwork, prepared: Prepared) -> dict[str, Any]:
    """Returns `figures` of the validation images, and of the test images where there are any."""
    return {
        split: figures(network, prepared.cache, prepared.class_ids, rows)
        for split in ("val", "test")
        if len(rows := prepared.indices(split))
    }
