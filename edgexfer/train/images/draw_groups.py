"""Draw of groups: units that span classes are divided so that every class gets near to its shares.

One person's images of ten gestures go to one split, in all ten classes at once. To meet every class's share exactly is
a knapsack problem; here units are taken in the order of the draw as long as the split gets nearer to its shares, the
best of several draws counts, and what must hold holds: every class in train and in val.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import DataError
from edgexfer.train.images.units import Unit

_MOST_DRAWS = 32
_WORK = 20_000  # units looked at in all draws together, beyond the first


def divide_groups(
    units: Sequence[Unit], labels: Sequence[str], seed: int, shares: dict[str, float]
) -> dict[str, list[Unit]]:
    """Divides units into splits.

    Args:
        units: in any order; each class has two or more.
        labels: the classes that occur in them.
        seed: of the draw.
        shares: {split: fraction of the images} of val and test; the rest is train.

    Returns:
        {split: its units}, "train" among them. Every class is in train and val, and from three units on in test where
        that can be had.

    Raises:
        DataError: no draw has every class in train and in val.
    """
    column = {label: place for place, label in enumerate(labels)}
    counts = np.zeros((len(units), len(labels)), np.int64)
    for row, unit in enumerate(units):
        for label, images in unit.labels.items():
            counts[row, column[label]] = images
    best, least = None, float("inf")
    missing = 0
    for draw in range(max(1, min(_MOST_DRAWS, _WORK // len(units)))):
        order = sorted(range(len(units)), key=lambda row: _drawn(units[row].key, seed, draw))
        parts, missing_here = _one_draw(counts, order, shares)
        if parts is None:
            missing = missing_here
            continue
        distance = _distance(counts, parts, shares)
        if distance < least - 1e-12:
            best, least = parts, distance
    if best is None:
        raise DataError(
            f"no division keeps every group whole and has class '{labels[missing]}' in both train and val",
            "add groups that have it, or divide the images yourself: train/ and val/ folders, or a CSV with a split",
        )
    return {split: [units[row] for row in rows] for split, rows in best.items()}


def _drawn(key: str, seed: int, draw: int) -> bytes:
    return hashlib.sha256((f"{seed}:{key}" if draw == 0 else f"{seed}:{draw}:{key}").encode()).digest()


def _one_draw(
    counts: NDArray[np.int64], order: Sequence[int], shares: dict[str, float]
) -> tuple[dict[str, list[int]] | None, int]:
    """Returns {split: rows}, or None and the class that cannot be in both train and val."""
    total = counts.sum(axis=0)
    free = list(order)
    owners = (counts > 0).sum(axis=0)
    # A class of two units is in train and val alone.
    wants = {split: owners >= 3 - (split == "val") for split, share in shares.items() if share > 0}
    parts: dict[str, list[int]] = {}
    for place, split in enumerate(wants):
        need = np.where(wants[split], np.maximum(1, np.floor(shares[split] * total + 0.5)), 0)
        later = list(wants)[place + 1 :]
        keep = 1 + sum((wants[name].astype(np.int64) for name in later), np.zeros(len(total), np.int64))
        taken, chosen = np.zeros(len(total)), []
        for row in free:
            has = counts[row] > 0
            if (owners[has] > keep[has]).all() and _gap(taken + counts[row], need) < _gap(taken, need):
                taken, owners = taken + counts[row], owners - has
                chosen.append(row)
        for label in np.flatnonzero((need > 0) & (taken == 0)).tolist():
            if taken[label]:  # came with another class
                continue
            used = set(chosen)
            left = [row for row in free if row not in used]
            found = _least_harm(label, left, counts, owners, keep, taken, need)
            if found is not None:
                taken, owners = taken + counts[found], owners - (counts[found] > 0)
                chosen.append(found)
            elif split == "val":
                return None, label
        parts[split] = chosen
        used = set(chosen)
        free = [row for row in free if row not in used]
    return {"train": free, **parts}, -1


def _least_harm(
    label: int,
    free: Sequence[int],
    counts: NDArray[np.int64],
    owners: NDArray[np.int64],
    keep: NDArray[np.int64],
    taken: NDArray[np.float64],
    need: NDArray[np.float64],
) -> int | None:
    # The unit with images of the class that takes the split least far from its shares; train is never left without.
    for least in (keep, np.ones_like(keep)):
        fit = [row for row in free if counts[row, label] and (owners[counts[row] > 0] > least[counts[row] > 0]).all()]
        if fit:
            return min(fit, key=lambda row: _gap(taken + counts[row], need))
    return None


def _gap(taken: NDArray[np.float64], need: NDArray[np.float64]) -> float:
    return float((((taken - need) / np.maximum(need, 1)) ** 2).sum())


def _distance(counts: NDArray[np.int64], parts: dict[str, list[int]], shares: dict[str, float]) -> float:
    total = counts.sum(axis=0)
    gaps = [np.abs(counts[parts[split]].sum(axis=0) / total - share).sum() for split, share in shares.items() if share]
    empty = [(counts[parts[split]].sum(axis=0) == 0).sum() for split, share in shares.items() if share]
    return float(sum(gaps) + sum(empty))
