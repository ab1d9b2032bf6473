"""A small network with a residual Add that learns stripes within seconds, and an outlier channel for a layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgexfer.train.backbones import HALF
from edgexfer.train.deploy import DeployNetwork, deploy_form
from tests.train.tiny import CACHE, IDS


class Small(nn.Module):
    """Five convolutions of 16 channels: every engine takes them in 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(16, 16, 3, padding=1)
        self.next = nn.Conv2d(16, 16, 3, padding=1)
        self.deep = nn.Conv2d(16, 16, 3, padding=1)
        self.last = nn.Conv2d(16, 16, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.next(functional.relu(self.wide(functional.relu(self.stem(x))))))
        x = x + self.last(functional.relu(self.deep(x)))
        return self.classifier(self.pool(x).flatten(1))


def small() -> DeployNetwork:
    """Returns the network in evaluation mode, right about every picture of tests/train/tiny.py."""
    torch.manual_seed(0)
    network = deploy_form(Small(), HALF, 16, 16)
    pixels = torch.from_numpy(CACHE[range(len(IDS))]).permute(0, 3, 1, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(60):
        loss = functional.cross_entropy(network(pixels), torch.from_numpy(IDS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def with_outlier(network: DeployNetwork, layer: str, reader: str, factor: float, channel: int) -> DeployNetwork:
    """Scales one channel between two layers and takes it back in the second: in float the function is the same.

    Only ReLU, or nothing, may stand between them, and nobody else may read the first one.
    """
    first, second = network.network.get_submodule(layer), network.network.get_submodule(reader)
    first.weight[channel] *= factor
    first.bias[channel] *= factor
    second.weight[:, channel] /= factor
    return network


@torch.no_grad()
def with_rare_spike(network: DeployNetwork, pixels: Tensor, height: float) -> tuple[DeployNetwork, Tensor]:
    """Lets a channel of the stem, which nobody reads, fire on magenta alone; returns it and pictures with one speck.

    Args:
        network: of `small`, changed in place.
        pixels: uint8 [images, 3, 16, 16], in which nothing is magenta.
        height: of what fires, where the other channels are around 3.
    """
    magenta = torch.tensor([255, 0, 255], dtype=torch.uint8).view(3, 1, 1)
    stem, reader = network.network.get_submodule("stem"), network.network.get_submodule("wide")
    sought = network.centre(magenta.expand(3, 3, 3)[None])[0]
    stem.weight[0] = sought * height / (0.1 * sought.square().sum())
    stem.bias[0] = -9 * height
    reader.weight[:, 0] = 0
    specked = pixels.clone()
    specked[0, :, 5:8, 5:8] = magenta
    return network, specked
