"""Zeros of a network: setting, counting, and keeping them while it learns.

A weight whose gradient is zero in every step stays where it is under AdamW: its moments are zero, and decay only
scales it. So the zeros need no mask in the network, its checkpoint or its ONNX file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn


def weights_of(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Gives name and weights [outputs, inputs of a group, ...] of every convolution and linear layer."""
    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            yield name, cast("nn.Parameter", layer.weight)


def keep_zeros(network: nn.Module) -> None:
    """Lets no training move the weights of convolutions and linear layers that are zero now."""
    for _, weight in weights_of(network):
        if (zeros := weight.detach() == 0).any():
            weight.register_hook(_Masked(zeros))


class _Masked:
    """Stops the gradient of zeros. A class, so that it can be sent to other processes."""

    def __init__(self, zeros: Tensor) -> None:
        self._zeros = zeros

    def __call__(self, gradient: Tensor) -> Tensor:
        if self._zeros.device != gradient.device:
            self._zeros = self._zeros.to(gradient.device)
        return gradient.masked_fill(self._zeros, 0)


@torch.no_grad()
def counted_zeros(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Returns how many weights of each convolution and linear layer are zero, and how many it has."""
    return {name: (int((weight == 0).sum()), weight.numel()) for name, weight in weights_of(network)}
