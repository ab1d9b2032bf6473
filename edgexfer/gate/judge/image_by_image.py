"""Image by image: a limit on accuracy and two networks' answers to the same images in, verdicts out.

The rule of every limit that compares: it fails where the change is beyond the limit and significant, one-sided at
0.05. Beyond it but not significant is inconclusive: 2 lost images of 100 are 2 points, and chance. Significance is
    top-1 and recall    McNemar's exact test, the interval is Tango's (mcnemar.py); recall is a class's top-1
    any other figure    random swaps of an image's two answers, the interval is a bootstrap's (resampling.py)
Both ends of an interval are as sure as the test: 90 % for one figure. Where a limit holds for every class, p-values are
Holm's and intervals Bonferroni's, so that the chance of a false alarm is 0.05 for all classes together.

Judged are the images that both were asked about, at least half of the candidate's, and of a class at least half of its
own; where any are left out, the reason says how many. A class of which too few are left is inconclusive, never absent.

A set with less than a tenth of the images at which a change of just the limit could be significant (five lost images
at 0.05) is too small to judge by, and inconclusive; a larger one may pass, and the reason says what it cannot show.

`max` and `min` are held against the figure as it is, since the same images give the same figure at every run.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.gate.accuracy import wilson_interval
from edgexfer.gate.judge.accuracy_change import decide, exactly, resampled
from edgexfer.gate.judge.answers import Pairs, answers_of, asked_of_classes, flips, paired
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.mcnemar import ALPHA, holm
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.metrics import Answers
from edgexfer.gate.words import limit_in_words, value_in_words

__all__ = ["answers_of", "flips", "judge_answers"]

_LEAST_COMMON = 0.5
_REFERENCES = {"max_drop": "the float network", "max_regress": "the baseline"}


def judge_answers(
    limit: Limit,
    candidate: Evaluation,
    reference: Evaluation | None,
    *,
    seed: int = 0,
    missing: str = "there is no reference",
) -> tuple[Verdict, ...]:
    """Judges one limit on a metric of "answers" or "classes".

    Args:
        limit: a limit of "classes" without a label is judged for each class that has images.
        candidate: what the bundle answered.
        reference: what the float network ("max_drop") or the baseline ("max_regress") answered; of no effect on others.
        seed: of the resampling.
        missing: why there is no reference and what mends it, in words.

    Returns:
        One verdict; one for each class where the limit is for each, except those that have a limit of their own.

    Raises:
        DataError: candidate and reference do not know the same classes.
        SettingsError: the limit names a class that the candidate does not know.
    """
    _check_label(limit, candidate)
    if not candidate.images:
        return (_open(limit, "there is no image that may judge"),)
    if limit.kind in ("max", "min"):
        return _literally(limit, candidate)
    if reference is None:
        return (_open(limit, missing),)
    pairs = paired(candidate, reference)
    if _too_few(pairs.images, pairs.asked):
        return (_uncommon(limit, pairs.images, pairs.asked),)
    asked = asked_of_classes(candidate)
    each = _classes(limit, candidate.labels, asked)
    if each is None:
        return (_open(limit, _no_image(limit)),)
    common = np.bincount(pairs.candidate.truth, minlength=len(asked))
    counts = [
        (pairs.images, pairs.asked) if label is None else (int(common[label]), int(asked[label])) for _, label in each
    ]
    judged = iter(_paired([one for one, of in zip(each, counts, strict=True) if not _too_few(*of)], pairs, seed))
    return tuple(
        _uncommon(one, *of) if _too_few(*of) else _with_left_out(next(judged), *of)
        for (one, _), of in zip(each, counts, strict=True)
    )


def _paired(each: list[tuple[Limit, int | None]], pairs: Pairs, seed: int) -> tuple[Verdict, ...]:
    if not each:
        return ()
    # Bonferroni's level is for what is said of a single class; Holm's p-values decide.
    alpha = ALPHA / len(each)
    if each[0][0].metric in ("top1", "recall"):
        found = [exactly(one, _of_class(pairs, label), alpha) for one, label in each]
    else:
        found = resampled([one for one, _ in each], [label or 0 for _, label in each], pairs, alpha, seed)
    return tuple(
        decide(replace(change, p_value=p), alpha, family=len(each))
        for change, p in zip(found, holm([change.p_value for change in found]), strict=True)
    )


def _classes(limit: Limit, labels: tuple[str, ...], images: NDArray[np.int64]) -> list[tuple[Limit, int | None]] | None:
    # The limits that are judged, each with the id of its class; a class without images has no figure. None: no image.
    if limit.of.of != "classes":
        return [(limit, None)]
    wanted = labels if limit.label is None else (limit.label,)
    there = [label for label in wanted if images[labels.index(label)]]
    if not there:
        return None
    own = limit.except_labels
    return [(replace(limit, label=one, except_labels=()), labels.index(one)) for one in there if one not in own]


def _of_class(pairs: Pairs, label: int | None) -> Pairs:
    return pairs if label is None else pairs.chosen(np.flatnonzero(pairs.candidate.truth == label))


def _too_few(images: int, asked: int) -> bool:
    return not images or images < _LEAST_COMMON * asked


def _uncommon(limit: Limit, images: int, asked: int) -> Verdict:
    of_class = "" if limit.label is None else " of this class"
    reason = (
        f"only {images} of {asked} images{of_class} were also answered by {_REFERENCES[limit.kind]}, half of them is "
        "the least: judge both on the same images"
    )
    return _open(limit, reason, images=images, asked=asked)


def _with_left_out(verdict: Verdict, images: int, asked: int) -> Verdict:
    if images == asked:
        return verdict
    by = _REFERENCES[verdict.limit.kind]
    reason = f"{verdict.reason} (on the {images} of {asked} images that {by} answered too)"
    return replace(verdict, reason=reason, evidence={**verdict.evidence, "asked": asked})


def _literally(limit: Limit, candidate: Evaluation) -> tuple[Verdict, ...]:
    answers = answers_of(candidate)
    each = _classes(limit, candidate.labels, np.bincount(answers.truth, minlength=answers.classes))
    if each is None:
        return (_open(limit, _no_image(limit)),)
    values = np.atleast_1d(np.asarray(limit.of.value(answers), np.float64))
    return tuple(_literal(one, answers, label, float(values[label or 0])) for one, label in each)


def _literal(limit: Limit, answers: Answers, label: int | None, value: float) -> Verdict:
    judged = np.ones(len(answers.truth), np.bool_) if label is None else answers.truth == label
    images, right = int(judged.sum()), int((answers.truth == answers.predicted)[judged].sum())
    evidence: dict[str, Any] = {"images": images}
    if math.isnan(value):
        return _open(limit, f"{limit.subject} has no value on these {images} images", **evidence)
    low = high = None
    said = f"{value_in_words(limit.of, value)} on {images} images"
    if limit.metric in ("top1", "recall"):
        low, high = wilson_interval(right, images)
        evidence |= {"right": right, "confidence": 0.95}
        said = f"{right} of {images} images right: {value_in_words(limit.of, value)}"
    held = value <= limit.value if limit.kind == "max" else value >= limit.value
    reason = f"{said}; the limit is {limit_in_words(limit)}"
    return Verdict(limit, "pass" if held else "fail", reason, value, low=low, high=high, evidence=evidence)


def _check_label(limit: Limit, candidate: Evaluation) -> None:
    if limit.label is not None and limit.label not in candidate.labels:
        raise SettingsError(
            f"{limit.key}: {candidate.subject.bundle} has no class '{limit.label}'",
            did_you_mean(limit.label, candidate.labels),
        )


def _no_image(limit: Limit) -> str:
    return f"no image is of the class '{limit.label}'" if limit.label is not None else "no class has an image"


def _open(limit: Limit, reason: str, **evidence: Any) -> Verdict:
    return Verdict(limit, "inconclusive", reason, evidence=evidence)
