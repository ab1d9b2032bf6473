"""Power: watts while bundles predict, in long turns, since sensors are slow and average over a second or so."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from edgexfer.gate.machine.power import PowerSource
from edgexfer.gate.measure.affinity import held_cpus
from edgexfer.gate.measure.timing import warm_up
from edgexfer.gate.measure.turns import Opener, Side

TURNS = 6
"""Of each side: enough for an interval of 99 % confidence."""
TURN_SECONDS = 3.0
_SETTLE = 1 / 3  # of a turn, in which the sensor still remembers the other side
_INTERVAL_SECONDS = 0.2


def power_in_turns(
    openers: Sequence[Opener],
    source: PowerSource,
    *,
    turns: int = TURNS,
    seconds: float = TURN_SECONDS,
    threads: int | None = None,
    clock: Callable[[], int] = time.perf_counter_ns,
    progress: Callable[[float, float], None] | None = None,
) -> list[tuple[float, ...]]:
    """Lets every side predict for some seconds, in turns (A B, B A, ...), and reads the sensor meanwhile.

    Args:
        openers: one for each side.
        source: see `machine/power.py`.
        turns: of each side.
        seconds: of one turn; the first third of it does not count.
        threads: of one inference; so many CPUs are held.
        clock: nanoseconds.
        progress: called with (turns that are over, all turns).

    Returns:
        For each side the mean watts of each of its turns; a turn in which the sensor was silent is left out.
    """
    found: list[list[float]] = [[] for _ in openers]
    order = list(range(len(openers)))
    over = 0
    with held_cpus(threads), ExitStack() as stack:
        sides = [stack.enter_context(opener()) for opener in openers]
        for side in sides:
            warm_up(side, clock=clock)
        for turn in range(turns):
            for number in order if turn % 2 == 0 else order[::-1]:
                watts = _one_turn(sides[number], source, seconds, clock)
                if watts is not None:
                    found[number].append(watts)
                over += 1
                if progress is not None:
                    progress(over, turns * len(openers))
    return [tuple(each) for each in found]


def _one_turn(side: Side, source: PowerSource, seconds: float, clock: Callable[[], int]) -> float | None:
    started = clock()
    counts_from, ends = started + int(_SETTLE * seconds * 1e9), started + int(seconds * 1e9)
    readings: list[float] = []
    index, next_reading = 0, counts_from
    while (now := clock()) < ends:
        if now >= next_reading:
            # A counter of energy has no watts at its first reading, and since then afterwards.
            watts = source.read_w()
            if watts is not None and next_reading > counts_from:
                readings.append(watts)
            next_reading = now + int(_INTERVAL_SECONDS * 1e9)
        side(index)
        index += 1
    return sum(readings) / len(readings) if readings else None
