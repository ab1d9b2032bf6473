"""Drift: do the predictions of the last window look like those that the network gave to its held-out images?

Two samples are compared, the window and the held-out images, so that a small held-out set is not taken for the truth:
for each class its share of the predictions, and for each edge of the score histogram the share of scores below it. Each
is Fisher's exact test of a 2 x 2 table (Fisher, The Logic of Inductive Inference, Journal of the Royal Statistical
Society 98, 1935), two-sided by the probabilities of the tables. Its p-value is right for any number of images, which a
population stability index with its customary 0.1 and 0.25, or a chi-square with empty cells, is not. Bonferroni makes
one test of many: half of the level for the classes, half for the scores.

So a window alarms by mistake with a probability of `level` at most, as long as its predictions and the held-out images
were drawn alike and each by itself. Neighbouring frames of a film are not: `apart_s` takes one in so many seconds. And
all windows are compared with the same held-out images: mistakes come in rows for a bundle whose held-out images were
drawn unluckily. benchmarks/drift.py measures both, and what is found how often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.expected import Expected, count_answers

_SLACK = 1e-7  # tables as likely as the one that was seen, but for rounding


@dataclass(frozen=True)
class Difference:
    """A share that is another one in the window than it was at export.

    Attributes:
        what: such as "class 'stop'" or "scores below 0.9".
        share: in the window, 0 to 1.
        expected: at export, 0 to 1.
        p_value: of this share alone, 0 to 1.
    """

    what: str
    share: float
    expected: float
    p_value: float

    def __str__(self) -> str:
        return f"{self.what} {100 * self.share:.1f} %, expected {100 * self.expected:.1f} %"


@dataclass(frozen=True)
class Compared:
    """One window, compared.

    Attributes:
        classes: whose share differs, the surest first; empty where the mix is as expected.
        scores: edges below which another share of the scores lies, the surest first.
    """

    classes: tuple[Difference, ...]
    scores: tuple[Difference, ...]


def compare(expected: Expected, seen: Sequence[tuple[str, float]], level: float) -> Compared:
    """Compares a window of predictions, each a class and its score, with what was expected.

    Args:
        expected: at export.
        seen: at least one prediction.
        level: probability of a false alarm, 0 to 1.
    """
    found = count_answers(seen)
    labels = sorted({*expected.classes, *found.classes})
    classes = _differences(
        [f"class {label!r}" for label in labels],
        [expected.classes.get(label, 0) for label in labels],
        expected.images,
        [found.classes.get(label, 0) for label in labels],
        len(seen),
        level / 2,
    )
    edges, values = expected.score_edges, np.array([score for _, score in seen])
    scores = _differences(
        [f"scores below {edge:g}" for edge in edges],
        list(accumulate(expected.scores))[:-1],
        expected.images,
        [int((values < edge).sum()) for edge in edges],
        len(seen),
        level / 2,
    )
    return Compared(classes, scores)


def p_value(hits: int, of: int, others: int, of_others: int) -> float:
    """Returns the two-sided p-value of Fisher's exact test: `hits` of `of` against `others` of `of_others`."""
    together, least = hits + others, max(0, hits + others - of_others)
    possible = np.arange(least, min(of, together) + 1)
    logs = _log_choose(of, possible) + _log_choose(of_others, together - possible)
    chances = np.exp(logs - logs.max())
    as_rare = chances <= chances[hits - least] * (1 + _SLACK)
    return float(chances[as_rare].sum() / chances.sum())


def _differences(
    names: list[str], expected: list[int], images: int, found: list[int], predictions: int, level: float
) -> tuple[Difference, ...]:
    differences = [
        Difference(name, hits / predictions, before / images, p_value(hits, predictions, before, images))
        for name, before, hits in zip(names, expected, found, strict=True)
    ]
    sure = [each for each in differences if each.p_value * len(names) <= level]
    return tuple(sorted(sure, key=lambda each: each.p_value))


def _log_choose(of: int, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    logs = _log_factorials(of)
    ways: NDArray[np.float64] = logs[of] - logs[chosen] - logs[of - chosen]
    return ways


def _log_factorials(of: int) -> NDArray[np.float64]:
    if of not in _FACTORIALS:
        if len(_FACTORIALS) > 1:
            _FACTORIALS.clear()  # one bundle's two sizes are in use at a time
        _FACTORIALS[of] = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, of + 1)))))
    return _FACTORIALS[of]


_FACTORIALS: dict[int, NDArray[np.float64]] = {}


class Windows:
    """The present window, and what came of those before. Not safe for threads: `Watch` locks it.

    Attributes:
        compared: windows so far.
        alarms: how many of them differed, by "classes" and "scores".
        last: what the latest of them showed; None before the first is full.
    """

    def __init__(self, expected: Expected | None, size: int, level: float) -> None:
        self.expected = expected
        self.compared = 0
        self.alarms: Counter[str] = Counter(classes=0, scores=0)
        self.last: Compared | None = None
        self._size = size
        self._level = level
        self._seen: list[tuple[str, float]] = []

    def add(self, seen: Sequence[tuple[str, float]]) -> Compared | None:
        """Adds predictions; returns what a window showed that they have filled, else None."""
        if self.expected is None:
            return None
        ended = None
        for each in seen:
            self._seen.append(each)
            if len(self._seen) == self._size:
                ended = self.last = compare(self.expected, self._seen, self._level)
                self._seen = []
                self.compared += 1
                self.alarms["classes"] += bool(ended.classes)
                self.alarms["scores"] += bool(ended.scores)
        return ended
