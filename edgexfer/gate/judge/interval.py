"""Intervals: how sure a figure of latency is, by bootstrap over the blocks of `measure/turns.py`.

Calls that follow each other are alike, blocks are nearly independent: so whole blocks are drawn, not calls (block
bootstrap; Kuensch 1989). For a ratio every call is first divided by the level of its own block, the median of all
sides in it: a machine that slows down for a while slows both sides, and the ratio does not see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexfer.gate.measure.turns import Blocks
from edgexfer.gate.metrics import Calls

CONFIDENCE = 0.99
"""Of each look at the samples. More than 0.95, since a gate looks several times while it measures."""
_RESAMPLES = 1000
# Of the blocks with these numbers; None for all as they are.
_OfRows: TypeAlias = "Callable[[NDArray[np.int64] | None], float]"


@dataclass(frozen=True)
class Interval:
    """A figure and the ends of its confidence interval."""

    value: float
    low: float
    high: float


def ratio(
    samples: Blocks,
    against: Blocks,
    figure: Callable[[Calls], float],
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Returns figure(samples) / figure(against), of two sides that were measured in turns.

    Args:
        samples: {step: nanoseconds [blocks, calls]} of one side, "total" among the steps.
        against: the same of the other side, with as many blocks.
        figure: of {step: float64 [calls]}, such as a metric of "calls".
        confidence: of the interval, 0 to 1.
        seed: of the bootstrap.
    """
    level = levels((samples, against))
    scale = level / np.median(level)
    sides = [_scaled(side, scale) for side in (samples, against)]

    def of(rows: NDArray[np.int64] | None) -> float:
        return figure(_calls(sides[0], rows)) / figure(_calls(sides[1], rows))

    return _bootstrap(of, len(level), confidence, seed)


def alone(
    samples: Blocks, figure: Callable[[Calls], float], *, confidence: float = CONFIDENCE, seed: int = 0
) -> Interval:
    """Returns figure(samples) of one side; arguments as those of `ratio`."""
    side = _scaled(samples, np.ones(len(samples["total"])))
    return _bootstrap(lambda rows: figure(_calls(side, rows)), len(samples["total"]), confidence, seed)


def ratio_in_units(
    now: tuple[Blocks, Blocks],
    then: tuple[Blocks, Blocks],
    figure: Callable[[Calls], float],
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Returns figure(now) / figure(then), of two that were measured on different days, each beside the same unit.

    Args:
        now: {step: nanoseconds [blocks, calls]} of a side, and of the unit that was measured in turns with it; a call
            counts as a multiple of the unit's median call.
        then: the same of the other day; it may have another number of blocks.
        figure: of {step: float64 [calls]}.
        confidence: of the interval, 0 to 1.
        seed: of the bootstrap.
    """
    today = _resampled(_in_units(figure, *now), len(now[0]["total"]), seed)
    past = _resampled(_in_units(figure, *then), len(then[0]["total"]), seed + 1)
    return _interval(today[0] / past[0], today[1] / past[1], confidence)


def levels(sides: Sequence[Blocks]) -> NDArray[np.float64]:
    """Returns float64 [blocks]: the median nanoseconds of a whole call, of all sides' calls in each block.

    A side counts as its median relative to its own median over all blocks, so that the level does not depend on
    how many sides there are.
    """
    medians = [np.median(side["total"], axis=1) for side in sides]
    relative = np.mean([median / np.median(median) for median in medians], axis=0)
    level: NDArray[np.float64] = relative * np.median(medians[0])
    return level


def drift(sides: Sequence[Blocks]) -> float:
    """Returns how much slower the slow blocks were than the fast ones: 95th by 5th percentile of `levels`."""
    slow, fast = np.percentile(levels(sides), (95, 5))
    return float(slow / fast)


def _bootstrap(of: _OfRows, blocks: int, confidence: float, seed: int) -> Interval:
    return _interval(*_resampled(of, blocks, seed), confidence)


def _resampled(of: _OfRows, blocks: int, seed: int) -> tuple[float, NDArray[np.float64]]:
    # Of all blocks as they are, and of as many that are drawn with replacement, again and again.
    drawn = np.random.default_rng(seed).integers(0, blocks, (_RESAMPLES, blocks))
    return of(None), np.array([of(rows) for rows in drawn], np.float64)


def _interval(value: float, drawn: NDArray[np.float64], confidence: float) -> Interval:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(drawn, (tail, 100 - tail))
    return Interval(value, float(low), float(high))


def _in_units(figure: Callable[[Calls], float], side: Blocks, unit: Blocks) -> _OfRows:
    level = levels((side, unit))
    scale = level / np.median(level)
    calls, units = _scaled(side, scale), _scaled(unit, scale)

    def of(rows: NDArray[np.int64] | None) -> float:
        return figure(_Drawn(calls, rows, unit=float(np.median(_calls(units, rows)["total"]))))

    return of


def _scaled(side: Blocks, scale: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {step: values / scale[:, None] for step, values in side.items()}


def _calls(side: Mapping[str, NDArray[np.float64]], rows: NDArray[np.int64] | None) -> Calls:
    return _Drawn(side, rows)


class _Drawn(Mapping[str, NDArray[np.float64]]):
    # The calls of the drawn blocks, gathered for those steps alone that the figure asks for.
    def __init__(
        self, side: Mapping[str, NDArray[np.float64]], rows: NDArray[np.int64] | None, unit: float = 1.0
    ) -> None:
        self._side, self._rows, self._unit = side, rows, unit

    def __getitem__(self, step: str) -> NDArray[np.float64]:
        values = self._side[step]
        chosen = (values if self._rows is None else values[self._rows]).reshape(-1)
        return chosen if self._unit == 1.0 else chosen / self._unit

    def __iter__(self) -> Iterator[str]:
        return iter(self._side)

    def __len__(self) -> int:
        return len(self._side)
