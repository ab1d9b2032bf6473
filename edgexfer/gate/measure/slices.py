"""Slices: how a network does on each kind of image that the user has named, and how far the kinds lie apart.

Answers with slices in, a fairness report out. A kind with few images says little, and the best and the worst of many
kinds lie apart by chance alone: both are said beside the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.gate import accuracy

if TYPE_CHECKING:
    from edgexfer.gate.measure.evaluation import ImageResult

FEW_IMAGES = 30
"""Below it a slice is too small to tell: 30 images of which 27 are right have an interval of 22 points."""
SIGNIFICANT = 0.05
_SHUFFLES = 2000


@dataclass(frozen=True)
class SliceFigures:
    """One kind of image.

    Attributes:
        value: of the slice, such as "night".
        images: how many are of that kind.
        top1: fraction of them that is right, 0 to 1.
        top1_interval: ends of its 95 % confidence interval (Wilson 1927).
        macro_f1: mean F1 of the classes that occur among them, 0 to 1.
        macro_f1_interval: ends of its 95 % confidence interval (bootstrap over images; Efron and Tibshirani 1993); nan
            where all answers are right.
        too_small: whether there are too few images to tell.
    """

    value: str
    images: int
    top1: float
    top1_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    too_small: bool


@dataclass(frozen=True)
class Gap:
    """How far the best and the worst kind lie apart in top-1; kinds that are too small take no part.

    Attributes:
        best: value of the slice with the highest top-1.
        worst: that with the lowest.
        points: top-1 of the best less that of the worst, 0 to 1.
        p_value: how often a gap this large or larger comes where the kinds do not differ: values of the slice are
            shuffled over the images (permutation test; Noreen 1989, "Computer-Intensive Methods for Testing
            Hypotheses"). Since the best and the worst of all kinds are taken each time, many kinds are accounted for.
    """

    best: str
    worst: str
    points: float
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether chance hardly makes such a gap."""
        return self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class SliceReport:
    """One slice.

    Attributes:
        name: of the slice, such as "light".
        figures: of each value, the lowest top-1 first.
        gap: between best and worst; None where fewer than two values have enough images.
        without: images that have no value in this slice.
    """

    name: str
    figures: tuple[SliceFigures, ...]
    gap: Gap | None
    without: int

    def to_json(self) -> dict[str, Any]:
        """Returns it as it stands in the summary of an evaluation's record."""
        gap = None if self.gap is None else {**vars(self.gap), "significant": self.gap.significant}
        return {
            "name": self.name,
            "figures": [vars(item) for item in self.figures],
            "gap": gap,
            "without": self.without,
        }


def slice_reports(images: Sequence[ImageResult], labels: Sequence[str]) -> tuple[SliceReport, ...]:
    """Judges every slice that any image has, in the order of their names.

    Args:
        images: answers; their `slices` name the kinds.
        labels: class names in the order of the network's output.
    """
    ids = {label: place for place, label in enumerate(labels)}
    truth = np.array([ids[image.label] for image in images], np.int64)
    predicted = np.array([ids[image.predicted] for image in images], np.int64)
    names = sorted({name for image in images for name in image.slices})
    return tuple(
        _report(name, truth, predicted, len(labels), [image.slices.get(name) for image in images]) for name in names
    )


def worst_gap(reports: Sequence[SliceReport]) -> tuple[SliceReport, Gap] | None:
    """Returns the slice with the largest gap that chance does not explain, else with the largest one; None for none."""
    found = [(report, report.gap) for report in reports if report.gap is not None]
    return max(found, key=lambda item: (item[1].significant, item[1].points), default=None)


def gap_in_words(report: SliceReport) -> str:
    """Returns the gap of a slice as one sentence; "" where it has none."""
    gap = report.gap
    if gap is None:
        return ""
    said = f"worst gap: {100 * gap.points:.1f} points of top-1 between {gap.best} and {gap.worst}"
    if gap.significant:
        return f"{said}; chance makes one as large in {max(0.1, 100 * gap.p_value):.1f} % of cases"
    return f"{said}; no finding: chance alone makes one as large in {100 * gap.p_value:.0f} % of cases"


def _report(
    name: str, truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, values: Sequence[str | None]
) -> SliceReport:
    known = sorted({value for value in values if value is not None})
    place = {value: number for number, value in enumerate(known)}
    kinds = np.array([-1 if value is None else place[value] for value in values], np.int64)
    figures = [_figures(value, truth[kinds == i], predicted[kinds == i], classes) for i, value in enumerate(known)]
    gap = _gap(known, kinds, truth == predicted)
    ordered = tuple(sorted(figures, key=lambda item: (item.top1, item.value)))
    return SliceReport(name, ordered, gap, int((kinds == -1).sum()))


def _figures(value: str, truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> SliceFigures:
    right = int((truth == predicted).sum())
    return SliceFigures(
        value,
        len(truth),
        accuracy.top1(truth, predicted),
        accuracy.wilson_interval(right, len(truth)),
        accuracy.macro_f1(accuracy.confusion(truth, predicted, classes)),
        accuracy.macro_f1_interval(truth, predicted, classes),
        too_small=len(truth) < FEW_IMAGES,
    )


def _gap(names: Sequence[str], kinds: NDArray[np.int64], right: NDArray[np.bool_]) -> Gap | None:
    sizes = np.bincount(kinds[kinds >= 0], minlength=len(names))
    large = np.flatnonzero(sizes >= FEW_IMAGES)
    if len(large) < 2:
        return None
    number = np.full(len(names) + 1, -1, np.int64)  # the last place is that of -1: no value
    number[large] = np.arange(len(large))
    told = number[kinds] >= 0
    kind, hits = number[kinds][told], right[told].astype(np.float64)
    shares = _shares(kind, hits, len(large))
    best, worst = int(shares.argmax()), int(shares.argmin())
    points = float(shares[best] - shares[worst])
    rng = np.random.default_rng(0)
    shuffled = (_shares(kind, rng.permutation(hits), len(large)) for _ in range(_SHUFFLES))
    as_large = sum(float(np.ptp(found)) >= points - 1e-12 for found in shuffled)
    # The observed order is one of those that chance may draw: a p-value is never 0 (Phipson and Smyth 2010).
    return Gap(names[large[best]], names[large[worst]], points, (1 + as_large) / (1 + _SHUFFLES))


def _shares(kind: NDArray[np.int64], hits: NDArray[np.float64], kinds: int) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.bincount(kind, weights=hits, minlength=kinds) / np.bincount(kind, minlength=kinds)
    return found
