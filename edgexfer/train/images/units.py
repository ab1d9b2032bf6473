"""Units: images that a drawn split keeps together: copies, groups that the user has named, near-duplicates."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgexfer.core.intake import Usable

log = logging.getLogger(__name__)

_LEAST_UNITS = 3  # so that a class can be in train, val and test


@dataclass(frozen=True)
class Unit:
    """Images that are drawn as one.

    Attributes:
        key: the smallest SHA-256 among them; it decides, with the seed, when they are drawn.
        samples: one or more.
        labels: how many of them are of each class.
        grouped: whether the user has named a group of them.
    """

    key: str
    samples: tuple[Usable, ...]
    labels: dict[str, int]
    grouped: bool


def units_of(samples: Sequence[Usable], alike: Iterable[tuple[str, str]] = ()) -> list[Unit]:
    """Puts together what a split may not divide.

    Images that look alike are put together only within a class, and only as long as the class can still be divided:
    where nearly all of its images look alike (a film, a machine before a fixed camera), this would leave nothing to
    validate with.

    Args:
        samples: the usable images.
        alike: names of near-duplicates, in pairs.

    Returns:
        Units, sorted by key.
    """
    plain = _joined(samples, ())
    label = {item.name: item.sample.label for item in samples}
    pairs = [pair for pair in alike if all(name in label for name in pair) and label[pair[0]] == label[pair[1]]]
    if not pairs:
        return plain
    joined = _joined(samples, pairs)
    stuck = _stuck(plain, joined)
    for name in sorted(stuck & {label[first] for first, _ in pairs}):
        log.warning("class '%s': too many of its images are nearly the same to keep them in one split", name)
    return _joined(samples, [pair for pair in pairs if label[pair[0]] not in stuck]) if stuck else joined


def _joined(samples: Sequence[Usable], pairs: Iterable[tuple[str, str]]) -> list[Unit]:
    above = list(range(len(samples)))

    def top(place: int) -> int:
        while above[place] != place:
            above[place] = above[above[place]]
            place = above[place]
        return place

    first: dict[tuple[str, str], int] = {}
    place_of = {item.name: place for place, item in enumerate(samples)}
    for place, item in enumerate(samples):
        ties = [("sha256", item.sha256)] + ([("group", item.sample.group)] if item.sample.group is not None else [])
        for tie in ties:
            above[top(place)] = top(first.setdefault(tie, place))
    for one, other in pairs:
        above[top(place_of[one])] = top(place_of[other])
    members: dict[int, list[Usable]] = {}
    for place, item in enumerate(samples):
        members.setdefault(top(place), []).append(item)
    made = [
        Unit(
            min(item.sha256 for item in found),
            tuple(found),
            dict(Counter(item.sample.label for item in found)),
            any(item.sample.group is not None for item in found),
        )
        for found in members.values()
    ]
    return sorted(made, key=lambda unit: unit.key)


def _stuck(plain: Sequence[Unit], joined: Sequence[Unit]) -> set[str]:
    # Classes that could be divided well before near-duplicates were put together, and cannot any more.
    units_before, largest_before, total = _by_class(plain)
    units_after, largest_after, _ = _by_class(joined)
    return {
        label
        for label in total
        if units_after[label] < min(_LEAST_UNITS, units_before[label])
        or largest_after[label] > max(largest_before[label], total[label] // 2)
    }


def _by_class(units: Iterable[Unit]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    count: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for unit in units:
        for label, images in unit.labels.items():
            count[label] += 1
            largest[label] = max(largest[label], images)
            total[label] += images
    return count, largest, total
