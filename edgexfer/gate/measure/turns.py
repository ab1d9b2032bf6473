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
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import Bundle
from edgexfer.gate.machine.contention import contention
from edgexfer.gate.measure.affinity import held_cpus
from edgexfer.gate.measure.timing import quiet_collector, timed_call, warm_up
from edgexfer.runtime.classifier import load

Side: TypeAlias = Callable[[int], Mapping[str, int]]
"""Makes one call with the image of this index; returns the nanoseconds of each step."""
Blocks: TypeAlias = "dict[str, NDArray[np.int64]]"
"""{step: nanoseconds of one side's calls, int64 [blocks, calls]}."""
Opener: TypeAlias = Callable[[], "AbstractContextManager[Side]"]
Clock: TypeAlias = Callable[[], int]

ROOT = Path("/")
BURST = 5
_SETTLE = 2
ROUND_SECONDS = 2.0
_BLOCK_SECONDS = 0.5  # slow networks get shorter bursts, so that a block stays short beside what drifts
_AGAIN_WARM = 10  # calls of a side that was opened before in this process


class Turns:
    """Several sides and what was measured of them so far; each call of `more` adds a round.

    Attributes:
        seconds: of measuring so far, opening and warm-up included.
        warmup: calls of each side that were not counted.
        steady: whether every side's times had settled before they were counted.
        contention: what the counters of machine/contention.py have grown by while it measured.
    """

    def __init__(
        self,
        openers: Sequence[Opener],
        *,
        threads: int | None = None,
        seed: int = 0,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """Measures nothing yet.

        Args:
            openers: one for each side; opened anew for every round.
            threads: of one inference; so many CPUs are held while a round lasts (measure/affinity.py).
            seed: of all that is drawn.
            clock: nanoseconds.
        """
        self.seconds = 0.0
        self._openers, self._threads, self._clock = tuple(openers), threads, clock
        self._draw = random.Random(seed)
        self._taken: list[tuple[Blocks, ...]] = []
        self._image = self._burst = 0
        self.warmup: tuple[int, ...] = (0,) * len(self._openers)
        self.steady = True
        self.contention: dict[str, int] = {}

    def more(self, seconds: float = ROUND_SECONDS) -> None:
        """Opens every side anew, in an order that is drawn, and measures one more round.

        Args:
            seconds: of blocks, opening and warm-up aside; at least one block is measured.
        """
        began, before = self._clock(), contention(ROOT)
        with held_cpus(self._threads), ExitStack() as stack:
            order = self._draw.sample(range(len(self._openers)), len(self._openers))
            opened = {number: stack.enter_context(self._openers[number]()) for number in order}
            sides = [opened[number] for number in range(len(self._openers))]
            again = _AGAIN_WARM if self._taken else None
            warmed = [warm_up(side, clock=self._clock, calls=again) for side in sides]
            self._burst = self._burst or _fitting_burst([median for _, _, median in warmed])
            blocks: list[list[dict[str, list[int]]]] = []
            stack.enter_context(quiet_collector())
            started = self._clock()
            while not blocks or self._clock() - started < seconds * 1e9:
                blocks.append(take_block(sides, self._image, burst=self._burst, draw=self._draw))
                self._image += 2 * self._burst
        self._taken.append(_stacked(blocks))
        self.warmup = tuple(had + calls for had, (calls, _, _) in zip(self.warmup, warmed, strict=True))
        self.steady = self.steady and all(steady for _, steady, _ in warmed)
        self.seconds += (self._clock() - began) / 1e9
        for name, value in contention(ROOT).items():
            if value is not None and (old := before[name]) is not None:
                self.contention[name] = self.contention.get(name, 0) + value - old

    @property
    def rounds(self) -> int:
        """How often all sides were opened and measured."""
        return len(self._taken)

    @property
    def sides(self) -> tuple[Blocks, ...]:
        """All blocks of each side; there is one round or more."""
        return tuple(
            {step: np.concatenate([taken[number][step] for taken in self._taken]) for step in side}
            for number, side in enumerate(self._taken[0])
        )


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
