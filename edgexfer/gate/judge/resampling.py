"""Resampling: how sure the change of any figure of answers is, where two networks answered the same images.

Two questions, two methods. What the change would be on other images like these: a bootstrap over images, both networks'
answers to an image drawn together (Efron and Tibshirani 1993, "An Introduction to the Bootstrap"; percentiles). Whether
it may be chance: each image's two answers are swapped at random, which changes nothing where the networks are
equally good (Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses"; for F1 Yeh 2000, "More accurate tests
for the statistical significance of result differences"). For top-1 that is McNemar's test; the bootstrap alone would
call three lost images significant, where McNemar asks for five.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexfer.gate.judge.answers import Pairs
from edgexfer.gate.metrics import Answers

RESAMPLES = 2000

Change: TypeAlias = Callable[[Pairs], NDArray[np.float64]]
"""Candidate against reference: float64 [figures], nan for a figure that does not exist."""


def change_of(figure: Callable[[Answers], Any], *, relative: bool = False) -> Change:
    """Returns the function that gives figure(candidate) - figure(reference), as a part of the latter where `relative`.

    Args:
        figure: of Answers; a number, or float [figures].
        relative: whether the change is a part of the reference.
    """

    def change(pairs: Pairs) -> NDArray[np.float64]:
        mine, other = (np.atleast_1d(np.asarray(figure(a), np.float64)) for a in (pairs.candidate, pairs.reference))
        if not relative:
            return mine - other
        part: NDArray[np.float64] = np.divide(mine - other, other, out=np.full(len(other), np.nan), where=other != 0)
        return part

    return change


def bootstrap_interval(
    change: Change, pairs: Pairs, *, tail: float, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the ends of the confidence interval of each change, float64 [figures]; nan where it never exists.

    Args:
        change: see `change_of`.
        pairs: of one image or more.
        tail: the chance that is left out at each end, such as 0.05.
        seed: of the resampling.
        resamples: how many.
    """
    rng = np.random.default_rng(seed)
    drawn = [change(pairs.chosen(rng.integers(0, pairs.images, pairs.images))) for _ in range(resamples)]
    found = np.stack(drawn)
    ends = np.full((2, found.shape[1]), np.nan)
    exists = ~np.isnan(found).all(axis=0)
    ends[:, exists] = np.nanquantile(found[:, exists], (tail, 1 - tail), axis=0)
    return ends[0], ends[1]


def swap_p_values(
    change: Change, pairs: Pairs, *, worse: float, seed: int = 0, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Returns for each figure how likely it changes that badly or worse if both networks are equally good.

    Args:
        change: see `change_of`.
        pairs: of one image or more.
        worse: 1 where growing is worse, -1 where falling is.
        seed: of the swaps.
        resamples: how many; no p-value is below 1 / (resamples + 1).

    Returns:
        float64 [figures]; 1 where a change does not exist.
    """
    rng = np.random.default_rng(seed)
    found = worse * change(pairs)
    # The observed assignment is one of those that chance may draw: without it a p-value could be 0 (Phipson and
    # Smyth 2010, "Permutation p-values should never be zero").
    as_bad = np.ones(len(found))
    for _ in range(resamples):
        swapped = worse * change(_swapped(pairs, rng.random(pairs.images) < 0.5))
        as_bad += ~(swapped < found - 1e-12)
    return np.where(np.isnan(found), 1.0, as_bad / (resamples + 1))


def _swapped(pairs: Pairs, swap: NDArray[np.bool_]) -> Pairs:
    a, b = pairs.candidate, pairs.reference
    mine = Answers(a.truth, np.where(swap, b.predicted, a.predicted), np.where(swap, b.scores, a.scores), a.classes)
    other = Answers(b.truth, np.where(swap, a.predicted, b.predicted), np.where(swap, a.scores, b.scores), b.classes)
    return Pairs(mine, other, pairs.asked)
