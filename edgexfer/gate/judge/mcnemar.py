"""McNemar: has a fraction of right answers changed, where two networks answered the same images?

Only discordant images tell: those that one network alone got right. Were the two equally good, each of them would be
as likely lost as won, so the number of lost ones is binomial with 1/2 (McNemar 1947, "Note on the sampling error of the
difference between correlated proportions or percentages", Psychometrika 12; in its exact form). Everything here
is one-sided: a gate asks whether the candidate is worse.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from statistics import NormalDist

ALPHA = 0.05
"""The most that a test may fail where nothing changed."""
POWER = 0.8
"""How surely the number of images that is said to be needed shows a change."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for being one of several: the chance that any of them errs stays below the level.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6:65-70.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, worst = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = worst
    return adjusted


def p_value(lost: int, won: int) -> float:
    """Returns how likely `lost` or more of all discordant images would be lost if both networks were equally good."""
    discordant = lost + won
    if lost == 0:
        return 1.0
    whole = math.lgamma(discordant + 1) - discordant * math.log(2)
    terms = (
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(discordant - k + 1)) for k in range(lost, discordant + 1)
    )
    return min(1.0, math.fsum(terms))


def least_loss(discordant: int = 0, alpha: float = ALPHA) -> int:
    """Returns the least net loss (lost - won images) that is significant.

    Args:
        discordant: images that one network alone gets right; where they are too few for anything to be significant,
            the least number that is enough counts: 5 images, all lost, at 0.05.
        alpha: the level.
    """
    images = max(discordant, math.ceil(-math.log2(alpha)))
    lost = bisect_left(range(images + 1), True, key=lambda lost: p_value(lost, images - lost) <= alpha)
    return 2 * lost - images


def images_needed(drop: float, discordant: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Returns how many images show a drop with the given power (Connor 1987, Biometrics 43:207-211).

    Args:
        drop: fraction of all images, more than 0.
        discordant: fraction of images that one network alone gets right; `drop` at least.
        alpha: the level of the one-sided test.
        power: how surely, 0 to 1.
    """
    normal, share = NormalDist(), max(discordant, drop)
    reach = normal.inv_cdf(1 - alpha) * math.sqrt(share) + normal.inv_cdf(power) * math.sqrt(share - drop * drop)
    # Connor's formula is the normal limit; fewer images than these can show no such drop at all.
    return max(math.ceil((reach / drop) ** 2), math.ceil(least_loss(alpha=alpha) / drop))


def tango_interval(lost: int, won: int, images: int, confidence: float = 1 - 2 * ALPHA) -> tuple[float, float]:
    """Returns the ends of the confidence interval of the change, (won - lost) / images, nan for no image.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17:891-908: those changes that a score test does not rule out. Unlike a bootstrap
    it is no single point where no image, or one alone, is answered differently.

    Args:
        lost: images that the reference alone got right.
        won: images that the candidate alone got right.
        images: all of them.
        confidence: of the interval; with 0.9 each of its ends is as sure as a one-sided test at 0.05.
    """
    if images == 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = (won - lost) / images

    def end(outer: float) -> float:
        inner = middle
        for _ in range(60):  # halving the interval gives every digit that a float has
            half = (inner + outer) / 2
            inner, outer = (half, outer) if abs(_score(half, lost, won, images)) <= z else (inner, half)
        return inner

    return end(-1.0), end(1.0)


def _score(change: float, lost: int, won: int, images: int) -> float:
    # Tango's statistic; `rate` is the likeliest rate of lost images if `change` were the true change.
    b = -lost - won + (2 * images - won + lost) * change
    c = -lost * change * (1 - change)
    rate = (math.sqrt(max(0.0, b * b - 8 * images * c)) - b) / (4 * images)
    variance = images * (2 * rate + change * (1 - change))
    distance = won - lost - images * change
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance) if distance else 0.0
