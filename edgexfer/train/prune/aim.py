"""Aim: widths for one share of the goal's measure after the other, corrected until the engine's clock agrees."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from edgexfer.core.errors import EdgexferError
from edgexfer.train.prune.choose_channels import choose_widths
from edgexfer.train.prune.cost import Cost, Widths
from edgexfer.train.prune.stand_ins import StandIns, Timed

log = logging.getLogger(__name__)

_ATTEMPTS = 8
_WITHIN = 0.97  # of the wanted latency: faster than that gives accuracy away
_CLOSER = 0.985
_EDGE = 0.1  # of the way between two that were tried: nearer to one of them nothing new is learned
_STEEPEST = 4.0  # beyond that it was no measurement
_LOUD = 0.15  # width of a ratio's interval, as a share of it, beyond which the table is the better judge


@dataclass(frozen=True)
class _Tried:
    widths: Widths
    said: float  # share of the whole by the table
    timed: Timed


class Aim:
    """Chooses widths for one ratio after the other; what the clock said at one point corrects the next.

    Args:
        cost: of the network, in the goal's measure.
        full: the unpruned widths.
        stand_ins: what is timed at each point; None for nothing.
        by_clock: whether the ratio is one of latency, and `cost` a table that the clock corrects.
        start: the ratio at the full widths: less than 1 where the input has become smaller.

    Attributes:
        slope: what the points so far have taught; another Aim goes on from it.
    """

    def __init__(
        self, cost: Cost, full: Widths, stand_ins: StandIns | None, *, by_clock: bool, start: float = 1.0
    ) -> None:
        self._cost, self._full, self._stand_ins, self._by_clock = cost, full, stand_ins, by_clock
        self._start = start
        # What the clock saves for each share that the table saves. A profile bills every layer for being looked at, so
        # that the table has more of fixed cost than the clock sees; without a channel removed both say `start`.
        self.slope = 1.0

    def at(self, ratio: float, worth: Sequence[Tensor]) -> tuple[Widths, Timed | None]:
        """Returns the widths at which the measure is `ratio` of the unpruned one's, and their time.

        Args:
            ratio: 0 to 1.
            worth: importance of each group's channels, float64 [width].

        Raises:
            EdgexferError: so many channels cannot be removed.
        """
        whole = self._cost.of(self._full) / self._start
        if self._stand_ins is None or not self._by_clock:
            widths = choose_widths(worth, self._cost, ratio * whole)
            return widths, None if self._stand_ins is None else self._stand_ins.timed(widths)
        tried: list[_Tried] = []
        too_far = 0.0  # a share by the table that nothing reaches
        for _ in range(_ATTEMPTS):
            wanted = self._wanted(ratio, tried)
            if tried and wanted <= too_far:
                wanted = (too_far + min(one.said for one in tried)) / 2
            try:
                widths = choose_widths(worth, self._cost, wanted * whole)
            except EdgexferError:
                if tried:
                    too_far = wanted
                elif self.slope != 1.0:  # an earlier point misled: the table's own word comes first again
                    self.slope = 1.0
                else:
                    raise
                continue
            if any((widths == had.widths).all() for had in tried):
                break
            now = _Tried(widths, self._cost.of(widths) / whole, self._stand_ins.timed(widths))
            tried.append(now)
            log.info("the table's %.3f is %.3f by the clock", now.said, now.timed.ratio)
            if now.timed.high - now.timed.low > _LOUD * now.timed.ratio:
                log.warning(
                    "this machine is too loud to time the network (ratio %.2f to %.2f): the table decides",
                    now.timed.low, now.timed.high,
                )  # fmt: skip
                return now.widths, now.timed
            if _WITHIN * ratio <= now.timed.ratio <= ratio or (widths == self._full).all():
                break
            self._learn(now)
        held = [one for one in tried if one.timed.ratio <= ratio]
        best = max(held, key=lambda one: one.timed.ratio) if held else min(tried, key=lambda one: one.timed.ratio)
        self._learn(best)
        if not held:
            log.warning("%.3f of the latency is as near as the clock came to %g", best.timed.ratio, ratio)
        return best.widths, best.timed

    def _wanted(self, ratio: float, tried: Sequence[_Tried]) -> float:
        """Returns the share by the table to try next: between what was too fast and too slow, where both are known."""
        aimed = _CLOSER * ratio
        under = max((one for one in tried if one.timed.ratio <= ratio), key=lambda one: one.said, default=None)
        over = min((one for one in tried if one.timed.ratio > ratio), key=lambda one: one.said, default=None)
        if under is None or over is None or under.said >= over.said:
            return self._start - (self._start - aimed) / self.slope
        way = (aimed - under.timed.ratio) / (over.timed.ratio - under.timed.ratio)
        return under.said + min(max(way, _EDGE), 1 - _EDGE) * (over.said - under.said)

    def _learn(self, one: _Tried) -> None:
        if one.said < self._start:
            found = (self._start - one.timed.ratio) / (self._start - one.said)
            self.slope = min(max(found, 1 / _STEEPEST), _STEEPEST)
