"""Which channels go: the block that is worth least for what it saves, again and again until the cost is low enough.

Importance lost per unit of cost saved decides, as in Shen et al., "Structural Pruning via Latency-Saliency Knapsack"
(HALP), NeurIPS 2022; one block of one group at a time, its saving at the widths reached so far, as in Yang et al.,
"NetAdapt", ECCV 2018. Blocks are as wide as kernels like them, so that no removed channel is padded back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.core.errors import EdgexferError
from edgexfer.train.prune.cost import Cost, Widths

# Engines compute in blocks of 16 channels. In ONNX Runtime a depthwise layer whose width is an odd multiple of 8 took
# 2.4 times as long as one of the next multiple of 16, and a pointwise one as long (docs/log.md).
BLOCK = 16
_LEAST_LEFT = 0.4  # of a group in one call: importance is a guess from nearby, and holds nearby


def choose_widths(importances: Sequence[Tensor], cost: Cost, aim: float, *, block: int = BLOCK) -> Widths:
    """Returns how many channels each group keeps, so that the cost is at most `aim`.

    Args:
        importances: of each group's channels, float64 [width].
        cost: of the network these are of.
        aim: in the cost's unit.
        block: channels that go at a time; a width that is no multiple of it becomes one first.

    Raises:
        EdgexferError: even the narrowest network that one call may make costs more.
    """
    lost = [np.cumsum(np.concatenate([[0.0], np.sort(worth.numpy())])) for worth in importances]
    full = np.array([len(worth) for worth in importances], np.int64)
    least = np.array([least_width(width, block) for width in full], np.int64)
    widths = full.copy()
    now = cost.of(widths)
    saved = [_saved(cost, widths, group, block, least) for group in range(len(full))]
    while now > aim:
        rates = [
            (_lost(lost[group], full[group], widths[group], step) / gain, group)
            for group, (step, gain) in enumerate(saved)
            if gain > 0
        ]
        if not rates:
            raise EdgexferError(
                f"pruning cannot go so far at once: {now / cost.of(full):.2f} of these {cost.unit} belong to layers of "
                "fixed size and to groups of channels at their narrowest",
                "ask for less with --prune, or take a smaller --backbone",
            )
        _, group = min(rates)
        step, gain = saved[group]
        widths[group] -= step
        now -= gain
        saved = [_saved(cost, widths, other, block, least) for other in range(len(full))]
    return widths


def least_width(width: int, block: int = BLOCK) -> int:
    """Returns how many channels of a group stay at least, in one call."""
    return max(block, math.ceil(width * _LEAST_LEFT / block) * block)


def best_channels(importances: Sequence[Tensor], widths: Widths) -> list[Tensor]:
    """Returns for each group the channels that are worth most, int64 ascending, as many as `widths` says."""
    return [
        torch.sort(torch.argsort(worth, descending=True, stable=True)[: int(width)]).values
        for worth, width in zip(importances, widths, strict=True)
    ]


def _saved(cost: Cost, widths: Widths, group: int, block: int, least: Widths) -> tuple[int, float]:
    """Returns how many channels of a group go next, and what that saves; (0, 0.0) where none may."""
    step = int(widths[group] % block) or block
    if widths[group] - step < least[group]:
        return 0, 0.0
    return step, cost.saved(widths, group, step)


def _lost(total: NDArray[np.float64], full: int, width: int, step: int) -> float:
    return float(total[full - width + step] - total[full - width])
