"""A race: two networks' inference alone, in turns in one process, judged by the CPU time of their quick calls.

What `compare` measures is what a user waits for. Pruning asks a narrower question many times, also on machines that do
other things meanwhile: what one network costs in units of another. With one thread the process's CPU time is what the
call takes where nobody else wants the CPU. What others leave in the caches only adds to it, so the lower quartile of
the calls is taken and not their median. On a quiet machine all of these agree.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgexfer.backends import find_backend
from edgexfer.core.bundle import Bundle
from edgexfer.gate.measure.turns import Side, Turns
from edgexfer.train.prune.stand_ins import THREADS, Timed

RACE_SECONDS = 4.0
_LONGEST = 3  # times RACE_SECONDS
_SURE = 0.04  # width of the ratio's interval, as a share of it, that is worth no longer measuring
_ROUNDS = 4
_QUICK = 0.25
_RESAMPLES = 500


def race(narrow: Bundle, full: Bundle, *, backend: str, against_backend: str) -> Timed:
    """Times the first bundle against the second until the ratio is sure, or three times RACE_SECONDS have passed.

    Args:
        narrow: the numerator.
        full: the denominator.
        backend: runs the first.
        against_backend: runs the second.

    Raises:
        EdgexferError: a backend refuses its bundle.
    """
    sides = ((narrow, backend), (full, against_backend))
    turns = Turns([partial(_inference, *side) for side in sides], threads=THREADS)
    while True:
        turns.more(RACE_SECONDS / _ROUNDS)
        if turns.rounds < _ROUNDS:
            continue
        found = _judged(*(side["inference"] for side in turns.sides))
        if found.high - found.low <= _SURE * found.ratio or turns.rounds >= _ROUNDS * _LONGEST:
            return found


@contextmanager
def _inference(bundle: Bundle, backend: str) -> Iterator[Side]:
    session = find_backend(backend).open_session(bundle, threads=THREADS)
    pixels, _ = bundle.references()

    def call(index: int) -> dict[str, int]:
        shown = pixels[index % len(pixels)][np.newaxis]
        start = time.process_time_ns()
        session.run(shown)
        spent = time.process_time_ns() - start
        return {"inference": spent, "total": spent}

    try:
        yield call
    finally:
        session.close()


def _judged(narrow: NDArray[np.int64], full: NDArray[np.int64]) -> Timed:
    # Whole blocks are drawn, not calls: those that follow each other are alike (Kuensch 1989).
    rows = np.random.default_rng(0).integers(0, len(full), (_RESAMPLES, len(full)))
    drawn = [np.quantile(narrow[some], _QUICK) / np.quantile(full[some], _QUICK) for some in rows]
    low, high = np.percentile(drawn, (2.5, 97.5))
    narrow_ms, full_ms = (float(np.quantile(side, _QUICK)) / 1e6 for side in (narrow, full))
    return Timed(narrow_ms / full_ms, float(low), float(high), narrow_ms, full_ms)
