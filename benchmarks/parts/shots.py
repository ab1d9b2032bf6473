"""The cases that strategies are compared on: which images train, which validate, and which no strategy ever sees.

Held-out images are the same in every draw; train and val are drawn from the others, anew in each draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from parts.images import find_images, usable_images, write_images

from edgexfer.core.intake import Usable

_HELD_OUT = 30  # images of each class, of sets that are not divided already
_HELD_OUT_SEED = 2026


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: what --only takes.
        source: the data set.
        draws: how often train and val are drawn.
        shots: images of each class to train on; None for all that are left.
        in_all: of `shots` images edgexfer takes its own val part; else as many others validate.
        note: what has to be known about it.
    """

    name: str
    source: str
    draws: int
    shots: int | None = None
    in_all: bool = False
    note: str = ""


CASES = (
    Case("hymenoptera", "hymenoptera", 3, note="judged on its val part, which also chose: it has no other"),
    Case("hymenoptera-own-val", "hymenoptera", 3, note="val is drawn from its train part, judged on its val part"),
    Case("signs-1", "signs", 5, 1),
    Case("signs-5", "signs", 5, 5),
    Case("signs-20", "signs", 3, 20),
    Case("signs-100", "signs", 3, 100),
    Case("signs-5-in-all", "signs", 5, 5, in_all=True, note="edgexfer divides the 5 by itself"),
    Case("signs-20-in-all", "signs", 3, 20, in_all=True, note="edgexfer divides the 20 by itself"),
    Case("digits", "digits", 3),
)


@dataclass(frozen=True)
class Drawn:
    """One draw of a case.

    Attributes:
        images: the CSV that edgexfer gets.
        judged: (path, class) of the images that are judged on.
    """

    images: Path
    judged: tuple[tuple[Path, str], ...]


def draw(case: Case, number: int, scratch: Path) -> Drawn:
    """Writes the CSV of draw `number`, 0-based, into `scratch`.

    Raises:
        DataError: the images are not here.
    """
    given = _usable(case.source, scratch)
    file = scratch / f"{case.name}.{number}.csv"
    if given[0].sample.split is not None:
        return _of_divided(case, given, file)
    held_out, rest = _held_out(given)
    rng = np.random.default_rng([number, _HELD_OUT_SEED])
    chosen: list[tuple[Usable, str]] = []
    for items in rest.values():
        order = [items[i] for i in rng.permutation(len(items))]
        train = case.shots if case.shots is not None else round(0.8 * len(order))
        val = 0 if case.in_all else case.shots if case.shots is not None else len(order) - train
        chosen += [(item, "train") for item in order[:train]] + [(item, "val") for item in order[train : train + val]]
    write_images(file, chosen, with_split=not case.in_all)
    return Drawn(file, _judged(held_out))


def _of_divided(case: Case, given: Sequence[Usable], file: Path) -> Drawn:
    """The division of the data set itself.

    Of "own-val" its val part is given as test: edgexfer then takes val out of train, and nothing is chosen by test.
    """
    held_out = "test" if case.name.endswith("own-val") else "val"
    wanted = [item for item in given if item.sample.split in ("train", "val")]
    write_images(file, ((item, "train" if item.sample.split == "train" else held_out) for item in wanted))
    return Drawn(file, _judged([item for item in wanted if item.sample.split == "val"]))


@cache
def _usable(source: str, scratch: Path) -> tuple[Usable, ...]:
    return usable_images(find_images(source, scratch))


def _held_out(given: Sequence[Usable]) -> tuple[list[Usable], dict[str, list[Usable]]]:
    """Returns the images that are judged on, and the others by class. Copies of one image are on one side."""
    rng = np.random.default_rng(_HELD_OUT_SEED)
    held_out: list[Usable] = []
    rest: dict[str, list[Usable]] = {}
    for label in sorted({item.sample.label for item in given}):
        items = [item for item in given if item.sample.label == label]
        order = [items[i] for i in rng.permutation(len(items))]
        digests = {item.sha256 for item in order[:_HELD_OUT]}
        held_out += order[:_HELD_OUT]
        rest[label] = [item for item in order[_HELD_OUT:] if item.sha256 not in digests]
    return held_out, rest


def _judged(items: Sequence[Usable]) -> tuple[tuple[Path, str], ...]:
    return tuple((item.sample.path, item.sample.label) for item in items)
