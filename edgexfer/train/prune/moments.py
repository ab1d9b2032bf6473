"""Moments: what enters a layer on average, how its channels vary together, and what some of them say of the others.

A removed channel is seldom all news: much of it can be told from those that stay, by linear regression. After the
reconstruction of He et al., "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, from covariances
in place of a matrix of data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.loop.judge import logits
from edgexfer.train.prune.groups import Group

_PLACES = 400  # of an image, drawn: neighbours say the same
_RIDGE = 1e-2  # share of each variance that counts as noise, at least
_RIDGE_OF_FEW = 1.0  # times the channels over the places seen: few places span fewer directions than there are channels


@dataclass(frozen=True)
class Moments:
    """Of the channels that enter a layer, over images and places.

    Attributes:
        mean: float64 [channels].
        covariance: float64 [channels, channels], with the ridge of a regression on its diagonal.
    """

    mean: Tensor
    covariance: Tensor


def input_moments(
    network: DeployNetwork, groups: Sequence[Group], cache: PixelCache, rows: NDArray[np.int64]
) -> dict[str, Moments]:
    """Returns the moments of what enters each reader, by its name.

    Args:
        network: in deploy form.
        groups: their readers are looked at.
        cache: pixels by row.
        rows: images of the training split.
    """
    sums: dict[str, Tensor] = {}
    origins: dict[str, Tensor] = {}  # near the means: squares of what is far from zero would hide how it varies
    chance = torch.Generator().manual_seed(0)

    def add(name: str, entering: Tensor) -> None:
        places = entering.flatten(2).transpose(1, 2) if entering.ndim > 2 else entering[:, None]
        if places.shape[1] > _PLACES:
            places = places[:, torch.randperm(places.shape[1], generator=chance)[:_PLACES]]
        seen = places.flatten(0, 1)
        seen = seen - origins.setdefault(name, seen.mean(0))
        seen = torch.cat([seen, seen.new_ones(len(seen), 1)], 1)
        products = (seen.T @ seen).double().cpu()
        sums[name] = sums.get(name, 0) + products

    names = {name for group in groups for name in group.readers}
    hooks = [
        network.network.get_submodule(name).register_forward_pre_hook(lambda _, args, name=name: add(name, args[0]))
        for name in names
    ]
    try:
        logits(network, cache, rows)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: _moments(total, origins[name].to(total)) for name, total in sums.items()}


def told_by(moments: Moments, some: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Returns what `some` channels say of `others`: others = slope @ some + intercept, and what is left over.

    Args:
        moments: of all of them.
        some: int64 [A].
        others: int64 [B].

    Returns:
        slope float64 [B, A] and intercept float64 [B].
    """
    covariance, mean = moments.covariance, moments.mean
    slope = torch.linalg.solve(covariance[some][:, some], covariance[some][:, others]).T
    return slope, mean[others] - slope @ mean[some]


def _moments(products: Tensor, origin: Tensor) -> Moments:
    """Takes the sums of products of channels counted from `origin`, a last one added that is 1 everywhere."""
    places = products[-1, -1]
    off = products[:-1, -1] / places
    mean = origin + off
    covariance = products[:-1, :-1] / places - off[:, None] * off
    ridge = max(_RIDGE, _RIDGE_OF_FEW * len(mean) / float(places))
    noise = ridge * covariance.diagonal()
    least = (1e-6 * noise.mean()).clamp_min(1e-12)  # channels may be dead, all of them even
    return Moments(mean, covariance + torch.diag(noise.clamp_min(least)))
