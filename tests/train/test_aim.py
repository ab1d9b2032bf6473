"""Where the latency table and the clock differ, the widths are those at which the clock says what was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.core.errors import EdgexferError
from edgexfer.train.prune.aim import Aim
from edgexfer.train.prune.cost import Cost, Term, Widths
from edgexfer.train.prune.stand_ins import Timed

pytestmark = pytest.mark.train

GROUPS = 12
FULL = np.full(GROUPS, 256)
TABLE = Cost("us", (*(Term(None, group, by_write=1.0) for group in range(GROUPS)), Term(None, None, constant=300.0)))
WORTH = [torch.from_numpy(np.random.default_rng(group).random(256)) for group in range(GROUPS)]


class Clock:
    """Times widths by a curve over the table's share, a little differently each time."""

    def __init__(self, bend: float, noise: float, seed: int) -> None:
        self.bend, self.noise, self.draw = bend, noise, np.random.default_rng(seed)

    def timed(self, widths: Widths) -> Timed:
        ratio = float((TABLE.of(widths) / TABLE.of(FULL)) ** self.bend * (1 + self.noise * self.draw.uniform(-1, 1)))
        return Timed(ratio, ratio, ratio, ratio, 1.0)


def test_a_slope_that_leads_below_nothing_is_forgotten() -> None:
    aim = Aim(TABLE, FULL, Clock(1.0, 0.0, 0), by_clock=True)  # type: ignore[arg-type]
    aim.slope = 0.25
    _, timed = aim.at(0.6, WORTH)
    assert timed is not None
    assert 0.95 * 0.6 <= timed.ratio <= 0.6


def test_what_the_table_itself_says_is_too_far_is_refused_in_words() -> None:
    aim = Aim(TABLE, FULL, Clock(1.0, 0.0, 0), by_clock=True)  # type: ignore[arg-type]
    with pytest.raises(EdgexferError, match="pruning cannot go so far at once"):
        aim.at(0.05, WORTH)


@settings(max_examples=40)
@given(bend=st.floats(0.6, 2.0), noise=st.floats(0.0, 0.01), ratio=st.floats(0.7, 0.9), seed=st.integers(0, 2**32 - 1))
def test_the_clock_ends_just_below_what_was_asked_for(bend: float, noise: float, ratio: float, seed: int) -> None:
    aim = Aim(TABLE, FULL, Clock(bend, noise, seed), by_clock=True)  # type: ignore[arg-type]
    widths, timed = aim.at(ratio, WORTH)
    assert timed is not None
    assert 0.95 * ratio <= timed.ratio <= ratio
    assert TABLE.of(widths) < TABLE.of(FULL)
