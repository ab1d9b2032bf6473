"""Turns: several sides measured in one process, in turns, so that what drifts weighs on all of them alike.

A block is one way there and back over the sides (A B, B A); which of them begins is drawn anew for each block, so
that nothing periodic can favour one. A side's turn is a burst of calls after some that are not counted, since the
other sides have just emptied the caches. After some seconds every side is opened anew: where its memory happens to
lie makes one opening faster than another, for good.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import Bundle
from edgexfer.gate.measure.timing import quiet_collector, timed_call, warm_up
from edgexfer.runtime.classifier import load

Side: TypeAlias = Callable[[int], Mapping[str, int]]
"""Makes one call with the image of this index; returns the nanoseconds of each step."""
Blocks: TypeAlias = "dict[str, NDArray[np.int64]]"
"""{step: nanoseconds of one side's calls, int64 [blocks, calls]}."""
Clock: TypeAlias = Callable[[], int]

BURST = 5
_SETTLE = 2
ROUND_SECONDS = 2.0
_BLOCK_SECONDS = 0.5  # slow networks get shorter bursts, so that a block stays short beside what drifts
_AGAIN_WARM = 10  # calls of a side that was opened before in this process


@dataclass(frozen=True)
class Round:
    """What was measured between one opening of all sides and the next.

    Attributes:
        sides: the calls of each side, in the order in which the sides were given.
        warmup: calls of each side that were not counted before the first block.
        steady: whether each side's times had settled by then.
    """

    sides: tuple[Blocks, ...]
    warmup: tuple[int, ...]
    steady: bool


def rounds(
    openers: Sequence[Callable[[], AbstractContextManager[Side]]],
    *,
    seed: int = 0,
    seconds: float = ROUND_SECONDS,
    clock: Clock = time.perf_counter_ns,
    between: Callable[[], None] | None = None,
) -> Iterator[Round]:
    """Measures for as long as the caller asks for more; one Round of about `seconds` after the other.

    Args:
        openers: one for each side; opened anew for every round, in an order that is drawn.
        seed: of all that is drawn.
        seconds: of one round, opening and warm-up aside; at least one block is measured.
        clock: nanoseconds.
        between: called after each block, outside what is timed; may raise to end it all.
    """
    draw, image, first, burst = random.Random(seed), 0, True, 0
    while True:
        with ExitStack() as stack:
            order = draw.sample(range(len(openers)), len(openers))
            opened = {number: stack.enter_context(openers[number]()) for number in order}
            sides = [opened[number] for number in range(len(openers))]
            warmed = [warm_up(side, clock=clock, calls=None if first else _AGAIN_WARM) for side in sides]
            burst = burst or _fitting_burst([median for _, _, median in warmed])
            taken: list[list[dict[str, list[int]]]] = []
            stack.enter_context(quiet_collector())
            started = clock()
            while not taken or clock() - started < seconds * 1e9:
                taken.append(take_block(sides, image, burst=burst, draw=draw))
                image += 2 * burst
                if between is not None:
                    between()
        first = False
        yield Round(_stacked(taken), tuple(calls for calls, _, _ in warmed), all(steady for _, steady, _ in warmed))


def take_block(
    sides: Sequence[Side],
    image: int = 0,
    *,
    burst: int = BURST,
    draw: random.Random,
) -> list[dict[str, list[int]]]:
    """Measures one block.

    Args:
        sides: two or more; one is measured alone.
        image: index of the first image; every side sees the same 2 x `burst`.
        burst: counted calls of one turn.
        draw: decides who begins.

    Returns:
        For each side {step: nanoseconds}, 2 x `burst` calls of each.
    """
    samples: list[dict[str, list[int]]] = [{} for _ in sides]
    order = draw.sample(range(len(sides)), len(sides))
    for turn, numbers in enumerate((order, order[::-1])):
        start = image + turn * burst
        for number in numbers:
            for index in range(start, start + _SETTLE):
                sides[number](index)
            for index in range(start, start + burst):
                for step, duration in sides[number](index).items():
                    samples[number].setdefault(step, []).append(duration)
    return samples


def joined(parts: Sequence[Blocks]) -> Blocks:
    """Puts the blocks of several rounds of one side together."""
    return {step: np.concatenate([part[step] for part in parts]) for step in parts[0]}


@contextmanager
def bundle_side(
    bundle: str | Path | Bundle, files: Sequence[bytes], *, backend: str | None = None, threads: int | None = None
) -> Iterator[Side]:
    """Opens a bundle as a side that classifies `files`, encoded images, one at a time.

    Raises:
        EdgexferError: what `load` raises.
    """
    with load(bundle, backend=backend, threads=threads) as classifier:
        yield lambda index: timed_call(classifier, files[index % len(files)])


def _fitting_burst(medians_ns: Sequence[float]) -> int:
    whole = 2 * sum(medians_ns) / 1e9
    return max(1, min(BURST, int(_BLOCK_SECONDS / whole) - _SETTLE)) if whole > 0 else BURST


def _stacked(taken: Sequence[Sequence[Mapping[str, Sequence[int]]]]) -> tuple[Blocks, ...]:
    return tuple(
        {step: np.array([block[number][step] for block in taken], np.int64) for step in taken[0][number]}
        for number in range(len(taken[0]))
    )
