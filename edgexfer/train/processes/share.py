"""Which part of a batch a process computes, and how much its loss counts, so that N processes learn what one would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """A process's part of every batch: of `size` processes that of number `rank`, 0-based.

    DDP averages gradients over processes, whatever they have seen. A mean over a part is therefore weighed by what the
    part holds of the whole, times `size`: the average of these is the mean over the whole batch, also where parts are
    unequal.
    """

    rank: int = 0
    size: int = 1

    def rows_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns this process's rows of a batch: one at least, since DDP waits for all; see `factors`."""
        mine = rows[self.rank :: self.size]
        return mine if len(mine) else rows[:1]

    def factors(
        self, rows: NDArray[np.int64], class_ids: NDArray[np.int64], weight: Tensor | None
    ) -> tuple[float, float]:
        """Returns what to multiply this process's mean losses with.

        Args:
            rows: the whole batch.
            class_ids: int64 [rows of the cache].
            weight: float32 [classes] on the CPU, or None for 1 each.

        Returns:
            One for a mean weighted by class, one for a plain mean; 0 where the batch has no row for this process.
        """
        if self.size == 1:
            return 1.0, 1.0
        mine = rows[self.rank :: self.size]
        plain = self.size * len(mine) / len(rows)
        if weight is None:
            return plain, plain
        weights = weight.numpy()
        return float(self.size * weights[class_ids[mine]].sum() / weights[class_ids[rows]].sum()), plain

    def summed(self, value: Tensor) -> float:
        """Returns the sum of a scalar over all processes; called by all of them together."""
        if self.size > 1:
            dist.all_reduce(value)
        return float(value)


ALONE = Share()


def evenly(rows: NDArray[np.int64], share: Share) -> NDArray[np.int64]:
    """Returns this process's rows of a validation, where each is judged once; it may have none."""
    return rows[share.rank :: share.size]


def most(count: int, share: Share) -> int:
    """Returns how many of `count` rows the process with the most has: all of them take as many steps."""
    return -(-count // share.size)


def zero(device: torch.device) -> Tensor:
    """Returns a scalar to add up in, float64 [], where no step has to wait for the device."""
    return torch.zeros((), dtype=torch.float64, device=device)
