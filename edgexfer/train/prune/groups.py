"""Which channels stand and fall together: those that one Add, one depthwise layer or one gate ties to each other.

torch-pruning's dependency graph (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023) finds them; what
is kept of it here is names and widths. A group is the width of one block's expansion with its depthwise layer, or of
one stage's residual stream, or of stem or head. The classifier's outputs are in none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgexfer.core.errors import EdgexferError, MissingPartError
from edgexfer.train.network import head_of

_LAYERS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Group:
    """Channels that can only be removed together.

    Attributes:
        name: of the layer that makes them first.
        width: how many there are.
        writers: layers whose outputs they are, depthwise ones included.
        readers: layers that mix them: every input of these is one of them.
    """

    name: str
    width: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]


def channel_groups(network: nn.Module, example: Tensor) -> tuple[Group, ...]:
    """Returns the groups of a network in deploy form, in the order of its layers.

    Args:
        network: float32 [N, 3, H, W] -> logits.
        example: float32 [1, 3, H, W].

    Raises:
        EdgexferError: there is none that can be narrowed.
        MissingPartError: torch-pruning is not installed.
    """
    try:
        import torch_pruning  # noqa: PLC0415 - an older installation exports without it
    except ModuleNotFoundError as error:
        raise MissingPartError("torch-pruning is not installed", "pip install 'edgexfer[train]'") from error
    names = {module: name for name, module in network.named_modules()}
    order = {name: place for place, name in enumerate(names.values())}
    with torch.enable_grad():  # the graph is read from what autograd would do
        graph = torch_pruning.DependencyGraph().build_dependency(network, example, verbose=False)
    _, head = head_of(network)
    tied = graph.get_all_groups(ignored_layers=[head], root_module_types=[nn.Conv2d])
    groups = [group for members in tied if (group := _group(members, names, order)) is not None]
    if not groups:
        raise EdgexferError("no channels of this network can be removed", "leave --prune away")
    return tuple(sorted(groups, key=lambda group: order[group.name]))


def is_depthwise(layer: nn.Module) -> bool:
    """Whether each output channel of the layer is made of one input channel alone."""
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels > 1


def _group(members: Sequence[tuple], names: dict[nn.Module, str], order: dict[str, int]) -> Group | None:
    """Returns None where the channels do not lie in one piece, or a grouped convolution would have to be divided."""
    width = len(members[0][1])
    writers, readers = set(), set()
    for dependency, channels in members:
        layer = dependency.target.module
        if list(channels) != list(range(width)):
            return None
        if not isinstance(layer, _LAYERS):
            continue
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 and not is_depthwise(layer):
            return None
        if is_depthwise(layer) or dependency.handler.__name__ == "prune_out_channels":
            writers.add(names[layer])
        else:
            readers.add(names[layer])
    if not readers:
        return None
    made = tuple(sorted(writers, key=order.__getitem__))
    return Group(made[0], width, made, tuple(sorted(readers, key=order.__getitem__)))
