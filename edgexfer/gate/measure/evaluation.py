"""Evaluation: a bundle's answer to every image, from which all figures of accuracy are computed on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexfer.gate import accuracy
from edgexfer.gate.measure.record import Subject, to_record
from edgexfer.gate.measure.slices import SliceReport, slice_reports

Role: TypeAlias = Literal["train", "val", "test", "new"]


@dataclass(frozen=True)
class ImageResult:
    """What the network said about one image.

    Attributes:
        path: relative to the data set's root.
        sha256: of the file.
        role: what the image was when the network was made; "new" where it was not there.
        label: the true class.
        predicted: the most probable class.
        score: probability of the predicted class, 0 to 1.
        score_label: probability of the true class, 0 to 1.
        slices: {name: value} of the kinds of image that the data set says it is of, see edgexfer/core/image_list.py.
    """

    path: str
    sha256: str
    role: Role
    label: str
    predicted: str
    score: float
    score_label: float
    slices: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    """A file that was not judged.

    Attributes:
        path: relative to the data set's root.
        reason: in words, ready to print after the path.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """A bundle's answers to images whose class is known.

    Attributes:
        subject: what was measured, and with what.
        data: the data set, as it was given.
        labels: class names in the order of the network's output.
        images: one record per judged image, sorted by path.
        left_out: images that were not judged because of their role: {role: how many}.
        unreadable: files that could not be judged, each with the reason.
        warnings: why the figures flatter, in sentences; empty where they do not.
        host: see edgexfer/gate/machine/host.py.
        known_from: the score below which the bundle calls an image unknown; None where it has no such threshold, and
            in what was measured before the threshold was chosen.
    """

    subject: Subject
    data: str
    labels: tuple[str, ...]
    images: tuple[ImageResult, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    unreadable: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    host: dict[str, Any] = field(default_factory=dict)
    known_from: float | None = None

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Images by class, int64 [classes, classes]: row = the true class, column = the predicted one."""
        return accuracy.confusion(self._ids("label"), self._ids("predicted"), len(self.labels))

    @property
    def top1(self) -> float:
        """Fraction of images whose most probable class is right, 0 to 1."""
        return accuracy.top1(self._ids("label"), self._ids("predicted"))

    @property
    def top1_interval(self) -> tuple[float, float]:
        """Ends of the 95 % confidence interval of `top1` on images like these (Wilson)."""
        right = sum(image.label == image.predicted for image in self.images)
        return accuracy.wilson_interval(right, len(self.images))

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes, 0 to 1; see `accuracy.macro_f1` for classes without images."""
        return accuracy.macro_f1(self.confusion)

    @property
    def recall(self) -> dict[str, float]:
        """Fraction of each class's images that was found; nan where the class has no image."""
        return dict(zip(self.labels, accuracy.recall(self.confusion).tolist(), strict=True))

    @property
    def precision(self) -> dict[str, float]:
        """Fraction of each class's predictions that is right; nan where it was never predicted."""
        return dict(zip(self.labels, accuracy.precision(self.confusion).tolist(), strict=True))

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1, over 15 bins of equal width."""
        scores = np.array([image.score for image in self.images], np.float64)
        right = np.array([image.label == image.predicted for image in self.images], np.bool_)
        return accuracy.expected_calibration_error(scores, right)

    @property
    def unknown_share(self) -> float:
        """Fraction of the images that the bundle calls unknown, 0 to 1; nan where it has no threshold."""
        if self.known_from is None:
            return float("nan")
        return float(np.mean([not image.score >= self.known_from for image in self.images]))

    def slice_reports(self) -> tuple[SliceReport, ...]:
        """Returns how the network does on each slice; empty where the images have none."""
        return slice_reports(self.images, self.labels)

    def roles(self) -> dict[str, int]:
        """Returns how many of the judged images have each role."""
        found = [image.role for image in self.images]
        return {role: found.count(role) for role in ("test", "new", "val", "train") if role in found}

    def confused(self, most: int = 5) -> list[tuple[str, str, int]]:
        """Returns (true class, predicted class, images) of the most frequent mistakes, worst first."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [divmod(int(place), len(self.labels)) for place in order]
        return [(self.labels[row], self.labels[col], int(wrong[row, col])) for row, col in pairs if wrong[row, col]]

    def to_json(self) -> dict[str, Any]:
        """Returns the record that `evaluate --json` writes."""
        summary = {
            "images": len(self.images),
            "top1": self.top1,
            "top1_interval": self.top1_interval,
            "macro_f1": self.macro_f1,
            "ece": self.ece,
            "unknown_share": self.unknown_share,
            "recall": self.recall,
            "precision": self.precision,
        }
        if reports := self.slice_reports():
            summary["slices"] = [report.to_json() for report in reports]
        record = to_record("evaluation", self, summary)
        for image in record["images"]:
            if not image["slices"]:
                del image["slices"]
        return record

    def _ids(self, which: Literal["label", "predicted"]) -> NDArray[np.int64]:
        ids = {label: index for index, label in enumerate(self.labels)}
        return np.array([ids[getattr(image, which)] for image in self.images], np.int64)
