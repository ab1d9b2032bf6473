"""The network without some of its channels, and a network as narrow as the weights that it shall hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # opening a checkpoint needs no dependency graph
    from edgexfer.train.prune.groups import Group


@torch.no_grad()
def remove_channels(
    network: nn.Module, groups: Sequence[Group], kept: Sequence[Tensor], means: Mapping[str, Tensor]
) -> None:
    """Removes channels in place. What a reader had of them on average goes into its bias.

    That is mean replacement (Evci et al., "Mean Replacement Pruning", 2018): exact for what is constant in a channel,
    and free on the device; of a reader with a padded kernel it is a little off at the border.

    Args:
        network: in deploy form.
        groups: all of them.
        kept: for each group the channels that stay, int64, ascending.
        means: for each reader the mean of each channel that enters it, float32 [channels].
    """
    for group, stays in zip(groups, kept, strict=True):
        gone = torch.ones(group.width, dtype=torch.bool)
        gone[stays] = False
        for name in group.readers if gone.any() else ():
            reader = layer_at(network, name)
            if reader.bias is not None:
                weight = over_kernel(reader.weight)
                reader.bias.add_(weight[:, gone] @ means[name].to(weight)[gone])
    for group, stays in zip(groups, kept, strict=True):
        for name in group.writers:
            writer = layer_at(network, name)
            _give(writer, writer.weight[stays], None if writer.bias is None else writer.bias[stays])
        for name in group.readers:
            reader = layer_at(network, name)
            _give(reader, reader.weight[:, stays], reader.bias)


def layer_at(network: nn.Module, name: str) -> nn.Conv2d | nn.Linear:
    """Returns the layer of this name."""
    return cast("nn.Conv2d | nn.Linear", network.get_submodule(name))


def over_kernel(weight: Tensor) -> Tensor:
    """Returns weights summed over the kernel, [outputs, inputs]."""
    return weight.flatten(2).sum(2) if weight.ndim > 2 else weight


def narrow_to(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Makes layers in place as narrow as the weights in `state` are, where those are narrower; values are not loaded.

    Args:
        network: as its backbone's row builds it; names are as in `state`.
        state: a checkpoint's tensors.
    """
    for name, layer in network.named_modules():
        weight = state.get(f"{name}.weight")
        if not isinstance(layer, (nn.Conv2d, nn.Linear)) or weight is None:
            continue
        own = layer.weight.shape
        narrower = all(given <= had for given, had in zip(weight.shape[:2], own[:2], strict=True))
        if weight.shape != own and weight.ndim == len(own) and weight.shape[2:] == own[2:] and narrower:
            bias = None if layer.bias is None else torch.empty(weight.shape[0])
            _give(layer, torch.empty(weight.shape), bias)


def _give(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    else:
        depthwise = layer.groups > 1
        layer.out_channels = weight.shape[0]
        layer.in_channels = weight.shape[0] if depthwise else weight.shape[1]
        layer.groups = weight.shape[0] if depthwise else 1
