"""Aim: widths for one share of the goal's measure after the other, corrected until the engine's clock agrees."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from torch import Tensor

from edgexfer.core.errors import EdgexferError
from edgexfer.train.prune.choose_channels import choose_widths
from edgexfer.train.prune.cost import Cost, Widths
from edgexfer.train.prune.stand_ins import StandIns, Timed

log = logging.getLogger(__name__)

_ATTEMPTS = 5
_WITHIN = 0.96  # of the wanted latency: faster than that gives accuracy away
_CLOSER = 0.99
_STEEPEST = 4.0  # beyond that it was no measurement
_LOUD = 0.15  # width of a ratio's interval, as a share of it, beyond which the table is the better judge


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
        tried: list[tuple[Widths, Timed]] = []
        for _ in range(_ATTEMPTS):
            try:
                wanted = self._start - (self._start - _CLOSER * ratio) / self.slope
                widths = choose_widths(worth, self._cost, wanted * whole)
            except EdgexferError:
                if not tried:
                    raise
                break
            if any((widths == had).all() for had, _ in tried):
                break
            timed = self._stand_ins.timed(widths)
            tried.append((widths, timed))
            said = self._cost.of(widths) / whole
            log.info("the table's %.3f is %.3f by the clock", said, timed.ratio)
            if timed.high - timed.low > _LOUD * timed.ratio:
                log.warning(
                    "this machine is too loud to time the network (ratio %.2f to %.2f): the table decides",
                    timed.low, timed.high,
                )  # fmt: skip
                return widths, timed
            if _WITHIN * ratio <= timed.ratio <= ratio or (widths == self._full).all():
                break
            found = (self._start - timed.ratio) / (self._start - said)
            self.slope = min(max(found, 1 / _STEEPEST), _STEEPEST)
        held = [one for one in tried if one[1].ratio <= ratio]
        if not held:
            widths, timed = min(tried, key=lambda one: one[1].ratio)
            log.warning("%.3f of the latency is as near as the clock came to %g", timed.ratio, ratio)
            return widths, timed
        return max(held, key=lambda one: one[1].ratio)
