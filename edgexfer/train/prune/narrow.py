"""Narrow: a network as narrow as the weights that it shall hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn


def layer_at(network: nn.Module, name: str) -> nn.Conv2d | nn.Linear:
    """Returns the layer of this name."""
    return cast("nn.Conv2d | nn.Linear", network.get_submodule(name))


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
            give_weights(layer, torch.empty(weight.shape), bias)


def give_weights(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    """Puts other weights into a layer, of as many channels as they have; None keeps the bias."""
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
