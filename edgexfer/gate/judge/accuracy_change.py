"""Accuracy change: one figure of answers, candidate against reference, and what a limit says to its change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from edgexfer.gate.judge.answers import Pairs
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.mcnemar import ALPHA, POWER, images_needed, least_loss, p_value, tango_interval
from edgexfer.gate.judge.resampling import RESAMPLES, bootstrap_interval, change_of, swap_p_values
from edgexfer.gate.judge.verdict import Outcome, Verdict
from edgexfer.gate.words import limit_in_words, points_in_words

_TOO_SMALL = 0.1
"""Of the images that are needed: a set that is smaller says nothing about such a limit."""
_ROUNDING = 1e-9  # 3 images of 300 are no more than 1 point, whatever floats say


@dataclass(frozen=True)
class AccuracyChange:
    """One figure of two networks that answered the same images.

    Attributes:
        limit: what it is held against.
        value: of the candidate.
        reference: of the other one.
        change: candidate against reference, as in Verdict.
        low: lower end of its confidence interval.
        high: upper end of it.
        p_value: how likely a change as bad or worse is by chance.
        images: how many both answered.
        least: the least change for the worse that could be significant on these images.
        needed: how many images a change of this size needs; 0 for what cannot be said.
        said: what was found, in words.
        evidence: more numbers.
    """

    limit: Limit
    value: float
    reference: float
    change: float
    low: float
    high: float
    p_value: float
    images: int
    least: float
    needed: int
    said: str
    evidence: dict[str, Any]

    @property
    def worse_by(self) -> float:
        """The change with its sign turned so that more is worse."""
        return _sign(self.limit) * self.change

    @property
    def is_beyond(self) -> bool:
        """Whether the change is worse than the limit allows."""
        return self.worse_by > self.limit.value + _ROUNDING

    @property
    def excludes_none(self) -> bool:
        """Whether the whole interval is for the worse."""
        return self.low > 0 if self.limit.of.better == "lower" else self.high < 0


def exactly(limit: Limit, pairs: Pairs, alpha: float) -> AccuracyChange:
    """Compares the fractions of right answers: top-1, or a class's recall where the pairs are that class's alone."""
    mine, other = ((side.truth == side.predicted) for side in (pairs.candidate, pairs.reference))
    lost, won, images = int((other & ~mine).sum()), int((mine & ~other).sum()), pairs.images
    low, high = tango_interval(lost, won, images, 1 - 2 * alpha)
    change = (won - lost) / images
    return AccuracyChange(
        limit=limit,
        value=float(mine.mean()),
        reference=float(other.mean()),
        change=change,
        low=low,
        high=high,
        p_value=p_value(lost, won),
        images=images,
        least=least_loss(lost + won, alpha) / images,
        needed=images_needed(-change, (lost + won) / images, alpha) if change < 0 else 0,
        said=f"{lost or 'none'} of {images} images lost and {won or 'none'} won: {_changed(limit, change)}",
        evidence={"images": images, "lost": lost, "won": won},
    )


def resampled(
    limits: Sequence[Limit], places: Sequence[int], pairs: Pairs, alpha: float, seed: int
) -> list[AccuracyChange]:
    """Compares any figures of answers.

    Args:
        limits: on the same metric; one, or one for each class.
        places: where each one's figure stands in what the metric gives.
        pairs: of one image or more.
        alpha: the level for one of them.
        seed: of the resampling.
    """
    metric, images = limits[0].of, pairs.images
    change = change_of(metric.value, relative=limits[0].relative)
    values, references = (np.atleast_1d(metric.value(side)) for side in (pairs.candidate, pairs.reference))
    changes = change(pairs)
    resamples = max(RESAMPLES, math.ceil(2 / alpha))
    low, high = bootstrap_interval(change, pairs, tail=alpha, seed=seed, resamples=resamples)
    p_values = swap_p_values(change, pairs, worse=_sign(limits[0]), seed=seed, resamples=resamples)
    compared = []
    for limit, place in zip(limits, places, strict=True):
        # Half an interval is the change that is just significant; one image moves a fraction by about 1 / images.
        reach = float(high[place] - low[place]) / 2
        least = max(reach, least_loss(alpha=alpha) / images) if metric.is_fraction else reach
        p = float(p_values[place])
        compared.append(
            AccuracyChange(
                limit=limit,
                value=float(values[place]),
                reference=float(references[place]),
                change=float(changes[place]),
                low=float(low[place]),
                high=float(high[place]),
                p_value=p,
                images=images,
                least=least,
                needed=_needed(p, images, alpha),
                said=f"{_changed(limit, float(changes[place]))} on {images} images",
                evidence={"images": images, "resamples": resamples},
            )
        )
    return compared


def decide(found: AccuracyChange, alpha: float, *, family: int = 1) -> Verdict:
    """Holds a change against its limit.

    Args:
        found: with its p-value adjusted for the others of its family.
        alpha: the level for one of the family.
        family: how many are judged together.
    """
    limit, p = found.limit, found.p_value
    evidence = {**found.evidence, "p_value": p, "alpha": ALPHA, "confidence": 1 - 2 * alpha}
    evidence |= {"judged_together": family} if family > 1 else {}

    def verdict(outcome: Outcome, reason: str) -> Verdict:
        return Verdict(
            limit, outcome, reason, found.value, found.reference, found.change, found.low, found.high,
            evidence,
        )  # fmt: skip

    if math.isnan(found.change):
        return verdict("inconclusive", f"{limit.subject} cannot be compared on these {found.images} images")
    asked = f"the limit is {limit_in_words(limit)}"
    of_class = "" if limit.label is None else " of this class"
    least_images = least_loss(alpha=alpha)
    wanted = least_images / limit.value if limit.of.is_fraction and limit.value else 0.0
    if found.is_beyond:
        if p <= ALPHA and found.excludes_none:
            return verdict("fail", f"{found.said} ({_p(p)}); {asked}")
        more = f"{f'about {found.needed}' if found.needed > found.images else 'more'} images{of_class} would tell"
        return verdict("inconclusive", f"{found.said}, which may be chance ({_p(p)}); {asked}; {more}")
    if found.images < max(least_images, _TOO_SMALL * wanted):
        enough = max(least_images, math.ceil(wanted - _ROUNDING))
        few = f"{found.images} {'image' if found.images == 1 else 'images'}{of_class} cannot show that"
        return verdict("inconclusive", f"{found.said}; {asked}: {few}, it takes at least {enough}")
    if limit.of.is_fraction and limit.value and found.least > limit.value + _ROUNDING:
        enough = math.ceil(found.images * found.least / limit.value - _ROUNDING)
        shown = points_in_words(found.least)
        asked += f", but these images show nothing below {shown}: the limit itself takes at least {enough}"
    return verdict("pass", f"{found.said}; {asked}")


def _needed(p: float, images: int, alpha: float) -> int:
    # Standard errors shrink with the root of the images: as many as bring the change to the level, with POWER.
    normal = NormalDist()
    if not 0 < p < 0.5:
        return 0
    return math.ceil(images * ((normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)) / normal.inv_cdf(1 - p)) ** 2)


def _sign(limit: Limit) -> int:
    return 1 if limit.of.better == "lower" else -1


def _changed(limit: Limit, change: float) -> str:
    if not change or math.isnan(change):
        return "no change"
    word = "more" if change > 0 else "less"
    if limit.relative:
        return f"{100 * abs(change):.1f} % {word}"
    return f"{points_in_words(change)} {word}" if limit.of.is_fraction else f"{abs(change):.3g} {limit.of.unit} {word}"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
