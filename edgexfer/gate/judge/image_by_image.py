"""Image by image: a limit on accuracy and two networks' answers to the same images in, verdicts out.

The rule of every limit that compares: it fails where the change is beyond the limit and significant, one-sided at
0.05. Beyond it but not significant is inconclusive: 2 lost images of 100 are 2 points, and chance. Significance is
    top-1 and recall    McNemar's exact test, the interval is Tango's (mcnemar.py); recall is a class's top-1
    any other figure    random swaps of an image's two answers, the interval is a bootstrap's (resampling.py)
Both ends of an interval are as sure as the test: 90 % for one figure. Where a limit holds for every class, p-values are
Holm's and intervals Bonferroni's, so that the chance of a false alarm is 0.05 for all classes together.

A set with less than a tenth of the images at which a change of just the limit could be significant (five lost images
at 0.05) is too small to judge by, and inconclusive; a larger one may pass, and the reason says what it cannot show.

`max` and `min` are held against the figure as it is, since the same images give the same figure at every run.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.gate.accuracy import wilson_interval
from edgexfer.gate.judge.accuracy_change import decide, exactly, resampled
from edgexfer.gate.judge.answers import Pairs, answers_of, flips, paired
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.mcnemar import ALPHA, holm
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.metrics import Answers
from edgexfer.gate.words import limit_in_words, value_in_words

__all__ = ["answers_of", "flips", "judge_answers"]

_LEAST_COMMON = 0.5
_MISSING = {
    "max_drop": "the float network's answers are not known: export the bundle again, so that it brings them",
    "max_regress": "there is no baseline to compare with: give one with --baseline",
}


def judge_answers(
    limit: Limit, candidate: Evaluation, reference: Evaluation | None, *, seed: int = 0, missing: str = ""
) -> tuple[Verdict, ...]:
    """Judges one limit on a metric of "answers" or "classes".

    Args:
        limit: a limit of "classes" without a label is judged for each class that has images.
        candidate: what the bundle answered.
        reference: what the float network ("max_drop") or the baseline ("max_regress") answered; of no effect on others.
        seed: of the resampling.
        missing: why there is no reference and what mends it, in words.

    Returns:
        One verdict; one for each class where the limit is for each.

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
        return (_open(limit, missing or _MISSING[limit.kind]),)
    pairs = paired(candidate, reference)
    if pairs.images < _LEAST_COMMON * pairs.asked or not pairs.images:
        reason = (
            f"only {pairs.images} of {pairs.asked} images were also answered by "
            f"{'the float network' if limit.kind == 'max_drop' else 'the baseline'}, half of them is the least: judge "
            "both on the same images"
        )
        return (_open(limit, reason, images=pairs.images, asked=pairs.asked),)
    return _paired(limit, candidate.labels, pairs, seed)


def _paired(limit: Limit, labels: tuple[str, ...], pairs: Pairs, seed: int) -> tuple[Verdict, ...]:
    each = _classes(limit, labels, pairs.candidate)
    if not each:
        return (_open(limit, _no_image(limit)),)
    # Bonferroni's level is for what is said of a single class; Holm's p-values decide.
    alpha = ALPHA / len(each)
    if limit.metric in ("top1", "recall"):
        found = [exactly(one, _of_class(pairs, label), alpha) for one, label in each]
    else:
        found = resampled([one for one, _ in each], [label or 0 for _, label in each], pairs, alpha, seed)
    return tuple(
        decide(replace(change, p_value=p), alpha, family=len(each))
        for change, p in zip(found, holm([change.p_value for change in found]), strict=True)
    )


def _classes(limit: Limit, labels: tuple[str, ...], answers: Answers) -> list[tuple[Limit, int | None]]:
    # The limits that are judged, each with the id of its class; a class without images has no figure.
    if limit.of.of != "classes":
        return [(limit, None)]
    counts = np.bincount(answers.truth, minlength=len(labels))
    wanted = labels if limit.label is None else (limit.label,)
    return [(replace(limit, label=label), labels.index(label)) for label in wanted if counts[labels.index(label)]]


def _of_class(pairs: Pairs, label: int | None) -> Pairs:
    return pairs if label is None else pairs.chosen(np.flatnonzero(pairs.candidate.truth == label))


def _literally(limit: Limit, candidate: Evaluation) -> tuple[Verdict, ...]:
    answers = answers_of(candidate)
    each = _classes(limit, candidate.labels, answers)
    values = np.atleast_1d(np.asarray(limit.of.value(answers), np.float64))
    verdicts = [_literal(one, answers, label, float(values[label or 0])) for one, label in each]
    return tuple(verdicts) or (_open(limit, _no_image(limit)),)


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
