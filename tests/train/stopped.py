"""Ctrl-C in the middle of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edgexfer.train.loop.trainee import Trainee


@contextmanager
def stopped_at(step: int) -> Iterator[list[int]]:
    """Interrupts the block in its step of this number, from 0 on; yields a list that has one entry a step taken."""
    taken: list[int] = []
    take = Trainee.training_step

    def count(self: Trainee, batch: int, batch_idx: int) -> Any:
        if len(taken) == step:
            raise KeyboardInterrupt
        taken.append(step)
        return take(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainee, "training_step", count)
        yield taken
