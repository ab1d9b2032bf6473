"""Answers: what two networks said about the same images, image by image, paired by the images' SHA-256.

A baseline keeps the first 16 digits of each SHA-256 and four digits of each score; so both sides are paired by as
many digits and their scores compared at that precision. An image that lies in the data set twice counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import DataError
from edgexfer.gate.judge.verdict import Flip
from edgexfer.gate.measure.evaluation import Evaluation, ImageResult
from edgexfer.gate.metrics import Answers

_DIGITS = 16
_SCORE_DECIMALS = 4


@dataclass(frozen=True)
class Pairs:
    """The answers of two networks to N images that both were asked about.

    Attributes:
        candidate: what the candidate said.
        reference: what the reference said, with the same `truth`.
        asked: different images that the candidate was asked about, N or more.
    """

    candidate: Answers
    reference: Answers
    asked: int

    @property
    def images(self) -> int:
        """How many images both were asked about: N."""
        return len(self.candidate.truth)

    def chosen(self, rows: NDArray[np.int64]) -> Pairs:
        """Returns the pairs of these images alone, by index; one may occur more than once."""
        return Pairs(_chosen(self.candidate, rows), _chosen(self.reference, rows), self.asked)


def answers_of(evaluation: Evaluation) -> Answers:
    """Returns the answers to every image, in the order of the evaluation."""
    return _arrays(evaluation.images, [image.label for image in evaluation.images], evaluation.labels)


def paired(candidate: Evaluation, reference: Evaluation) -> Pairs:
    """Pairs what two networks said about the same images.

    The true class is the one that the candidate was judged by: its data was read last, and labels get corrected.

    Raises:
        DataError: the two networks do not know the same classes.
    """
    both = _both(candidate, reference)
    truth = [mine.label for mine, _ in both]
    mine, other = (_arrays(side, truth, candidate.labels) for side in ([m for m, _ in both], [o for _, o in both]))
    return Pairs(_rounded(mine), _rounded(other), asked=len(_by_digest(candidate)))


def asked_of_classes(candidate: Evaluation) -> NDArray[np.int64]:
    """Returns int64 [classes]: how many different images of each class the network was asked about."""
    ids = {label: number for number, label in enumerate(candidate.labels)}
    truth = _ids([image.label for image in _by_digest(candidate).values()], ids)
    return np.bincount(truth, minlength=len(candidate.labels))


def flips(candidate: Evaluation, reference: Evaluation) -> tuple[Flip, ...]:
    """Returns the images that the two answer differently: lost ones first, then changed and won ones, by path.

    Raises:
        DataError: the two networks do not know the same classes.
    """
    found = [
        Flip(mine.path, min(mine.sha256, other.sha256, key=len), mine.label, other.predicted, mine.predicted)
        for mine, other in _both(candidate, reference)
        if mine.predicted != other.predicted
    ]
    order = ("lost", "changed", "won")
    return tuple(sorted(found, key=lambda flip: (order.index(flip.kind), flip.path)))


def _both(candidate: Evaluation, reference: Evaluation) -> list[tuple[ImageResult, ImageResult]]:
    _check_labels(candidate, reference)
    others = _by_digest(reference)
    return [(image, others[digest]) for digest, image in _by_digest(candidate).items() if digest in others]


def _by_digest(evaluation: Evaluation) -> dict[str, ImageResult]:
    found: dict[str, ImageResult] = {}
    for image in evaluation.images:
        found.setdefault(image.sha256[:_DIGITS].lower(), image)
    return found


def _check_labels(candidate: Evaluation, reference: Evaluation) -> None:
    ours, theirs = set(candidate.labels), set(reference.labels)
    if ours == theirs:
        return
    told = [
        f"{side} alone knows {', '.join(repr(label) for label in sorted(labels))}"
        for side, labels in ((candidate.subject.bundle, ours - theirs), ("what it is compared with", theirs - ours))
        if labels
    ]
    raise DataError(
        f"{candidate.subject.bundle} and what it is compared with ({reference.subject.bundle}) do not know the same "
        f"classes: {'; '.join(told)}",
        "compare with a bundle of the same classes, or accept a new baseline with `edgexfer baseline accept`",
    )


def _arrays(images: Sequence[ImageResult], truth: Sequence[str], labels: Sequence[str]) -> Answers:
    ids = {label: number for number, label in enumerate(labels)}
    return Answers(
        _ids(truth, ids),
        _ids([image.predicted for image in images], ids),
        np.array([image.score for image in images], np.float64),
        len(labels),
    )


def _chosen(answers: Answers, rows: NDArray[np.int64]) -> Answers:
    return Answers(answers.truth[rows], answers.predicted[rows], answers.scores[rows], answers.classes)


def _rounded(answers: Answers) -> Answers:
    return replace(answers, scores=answers.scores.round(_SCORE_DECIMALS))


def _ids(labels: Sequence[str], ids: dict[str, int]) -> NDArray[np.int64]:
    return np.array([ids[label] for label in labels], np.int64)
