"""What each channel is worth: how far the answers would move without it, once the others stand in for it.

A channel is missed by what cannot be told of it from those that stay (moments.py), as far as the answers listen to its
readers (`sensitivities`). Channels go one after the other, the one that is missed least first, and what is left stands
in for it at once: of two that say the same the second is worth what both were. That is the elimination of Hassibi and
Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", NeurIPS 1992, over channels in place of
single weights, with the answers' own Jacobian as their measure. It needs no labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.network import channels_last
from edgexfer.train.prune.choose_channels import least_width
from edgexfer.train.prune.groups import Group
from edgexfer.train.prune.moments import Moments
from edgexfer.train.prune.narrow import layer_at

_BATCH = 8  # gradients of all layers are held at once
_AT_A_TIME = 1 / 256  # of a group: one after the other among a thousand would take minutes, and change little


def sensitivities(
    network: DeployNetwork, groups: Sequence[Group], cache: PixelCache, rows: NDArray[np.int64]
) -> dict[str, Tensor]:
    """Returns how far the logits move with what each reader gives, by its name, float64 [outputs, outputs].

    It is J^T J of the logits less their mean, summed over places, the mean over images, and drawn: the covariance of
    v^T J for random directions v (Hutchinson 1990), which costs one backward pass in place of one a class.

    Args:
        network: in deploy form; its weights are not changed.
        groups: their readers are looked at.
        cache: pixels by row.
        rows: images of the training split.
    """
    sums: dict[str, Tensor] = {}
    chance = torch.Generator().manual_seed(0)

    def add(name: str, slope: Tensor) -> None:
        by_output = slope.transpose(0, 1).flatten(1)
        products = (by_output @ by_output.T).double().cpu()
        sums[name] = sums.get(name, 0) + products

    def listen(name: str, output: Tensor) -> None:
        # On the output itself: where the network adds to it in place, a hook on the module would be refused.
        output.register_hook(lambda slope: add(name, slope))

    hooks = [
        network.network.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: listen(name, output))
        for name in {name for group in groups for name in group.readers}
    ]
    network.eval()
    device = next(network.parameters()).device
    try:
        for start in range(0, len(rows), _BATCH):
            pixels = torch.from_numpy(cache[rows[start : start + _BATCH]]).to(device).permute(0, 3, 1, 2)
            pixels = channels_last(pixels.float()).requires_grad_()
            with torch.enable_grad():
                answers = network(pixels)
                torch.autograd.grad((answers * _directions(answers, chance)).sum(), pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total / len(rows) for name, total in sums.items()}


def _directions(answers: Tensor, chance: torch.Generator) -> Tensor:
    """Returns random vectors of mean 0 whose covariance is 1 in every direction that is left."""
    drawn = torch.randn(answers.shape, generator=chance)
    drawn -= drawn.mean(1, keepdim=True)
    return (drawn * math.sqrt(answers.shape[1] - 1) / drawn.norm(dim=1, keepdim=True)).to(answers)


@torch.no_grad()
def importances(
    network: DeployNetwork, groups: Sequence[Group], moments: Mapping[str, Moments], listens: Mapping[str, Tensor]
) -> list[Tensor]:
    """Returns for each group the importance of each of its channels, float64 [width], 0 or more.

    It is by how much the squared distance between logits grows on average when the channel goes, after all that are
    worth less; of those that `choose_widths` never removes, as if each were the next one.

    Args:
        network: in deploy form.
        groups: of this network.
        moments: as `input_moments` returns them.
        listens: as `sensitivities` returns them.
    """
    return [
        _importance(
            [_as_heard(layer_at(network.network, name).weight, listens[name]) for name in group.readers],
            [torch.linalg.inv(moments[name].covariance) for name in group.readers],
        )
        for group in groups
    ]


def _as_heard(weight: Tensor, listens: Tensor) -> Tensor:
    """Returns weights so that the sum of squares over their rows is what logits move by, float64 [rows, channels]."""
    values, vectors = torch.linalg.eigh(listens)
    root = vectors * values.clamp_min(0).sqrt()
    flat = weight.double().cpu().reshape(*weight.shape[:2], -1)
    # Each place of a kernel is a row of its own: summed, those of an edge's kernel would be nothing.
    return torch.einsum("op,ock->pkc", root, flat).flatten(0, 1)


def _importance(heard: list[Tensor], precisions: list[Tensor]) -> Tensor:
    """Eliminates channels; each reader's precision is the inverse of its inputs' covariance."""
    width = heard[0].shape[1]
    worth = torch.zeros(width, dtype=torch.float64)
    left = torch.arange(width)
    least = least_width(width)
    at_a_time = max(1, round(width * _AT_A_TIME))
    highest = torch.zeros((), dtype=torch.float64)
    while True:
        missed = torch.stack([_missed(h, p) for h, p in zip(heard, precisions, strict=True)]).sum(0)
        count = min(at_a_time, len(left) - least)
        if count <= 0:
            worth[left] = missed.clamp_min(highest)
            return worth
        go = torch.topk(missed, count, largest=False).indices
        stay = torch.ones(len(left), dtype=torch.bool)
        stay[go] = False
        together = torch.zeros((), dtype=torch.float64)
        for reader, (h, p) in enumerate(zip(heard, precisions, strict=True)):
            told = torch.linalg.solve(p[go][:, go], torch.cat([p[go], h[:, go].T], 1))
            together += (h[:, go] * told[:, len(left) :].T).sum()
            heard[reader] = (h - told[:, len(left) :].T @ p[go])[:, stay]
            precisions[reader] = (p - p[:, go] @ told[:, : len(left)])[stay][:, stay]
        highest = torch.maximum(highest, together / count)
        worth[left[go]] = highest
        left = left[stay]


def _missed(heard: Tensor, precision: Tensor) -> Tensor:
    """Returns what each channel would be missed by, were it the next to go: what is left over of it, as heard."""
    return heard.square().sum(0) / precision.diagonal()
