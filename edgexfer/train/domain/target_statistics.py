"""Batch-norm adaptation on networks whose batch norms are folded: AdaBN (Li et al. 2016) without batch norms.

In: a network in deploy form, pixels it was trained on, and pixels of the domain it shall work in. Out: the same
network, in which each convolution gives the target's images the channel means and deviations that it gave its own. That
is what AdaBN does: a batch norm with the target's statistics is that very rescaling, folded or not.

With few target images their statistics are noisy: they are mixed with the source's as if `prior_images` more target
images had shown those (Schneider et al. 2020, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.network import channels_last

_PIXELS = 600_000  # of a batch: 64 images at 96x96
_LARGEST_FACTOR = 4.0  # of a channel's deviation: one that hardly ever varied would only amplify noise

Moments = dict[str, tuple[Tensor, Tensor]]


def adapt_statistics(
    network: DeployNetwork,
    source: PixelCache,
    source_rows: NDArray[np.int64],
    target: PixelCache,
    target_rows: NDArray[np.int64],
    *,
    prior_images: int = 16,
) -> int:
    """Rescales every convolution of `network`, in place, as AdaBN would with the target's statistics.

    All of a batch's layers are corrected while it runs, so that each layer sees what the corrected ones before it give;
    the corrections written at the end come from the statistics of all batches.

    Args:
        network: in evaluation mode, on the device to compute on.
        source: pixels that the network was trained on.
        source_rows: rows of `source` that are looked at.
        target: pixels of the domain it shall work in.
        target_rows: rows of `target` that are looked at, 1 or more.
        prior_images: how many images the source's statistics count for among the target's; 0 trusts these alone.

    Returns:
        How many convolutions were rescaled.
    """
    share = len(target_rows) / (len(target_rows) + prior_images)
    convolutions = _convolutions(network)
    wanted = _moments(network, convolutions, source, source_rows, lambda _, output: output)

    def corrected(name: str, output: Tensor) -> Tensor:
        scale, shift = _correction(wanted[name], _mean_and_variance(output), share)
        return output * _by_channel(scale) + _by_channel(shift)

    found = _moments(network, convolutions, target, target_rows, corrected)
    for name in found:
        scale, shift = _correction(wanted[name], found[name], share)
        _rescale(convolutions[name], scale, shift)
    return len(found)


def _convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    # A folded batch norm leaves a bias: without one there was none.
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.bias is not None
    }


@torch.no_grad()
def _moments(
    network: DeployNetwork,
    convolutions: dict[str, nn.Conv2d],
    cache: PixelCache,
    rows: NDArray[np.int64],
    answer: Callable[[str, Tensor], Tensor],
) -> Moments:
    """Returns mean and variance of each convolution's output channels, and lets `answer` stand for the output."""
    sums: dict[str, tuple[float, Tensor, Tensor]] = {}

    def see(name: str, output: Tensor) -> Tensor:
        # One position in all: a squeeze-and-excitation block, or a layer after the pool. No batch norm was there.
        if output.shape[2] * output.shape[3] == 1:
            return output
        mean, variance = _mean_and_variance(output)
        images, first, second = sums.get(name, (0.0, torch.zeros_like(mean), torch.zeros_like(mean)))
        count = output.shape[0]
        sums[name] = (images + count, first + count * mean, second + count * (variance + mean**2))
        return answer(name, output)

    with _hooked(convolutions, see):
        for part in _batches(cache, rows):
            pixels = torch.from_numpy(cache[part]).to(next(network.parameters()).device).permute(0, 3, 1, 2)
            network(channels_last(pixels))
    return {
        name: (first / images, (second / images - (first / images) ** 2).clamp_min(0))
        for name, (images, first, second) in sums.items()
    }


@contextmanager
def _hooked(convolutions: dict[str, nn.Conv2d], see: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    hooks = [
        module.register_forward_hook(lambda _module, _args, output, name=name: see(name, output))
        for name, module in convolutions.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _batches(cache: PixelCache, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    # Of equal size, and of strangers: a batch of one class would pass that class off as the domain.
    size = max(1, _PIXELS // (cache.preprocess.height * cache.preprocess.width))
    shuffled = np.random.default_rng(0).permutation(rows)
    return np.array_split(shuffled, -(-len(rows) // size))


def _mean_and_variance(output: Tensor) -> tuple[Tensor, Tensor]:
    # torch.var_mean takes eight times as long on channels-last batches.
    values = output.float()
    mean = values.mean(dim=(0, 2, 3))
    return mean, (values.square().mean(dim=(0, 2, 3)) - mean.square()).clamp_min(0)


def _correction(wanted: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor], share: float) -> tuple[Tensor, Tensor]:
    """Returns factor and addend, float32 [channels], that give what has the moments `found` those of `wanted`."""
    mean = share * found[0] + (1 - share) * wanted[0]
    variance = share * found[1] + (1 - share) * wanted[1]
    least = 1e-3 * wanted[1].mean() + 1e-12
    scale = ((wanted[1] + least) / (variance + least)).sqrt().clamp(1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    return scale, wanted[0] - scale * mean


def _by_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


@torch.no_grad()
def _rescale(convolution: nn.Conv2d, scale: Tensor, shift: Tensor) -> None:
    assert convolution.bias is not None  # noqa: S101 - `_convolutions` takes no others
    convolution.weight.mul_(scale.view(-1, 1, 1, 1))
    convolution.bias.mul_(scale).add_(shift)
