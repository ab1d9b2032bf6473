"""Power: watts while bundles predict, in long turns, since sensors are slow and average over a second or so."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    with ExitStack() as stack:
        reader = stack.enter_context(ThreadPoolExecutor(1))
        # Its thread starts before CPUs are held, lest it inherit them and take them from what is measured.
        reader.submit(source.read_w).result()
        stack.enter_context(held_cpus(threads))
        sides = [stack.enter_context(opener()) for opener in openers]
        for side in sides:
            warm_up(side, clock=clock)
        for turn in range(turns):
            for number in order if turn % 2 == 0 else order[::-1]:
                watts = _one_turn(sides[number], source, seconds, clock, reader)
                if watts is not None:
                    found[number].append(watts)
                over += 1
                if progress is not None:
                    progress(over, turns * len(openers))
    return [tuple(each) for each in found]


def _one_turn(
    side: Side, source: PowerSource, seconds: float, clock: Callable[[], int], reader: ThreadPoolExecutor
) -> float | None:
    # A sensor may be a program (nvidia-smi), so it is read beside the calls: else the device would rest meanwhile.
    started = clock()
    counts_from, ends = started + int(_SETTLE * seconds * 1e9), started + int(seconds * 1e9)
    asked: list[Future[float | None]] = []
    index, next_reading = 0, counts_from
    while (now := clock()) < ends:
        if now >= next_reading and (not asked or asked[-1].done()):
            asked.append(reader.submit(source.read_w))
            next_reading = now + int(_INTERVAL_SECONDS * 1e9)
        side(index)
        index += 1
    in_time = [reading.done() for reading in asked]
    watts = [reading.result() for reading in asked]
    # A counter of energy has the turn before in its first reading; one that ended late saw the device at rest.
    counted = list(zip(watts, in_time, strict=True))[1:]
    readings = [each for each, counts in counted if counts and each is not None]
    return sum(readings) / len(readings) if readings else None
