"""Cut: a network on its way -> the same with fewer channels, those that are worth least for what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.prune.aim import Aim
from edgexfer.train.prune.choose_channels import best_channels
from edgexfer.train.prune.cost import Widths
from edgexfer.train.prune.groups import Group
from edgexfer.train.prune.importance import importances, sensitivities
from edgexfer.train.prune.moments import input_moments
from edgexfer.train.prune.remove import remove_channels
from edgexfer.train.prune.stand_ins import Timed


@dataclass(frozen=True)
class Narrowed:
    """A network on its way.

    Attributes:
        network: in deploy form.
        groups: its groups.
        kept: for each group the unpruned network's channels that are left, int64 ascending.
        timed: against the unpruned one; None where it was not.
        slope: see Aim.
    """

    network: DeployNetwork
    groups: tuple[Group, ...]
    kept: tuple[Tensor, ...]
    timed: Timed | None = None
    slope: float = 1.0

    @property
    def widths(self) -> Widths:
        """How many channels each group has."""
        return np.array([group.width for group in self.groups], np.int64)

    def record(self) -> dict[str, Any]:
        """Returns all but the network as JSON values, for `narrowed_again`."""
        return {
            "kept": [channels.tolist() for channels in self.kept],
            "timed": None if self.timed is None else asdict(self.timed),
            "slope": self.slope,
        }


def unpruned(network: DeployNetwork, groups: Sequence[Group]) -> Narrowed:
    """Returns where the way begins."""
    return Narrowed(network, tuple(groups), tuple(torch.arange(group.width) for group in groups))


def narrowed_again(network: DeployNetwork, groups: Sequence[Group], record: Mapping[str, Any]) -> Narrowed:
    """Returns what `record` was taken of.

    Args:
        network: that it was taken of.
        groups: of the unpruned network.
        record: as `Narrowed.record` gives it.
    """
    kept = tuple(torch.tensor(channels, dtype=torch.int64) for channels in record["kept"])
    now = tuple(replace(group, width=len(channels)) for group, channels in zip(groups, kept, strict=True))
    timed = None if record["timed"] is None else Timed(**record["timed"])
    return Narrowed(network, now, kept, timed, record["slope"])


def cut(before: Narrowed, aim: Aim, ratio: float, images: Prepared, seen: NDArray[np.int64], device: str) -> Narrowed:
    """Removes channels, in place, until the aim's measure is `ratio` of the unpruned network's.

    Args:
        before: its network is changed.
        aim: chooses how many go where.
        ratio: 0 to 1.
        images: that it learns on.
        seen: rows of those that importance is measured on.
        device: "cpu" or "cuda".

    Raises:
        EdgexferError: so many channels cannot be removed.
    """
    network, groups = before.network, before.groups
    network.to(device)
    moments = input_moments(network, groups, images.cache, seen)
    listens = sensitivities(network, groups, images.cache, seen)
    network.cpu()
    worth = importances(network, groups, moments, listens)
    widths, timed = aim.at(ratio, worth)
    stays = best_channels(worth, widths)
    remove_channels(network.network, groups, stays, moments)
    kept = tuple(had[channels] for had, channels in zip(before.kept, stays, strict=True))
    now = tuple(replace(group, width=int(width)) for group, width in zip(groups, widths, strict=True))
    return Narrowed(network, now, kept, timed, aim.slope)
