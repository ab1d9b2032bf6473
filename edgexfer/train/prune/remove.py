"""Remove: the network without some of its channels, what the others can tell of them in its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from edgexfer.train.prune.groups import Group
from edgexfer.train.prune.moments import Moments, told_by
from edgexfer.train.prune.narrow import give_weights, layer_at


@torch.no_grad()
def remove_channels(
    network: nn.Module, groups: Sequence[Group], kept: Sequence[Tensor], moments: Mapping[str, Moments]
) -> None:
    """Removes channels in place. What those that stay can tell of them goes into their readers' weights and biases.

    Exact for what depends on the others linearly or not at all, and free on the device; of a reader with a padded
    kernel it is a little off at the border.

    Args:
        network: in deploy form.
        groups: all of them.
        kept: for each group the channels that stay, int64, ascending.
        moments: of what enters each reader whose group loses channels.
    """
    for group, stays in zip(groups, kept, strict=True):
        gone = torch.ones(group.width, dtype=torch.bool)
        gone[stays] = False
        goes = gone.nonzero()[:, 0]
        for name in group.readers if len(goes) else ():
            reader = layer_at(network, name)
            lost = reader.weight[:, goes]
            slope, intercept = (part.to(lost) for part in told_by(moments[name], stays, goes))
            reader.weight[:, stays] += torch.einsum("og...,gs->os...", lost, slope)
            if reader.bias is not None:
                reader.bias.add_(_over_kernel(lost) @ intercept)
    for group, stays in zip(groups, kept, strict=True):
        for name in group.writers:
            writer = layer_at(network, name)
            give_weights(writer, writer.weight[stays], None if writer.bias is None else writer.bias[stays])
        for name in group.readers:
            reader = layer_at(network, name)
            give_weights(reader, reader.weight[:, stays], reader.bias)


def _over_kernel(weight: Tensor) -> Tensor:
    """Returns weights summed over the kernel, [outputs, inputs]."""
    return weight.flatten(2).sum(2) if weight.ndim > 2 else weight
