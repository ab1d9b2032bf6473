"""A backbone's network with a classifier of the wanted size, and the parts of it that training needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import timm
import torch
import torch.nn.functional as F  # noqa: N812 - the name the field knows it by
import torchvision
from torch import Tensor, nn

from edgexfer.train.backbones import Backbone

DEPTHS = 8  # groups that layers are cut into by depth, the classifier included


def build_network(backbone: Backbone, classes: int) -> nn.Module:
    """Returns the backbone's network with random weights and `classes` outputs.

    Its input is normalised float32 [N, 3, H, W], its output logits float32 [N, classes].
    """
    if backbone.package == "timm":
        return timm.create_model(backbone.architecture.partition(".")[0], pretrained=False, num_classes=classes)
    network = torchvision.models.get_model(backbone.architecture, weights=None)
    name, head = head_of(network)
    network.set_submodule(name, nn.Linear(head.in_features, classes))
    return network


def head_of(network: nn.Module) -> tuple[str, nn.Linear]:
    """Returns name and module of the classifier: the network's last linear layer."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]


@torch.no_grad()
def grow_head(network: nn.Module, means: Tensor) -> None:
    """Gives the classifier an output for each new class, after those it has; what it says of the old ones stays.

    A new row points to its class's mean feature and is as long as the old rows are on average; its bias is such that
    at that mean it answers as the strongest old class does at most: weight imprinting, Qi et al. 2018.

    Args:
        network: its classifier is replaced.
        means: float32 [new classes, features], the mean of what enters the classifier, a class each.
    """
    name, head = head_of(network)
    means = means.to(head.weight)
    rows = F.normalize(means, dim=1) * head.weight.norm(dim=1).mean()
    own = (rows * means).sum(1)
    strongest = head(means).max(1).values
    grown = nn.Linear(head.in_features, head.out_features + len(means)).to(head.weight)
    grown.weight.copy_(torch.cat([head.weight, rows]))
    grown.bias.copy_(torch.cat([head.bias, strongest - own]))
    network.set_submodule(name, grown)


@contextmanager
def captured_features(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what enters the classifier, float32 [N, features] a batch, while the block runs."""
    seen: list[Tensor] = []
    _, head = head_of(network)
    hook = head.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    try:
        yield seen
    finally:
        hook.remove()


def depth_groups(network: nn.Module, groups: int = DEPTHS) -> list[list[nn.Parameter]]:
    """Splits the parameters by depth, earliest first; the classifier is a group of its own, the last.

    Convolutions are numbered in the order of their definition and cut into `groups - 1` runs of equal length;
    every other parameter goes with the convolution before it.
    """
    head_name, _ = head_of(network)
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    result: list[list[nn.Parameter]] = [[] for _ in range(groups)]
    seen = 0
    for name, parameter in network.named_parameters():
        owner = name.rpartition(".")[0]
        if owner == head_name:
            result[-1].append(parameter)
            continue
        if owner in convolutions:
            seen = convolutions.index(owner)
        result[seen * (groups - 1) // len(convolutions)].append(parameter)
    return result


def channels_last(batch: Tensor) -> Tensor:
    """Returns the [N, C, H, W] batch in the memory layout that convolutions run fastest in."""
    return batch.contiguous(memory_format=torch.channels_last)
