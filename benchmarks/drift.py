"""How often `Watch` speaks of drift where there is none, and how often it finds what there is. On drawn numbers.

    python benchmarks/drift.py [--bundles 400] [--windows 25]

A bundle is drawn: 10 classes, held-out images with their predicted classes and scores. Then windows are drawn, alike or
shifted, and compared by edgexfer/runtime/watch/drift.py at its standard level. Minutes; no network, no images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.expected import Expected, count_answers
from edgexfer.runtime.watch.drift import compare

Seen = list[tuple[str, float]]
_LEVEL, _WINDOW = 0.001, 500
_EVEN = np.full(10, 0.1)
_SKEWED = np.array([0.5, 0.2, 0.1, 0.08, 0.05, 0.03, 0.02, 0.01, 0.007, 0.003])
_SURE = 20.0  # of the beta distribution of scores: a median of 0.97


def main() -> None:
    """Prints the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=int, default=400)
    parser.add_argument("--windows", type=int, default=25)
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    print(f"level {_LEVEL}, windows of {_WINDOW}, {asked.bundles} bundles with {asked.windows} windows each\n")
    print("| no drift | held out | windows that alarm | bundles with an alarm | PSI above 0.1 | above 0.25 |")
    print("|---|---|---|---|---|---|")
    for name, shares, held_out, repeats in (
        ("10 even classes", _EVEN, 100, 1),
        ("10 even classes", _EVEN, 310, 1),
        ("10 even classes", _EVEN, 5000, 1),
        ("10 skewed classes", _SKEWED, 310, 1),
        ("each prediction 10 times in a row", _EVEN, 310, 10),
        ("the same, one of 10 taken", _EVEN, 310, -10),
    ):
        rows = [list(_outcomes(random, shares, held_out, asked.windows, repeats)) for _ in range(asked.bundles)]
        alarms = np.array([[alarm for alarm, _ in row] for row in rows])
        psi = np.array([[index for _, index in row] for row in rows])
        figures = (alarms.mean(), alarms.any(axis=1).mean(), (psi > 0.1).mean(), (psi > 0.25).mean())
        print(f"| {name} | {held_out} | {' | '.join(f'{100 * each:.2f} %' for each in figures)} |", flush=True)
    print("\n| a class's share goes from 10 % to | held out 100 | 310 | 5,000 |\n|---|---|---|---|")
    for share in (0.15, 0.2, 0.3, 0.5):
        shifted = np.array([share, *[(1 - share) / 9] * 9])
        found = [_found(random, held_out, asked.bundles, shifted, _SURE) for held_out in (100, 310, 5000)]
        print(f"| {100 * share:.0f} % | {' | '.join(f'{100 * each:.0f} %' for each in found)} |", flush=True)
    print("\n| median score goes from 0.966 to | held out 100 | 310 | 5,000 |\n|---|---|---|---|")
    for sure in (15.0, 12.0, 10.0, 6.0):
        found = [_found(random, held_out, asked.bundles, _EVEN, sure) for held_out in (100, 310, 5000)]
        print(f"| {0.5 ** (1 / sure):.3f} | {' | '.join(f'{100 * each:.0f} %' for each in found)} |", flush=True)


def _outcomes(
    random: np.random.Generator, shares: NDArray[np.float64], held_out: int, windows: int, repeats: int
) -> Iterator[tuple[bool, float]]:
    """Yields whether each window of one bundle alarms, and its population stability index."""
    expected = count_answers(_drawn(random, held_out, shares, _SURE))
    for _ in range(windows):
        seen = _drawn(random, _WINDOW // max(repeats, 1), shares, _SURE) * max(repeats, 1)
        found = compare(expected, seen, _LEVEL)
        yield bool(found.classes or found.scores), _stability_index(expected, seen)


def _found(random: np.random.Generator, held_out: int, bundles: int, shares: NDArray[np.float64], sure: float) -> float:
    """Returns the share of windows, one for each of so many bundles, in which a shift is found."""
    hits = 0
    for _ in range(bundles):
        expected = count_answers(_drawn(random, held_out, _EVEN, _SURE))
        found = compare(expected, _drawn(random, _WINDOW, shares, sure), _LEVEL)
        hits += bool(found.classes or found.scores)
    return hits / bundles


def _drawn(random: np.random.Generator, number: int, shares: NDArray[np.float64], sure: float) -> Seen:
    classes = random.choice(len(shares), number, p=shares)
    return list(zip(map(str, classes), random.beta(sure, 1, number).tolist(), strict=True))


def _stability_index(expected: Expected, seen: Seen) -> float:
    """The population stability index of the classes; half an image stands for none, since it takes logarithms."""
    found = count_answers(seen).classes
    labels = {*expected.classes, *found}
    before = np.array([max(expected.classes.get(label, 0), 0.5) / expected.images for label in labels])
    now = np.array([max(found.get(label, 0), 0.5) / len(seen) for label in labels])
    return float(((now - before) * np.log(now / before)).sum())


if __name__ == "__main__":
    main()
