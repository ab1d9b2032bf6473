"""Findings: what is doubtful about images that are all usable. Nothing is left out for it; people decide.

While an Intake is made, `Looks` keeps a thumbnail and the sharpness of every image; `findings` makes of them and of
classes, splits and groups what `edgexfer data check` tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexfer.core.groups import straddling
from edgexfer.core.input_side import NATIVE_SIDE, fitting_side
from edgexfer.core.intake import Intake, Usable
from edgexfer.core.likeness import SIDE, near_duplicates, thumbnail
from edgexfer.core.sharpness import blurred, sharpness

IMBALANCE = 1.5
"""Images of the largest class by those of the smallest; above it training weighs rare classes more."""
_ENLARGED = 2.0


class Looks:
    """Thumbnails and sharpness of all images of a data set. `keep` may be called from several threads.

    Attributes:
        thumbnails: uint8 [images, SIDE, SIDE], by place in `Dataset.samples`.
        sharpness: float64 [images], nan where an image was not decoded or not asked for.
    """

    def __init__(self, images: int, *, with_sharpness: bool = True) -> None:
        self.thumbnails: NDArray[np.uint8] = np.zeros((images, SIDE, SIDE), np.uint8)
        self.sharpness: NDArray[np.float64] = np.full(images, np.nan)
        self._with_sharpness = with_sharpness

    def keep(self, index: int, image: Image.Image) -> None:
        """Looks at an upright RGB image; `inspect` calls it through its `on_image`."""
        self.thumbnails[index] = thumbnail(image)
        if self._with_sharpness:
            self.sharpness[index] = sharpness(image)


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two images with different content that show nearly the same; `correlation` as in `likeness.Alike`."""

    first: Usable
    second: Usable
    correlation: float

    @property
    def kind(self) -> Literal["other-class", "across-splits", "same-class"]:
        """What is doubtful about it: the label of one of them, the split, or nothing but that both count."""
        if self.first.sample.label != self.second.sample.label:
            return "other-class"
        return "same-class" if self.first.sample.split == self.second.sample.split else "across-splits"


@dataclass(frozen=True)
class Findings:
    """What is doubtful.

    Attributes:
        near_duplicates: pairs, those in several classes first, then those in several splits.
        straddling: {group: the splits that its images lie in}.
        groups: how many groups there are.
        grouped: how many images have one.
        wide_groups: how many groups have images of several classes.
        counts: images to train on by class; of all where there are no splits.
        wanted_px: the short side that training would want of these images, in pixels.
        tiny: images that training would enlarge more than twice; empty where most are so.
        small_px: the median short side where it is less than half of `wanted_px`, else None.
        blurred: (image, how many times the median image is sharper), the worst first.
    """

    near_duplicates: tuple[NearDuplicate, ...]
    straddling: dict[str, tuple[str, ...]]
    groups: int
    grouped: int
    wide_groups: int
    counts: dict[str, int]
    wanted_px: int
    tiny: tuple[Usable, ...]
    small_px: float | None
    blurred: tuple[tuple[Usable, float], ...]

    def of_kind(self, kind: str) -> tuple[NearDuplicate, ...]:
        """Returns the near-duplicates of one kind."""
        return tuple(pair for pair in self.near_duplicates if pair.kind == kind)

    @property
    def imbalance(self) -> float:
        """Images of the largest class by those of the smallest; infinite where one has none."""
        least = min(self.counts.values(), default=0)
        return max(self.counts.values(), default=0) / least if least else float("inf")

    def to_json(self) -> dict[str, Any]:
        """Returns the keys that `edgexfer data check --json` adds to those of the Intake."""
        return {
            "near_duplicates": [
                {
                    "kind": pair.kind,
                    "images": [pair.first.name, pair.second.name],
                    "labels": [pair.first.sample.label, pair.second.sample.label],
                    "splits": [pair.first.sample.split, pair.second.sample.split],
                    "correlation": round(pair.correlation, 4),
                }
                for pair in self.near_duplicates
            ],
            "groups": {"groups": self.groups, "images": self.grouped, "in_several_classes": self.wide_groups},
            "straddling_groups": {group: list(splits) for group, splits in self.straddling.items()},
            "imbalance": {"ratio": self.imbalance if self.counts and min(self.counts.values()) else None},
            "wanted_short_side_px": self.wanted_px,
            "small_median_short_side_px": self.small_px,
            "tiny": [{"image": item.name, "width": item.width, "height": item.height} for item in self.tiny],
            "blurred": [
                {"image": item.name, "times_less_sharp_than_median": round(times, 1)} for item, times in self.blurred
            ],
        }


def findings(intake: Intake, looks: Looks) -> Findings:
    """Says what is doubtful about the usable images of `intake`.

    Args:
        intake: what came in.
        looks: kept while it was made.
    """
    samples = intake.samples
    groups: dict[str, set[str]] = {}
    for item in samples:
        if item.sample.group is not None:
            groups.setdefault(item.sample.group, set()).add(item.sample.label)
    taught = [item for item in samples if item.sample.split in (None, "train")]
    found = Counter(item.sample.label for item in taught)
    wanted, tiny, small = _small(samples)
    return Findings(
        alike(samples, looks),
        straddling(item.sample for item in samples),
        len(groups),
        sum(item.sample.group is not None for item in samples),
        sum(len(labels) > 1 for labels in groups.values()),
        {label: found[label] for label in intake.dataset.labels},
        wanted,
        tiny,
        small,
        _blurred(samples, looks),
    )


def alike(samples: Sequence[Usable], looks: Looks, *, within_class: bool = False) -> tuple[NearDuplicate, ...]:
    """Finds near-duplicates among usable images; exact copies, which the Intake names, are none.

    Args:
        samples: of an Intake.
        looks: kept while it was made.
        within_class: compare only images of the same class, which is as many times faster as there are classes.
    """
    # Of copies one is enough: a hundred of them would be thousands of pairs.
    different = list({item.sha256: item for item in reversed(samples)}.values())[::-1]
    if not different:
        return ()
    number = {label: place for place, label in enumerate(dict.fromkeys(item.sample.label for item in different))}
    classes = np.array([number[item.sample.label] for item in different], np.int64) if within_class else None
    pairs = near_duplicates(looks.thumbnails[[item.index for item in different]], classes)
    found = [NearDuplicate(different[pair.first], different[pair.second], pair.correlation) for pair in pairs]
    order = ("other-class", "across-splits", "same-class")
    return tuple(sorted(found, key=lambda pair: (order.index(pair.kind), pair.first.name, pair.second.name)))


def _small(samples: Sequence[Usable]) -> tuple[int, tuple[Usable, ...], float | None]:
    sides = [min(item.width, item.height) for item in samples]
    wanted = fitting_side(sides, NATIVE_SIDE)
    if not sides:
        return wanted, (), None
    if median(sides) * _ENLARGED < wanted:
        return wanted, (), float(median(sides))
    return wanted, tuple(item for item, side in zip(samples, sides, strict=True) if side * _ENLARGED < wanted), None


def _blurred(samples: Sequence[Usable], looks: Looks) -> tuple[tuple[Usable, float], ...]:
    values = looks.sharpness[[item.index for item in samples]] if samples else np.zeros(0)
    if np.isnan(values).any():
        return ()
    middle = float(np.median(values)) if len(values) else 0.0
    return tuple((samples[place], middle / max(float(values[place]), 1e-3)) for place in blurred(values).tolist())
