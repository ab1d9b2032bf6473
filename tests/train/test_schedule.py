"""Schedule: which layers learn when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.train.loop.schedule import Schedule

pytestmark = pytest.mark.train

GRADUAL = Schedule(epochs=10, trainable_groups=(1, 2, 4, 8))


def groups(schedule: Schedule) -> list[int]:
    return [schedule.groups_at(epoch) for epoch in range(schedule.epochs)]


def test_few_epochs_leave_the_first_turns_out() -> None:
    assert groups(replace(GRADUAL, epochs=1)) == [8]
    assert groups(replace(GRADUAL, epochs=2)) == [4, 8]
    assert groups(replace(GRADUAL, epochs=4)) == [1, 2, 4, 8]
    assert groups(GRADUAL) == [1, 2, 4, *[8] * 7]
    assert groups(replace(GRADUAL, epochs=17))[:7] == [1, 1, 2, 2, 4, 4, 8]


@given(st.integers(1, 200))
def test_all_turns_but_the_last_are_equally_long_and_the_last_one_comes(epochs: int) -> None:
    schedule = replace(GRADUAL, epochs=epochs)
    found = groups(schedule)
    assert found == sorted(found)
    assert found[-1] == 8
    assert schedule.last_turn() == found.index(8)
    assert len({found.count(depth) for depth in set(found) - {8}}) <= 1


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_turns_are_those_of_the_epochs_that_steps_make(steps: int, images: int) -> None:
    schedule = GRADUAL.in_steps(steps, images)
    assert schedule.groups_at(schedule.epochs - 1) == 8


def test_one_turn_is_the_whole_run() -> None:
    assert set(groups(replace(GRADUAL, trainable_groups=(3,)))) == {3}
    assert replace(GRADUAL, trainable_groups=(3,)).last_turn() == 0
