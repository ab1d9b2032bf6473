"""What each channel is worth: how much the loss on training images would change without it, to first order.

Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019: the square of the sum of activation
times gradient, here over all layers that read the channel, averaged over batches. A removed channel's mean stays in its
readers' biases (narrow.py), so what counts is the activation's distance from its mean. Both need no hook in the
backward pass: the sum of activation times gradient is that of weight times its own gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.network import channels_last
from edgexfer.train.prune.groups import Group
from edgexfer.train.prune.narrow import layer_at, over_kernel

_BATCH = 8  # small, so that what one image needs does not cancel with what another does
_MEAN_BATCH = 32

Progress = Callable[[int, int], None]


def input_means(
    network: DeployNetwork, groups: Sequence[Group], cache: PixelCache, rows: NDArray[np.int64]
) -> dict[str, Tensor]:
    """Returns {reader: mean of each channel that enters it, float32 [channels]} over images and places.

    Args:
        network: in deploy form.
        groups: their readers are looked at.
        cache: pixels by row.
        rows: images of the training split.
    """
    sums: dict[str, Tensor] = {}

    def add(name: str, entering: Tensor) -> None:
        mean = entering.flatten(2).mean(2) if entering.ndim > 2 else entering
        sums[name] = sums.get(name, torch.zeros(1).to(mean)) + mean.sum(0)

    names = {name for group in groups for name in group.readers}
    hooks = [
        network.network.get_submodule(name).register_forward_pre_hook(lambda _, args, name=name: add(name, args[0]))
        for name in names
    ]
    try:
        with torch.no_grad():
            for start in range(0, len(rows), _MEAN_BATCH):
                network(_pixels(network, cache, rows[start : start + _MEAN_BATCH]))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total.cpu() / len(rows) for name, total in sums.items()}


def importances(
    network: DeployNetwork,
    groups: Sequence[Group],
    means: dict[str, Tensor],
    cache: PixelCache,
    class_ids: NDArray[np.int64],
    rows: NDArray[np.int64],
    progress: Progress | None = None,
) -> list[Tensor]:
    """Returns for each group the importance of each of its channels, float64 [width], 0 or more.

    Args:
        network: in deploy form; its weights are not changed.
        groups: of this network.
        means: as `input_means` returns them.
        cache: pixels by row.
        class_ids: int64, the class of each row.
        rows: images of the training split.
        progress: called with (images done, all).
    """
    network.eval()
    found = [torch.zeros(group.width, dtype=torch.float64) for group in groups]
    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    for number, batch in enumerate(batches):
        network.zero_grad(set_to_none=True)
        targets = torch.from_numpy(class_ids[batch]).to(next(network.parameters()).device)
        with torch.enable_grad():
            F.cross_entropy(network(_pixels(network, cache, batch)), targets).backward()
        for total, group in zip(found, groups, strict=True):
            changes = [_change(layer_at(network.network, name), means[name]) for name in group.readers]
            total += torch.stack(changes).sum(0) ** 2 / len(batches)
        if progress is not None:
            progress(min(number * _BATCH + len(batch), len(rows)), len(rows))
    network.zero_grad(set_to_none=True)
    return found


@torch.no_grad()
def _change(reader: nn.Conv2d | nn.Linear, mean: Tensor) -> Tensor:
    """Returns the loss's change for each input channel held at its mean, float64 [channels]."""
    weight, gradient = reader.weight, reader.weight.grad
    assert gradient is not None  # noqa: S101 - a backward pass went before
    change = over_kernel(weight * gradient).sum(0)
    if reader.bias is not None and reader.bias.grad is not None:
        flat = over_kernel(weight)
        change = change - mean.to(flat) * (flat * reader.bias.grad[:, None]).sum(0)
    return change.double().cpu()


def _pixels(network: DeployNetwork, cache: PixelCache, rows: NDArray[np.int64]) -> Tensor:
    device = next(network.parameters()).device
    return channels_last(torch.from_numpy(cache[rows]).to(device).permute(0, 3, 1, 2).float())
