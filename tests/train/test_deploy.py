"""The deploy form computes the network's own logits, with neither batch norms nor paddings computed at run time.

One thing differs on purpose. A network pads normalised images with zeros, which is the colour `mean`; the deploy
form pads with the pixel `pixel_zero`, one integer for all channels, since a quantized tensor has one zero point.
Where the mean is such a pixel, the logits are the same; where it is not, the images' outermost pixels alone see it.
"""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from edgexfer.core.errors import EdgexferError
from edgexfer.train.backbones import BACKBONES, HALF, IMAGENET, Backbone, Normalization
from edgexfer.train.deploy import DeployNetwork, deploy_form
from edgexfer.train.network import build_network

pytestmark = pytest.mark.train

GREY = Normalization((116 / 255, 116 / 255, 116 / 255), IMAGENET.std)  # its mean is a pixel: padding is exact
PIXELS = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))

every_row = pytest.mark.parametrize("row", BACKBONES.values(), ids=lambda row: row.name)


def network_of(row: Backbone) -> nn.Module:
    """Random weights whose activations have the size that trained ones have, and batch norms that do something."""
    torch.manual_seed(0)
    network = build_network(row, 10)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        nn.init.uniform_(norm.weight, 0.7, 1.3)
        nn.init.uniform_(norm.bias, -0.2, 0.2)
    with torch.no_grad():
        network.train()(normalised(torch.randint(0, 256, (4, 3, 64, 64)), GREY))
    return network.eval()


def normalised(pixels: Tensor, how: Normalization) -> Tensor:
    mean, std = torch.tensor(how.mean).view(1, 3, 1, 1), torch.tensor(how.std).view(1, 3, 1, 1)
    return (pixels / 255 - mean) / std


@torch.no_grad()
def difference(network: nn.Module, deployed: DeployNetwork, how: Normalization, pixels: Tensor = PIXELS) -> float:
    """The largest difference of a logit, as a share of the largest logit."""
    expected = network(normalised(pixels, how))
    return float((deployed(pixels) - expected).abs().max() / expected.abs().max())


@every_row
def test_every_backbone_computes_the_same_logits_without_batch_norms(row: Backbone) -> None:
    network = network_of(row)
    before = copy.deepcopy(network.state_dict())
    deployed = deploy_form(network, GREY, 64, 64)
    assert deployed.pixel_zero == 116
    assert difference(network, deployed, GREY) < 1e-3
    kinds = {type(module) for module in deployed.modules()}
    assert not any(issubclass(kind, (nn.BatchNorm2d, Conv2dSame)) for kind in kinds)
    assert not deployed.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["efficientnet-lite0", "mobilenetv2-torchvision", "mobilenetv3-small", "resnet18"])
def test_its_own_normalization_changes_the_padding_alone(name: str) -> None:
    network, how = network_of(BACKBONES[name]), BACKBONES[name].normalization
    deployed = deploy_form(network, how, 64, 64)
    # The same network, told to pad the image with the pixel `pixel_zero` as the deploy form does.
    plain = copy.deepcopy(network)
    first = next(module for module in plain.modules() if isinstance(module, nn.Conv2d))
    shift = normalised(torch.full((1, 3, 1, 1), deployed.pixel_zero), how)
    add = torch.einsum("oikl,i->o", first.weight, shift.flatten()).detach().view(1, -1, 1, 1)
    first.register_forward_pre_hook(lambda _, args: args[0] - shift)
    first.register_forward_hook(lambda _, __, output: output + add)
    assert difference(plain, deployed, how) < 1e-3


def test_the_difference_of_padding_is_at_the_border_alone_and_small() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)).eval()
    deployed = deploy_form(network, IMAGENET, 64, 64)
    with torch.no_grad():
        change = (deployed(PIXELS) - network(normalised(PIXELS, IMAGENET))).abs()
    assert change[..., 1:-1, 1:-1].max() < 1e-5
    assert 1e-3 < change.max() < 0.5
    # 127.5 lies between two pixels: what rounding it costs is a hundred times less.
    deployed = deploy_form(network, HALF, 64, 64)
    with torch.no_grad():
        assert (deployed(PIXELS) - network(normalised(PIXELS, HALF))).abs().max() < 5e-3


def test_centred_pixels_are_a_quantized_tensor() -> None:
    deployed = deploy_form(network_of(BACKBONES["mobilenetv2-050"]), IMAGENET, 64, 64)
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    centred = deployed.centre(levels)
    steps = centred / deployed.pixel_scale + deployed.pixel_zero
    torch.testing.assert_close(steps, levels.float(), rtol=0, atol=1e-3)
    assert 0 < deployed.pixel_zero < 255
    assert levels.dtype == torch.uint8  # the caller's pixels are as they were


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (50, 70)])
def test_same_paddings_are_fixed_for_the_size_that_was_asked_for(height: int, width: int) -> None:
    network = network_of(BACKBONES["efficientnet-lite0"])
    pixels = torch.randint(0, 256, (1, 3, height, width))
    deployed = deploy_form(network, GREY, height, width)
    assert difference(network, deployed, GREY, pixels) < 1e-3


def test_it_can_be_trained_on() -> None:
    deployed = deploy_form(network_of(BACKBONES["repvgg-a0"]), IMAGENET, 64, 64).train()
    deployed(PIXELS).sum().backward()
    assert all(parameter.grad is not None for parameter in deployed.parameters())


def test_what_cannot_be_folded_is_named() -> None:
    torch.manual_seed(0)
    shared = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    with pytest.raises(EdgexferError, match="batch norm '2' does not follow a convolution of its own"):
        deploy_form(shared, IMAGENET, 8, 8)
    with pytest.raises(EdgexferError, match="three colour channels"):
        deploy_form(nn.Sequential(nn.Conv2d(3, 6, 1, groups=3)), IMAGENET, 8, 8)
    with pytest.raises(EdgexferError, match="three colour channels"):
        deploy_form(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), IMAGENET, 8, 8)
