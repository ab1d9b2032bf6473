"""The reference workload: fixed work, on one thread, that fits in turns with bundles."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from edgexfer.gate.measure.turns import Side, Turns
from edgexfer.gate.measure.workload import workload


def test_a_call_is_about_a_millisecond_and_says_how_long_it_took() -> None:
    with workload() as side:
        started = time.perf_counter_ns()
        taken = [side(index)["total"] for index in range(40)]
        passed = time.perf_counter_ns() - started
    assert 0 < sum(taken) <= passed
    # From a fast desktop to a small board that others use as well.
    assert 100_000 < np.median(taken) < 50_000_000


def test_it_works_on_the_thread_that_calls_it() -> None:
    before = threading.active_count()
    with workload() as side:
        side(0)
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        for index in range(50):
            side(index)
        # More threads would use more CPU time than passes on the clock.
        assert time.process_time_ns() - cpu <= 1.2 * (time.perf_counter_ns() - wall)
    assert threading.active_count() == before


def test_the_work_is_the_same_however_often_it_is_done() -> None:
    with workload() as side:
        early = min(side(index)["total"] for index in range(50))
        for index in range(200):
            side(index)
        late = min(side(index)["total"] for index in range(50))
    # The fastest calls are those that nothing disturbs. Work that grows, or values that slow it down, would show.
    assert 0.5 < late / early < 2


def test_the_time_is_that_of_the_clock_it_is_given() -> None:
    ticks = iter(range(0, 1_000_000, 7))
    with workload(clock=lambda: next(ticks)) as side:
        assert [side(0), side(5)] == [{"total": 7}, {"total": 7}]


def test_it_takes_turns_with_another_side() -> None:
    @contextmanager
    def twice() -> Iterator[Side]:
        with workload() as side:
            yield lambda index: {"total": side(index)["total"] + side(index)["total"]}

    turns = Turns([workload, twice])
    turns.more(0.6)
    one, two = (float(np.median(side["total"])) for side in turns.sides)
    assert turns.sides[0]["total"].shape == turns.sides[1]["total"].shape
    assert 1.4 < two / one < 2.8
