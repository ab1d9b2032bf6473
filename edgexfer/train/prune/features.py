"""What a narrowed network still computes of the unpruned one's features, and how far off it is.

A channel that was kept has its counterpart in the unpruned network, so the two can be compared layer by layer, without
anything to be learned between them. A few hundred images say much more that way than by their answers: thousands of
numbers each in place of one per class. After Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, and the
reconstruction of He et al., "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.loop.trainee import ExtraLoss
from edgexfer.train.prune.groups import Group, is_depthwise


@contextmanager
def feature_distance(
    network: DeployNetwork, teacher: DeployNetwork, groups: Sequence[Group], kept: Sequence[Tensor]
) -> Iterator[ExtraLoss]:
    """Yields the distance between the features of the last batch that both networks have seen.

    It is the mean over the groups of what is left unexplained of the teacher's variance: 0 where all features are the
    same, 1 where each channel is its mean.

    Args:
        network: the narrowed one.
        teacher: the unpruned one; it answers the same batch after the network did.
        groups: of the network. Those that a depthwise layer belongs to are left out where there are others: what they
            hold is seen at the next one, and they are most of the numbers.
        kept: for each group the unpruned network's channels that are left, int64.
    """
    chosen = [pair for pair in zip(groups, kept, strict=True) if not _has_depthwise(network, pair[0])]
    chosen = chosen or list(zip(groups, kept, strict=True))
    seen: dict[tuple[str, str], Tensor] = {}

    def watch(side: str, name: str, features: Tensor) -> None:
        seen[side, name] = features

    hooks = [
        whose.network.get_submodule(group.readers[0]).register_forward_pre_hook(
            lambda _, args, side=side, name=group.name: watch(side, name, args[0])
        )
        for side, whose in (("network", network), ("teacher", teacher))
        for group, _ in chosen
    ]

    def distance(_network: DeployNetwork, _pixels: Tensor, _logits: Tensor) -> Tensor:
        return torch.stack(
            [
                _unexplained(seen["network", group.name], seen["teacher", group.name].index_select(1, left))
                for group, left in chosen
            ]
        ).mean()

    try:
        yield distance
    finally:
        for hook in hooks:
            hook.remove()


def _has_depthwise(network: DeployNetwork, group: Group) -> bool:
    return any(is_depthwise(network.network.get_submodule(name)) for name in group.writers)


def _unexplained(found: Tensor, wanted: Tensor) -> Tensor:
    places = [0, *range(2, wanted.ndim)]
    variance = wanted.var(places, correction=0).sum().clamp_min(1e-12)
    return (found - wanted).square().mean(places).sum() / variance
