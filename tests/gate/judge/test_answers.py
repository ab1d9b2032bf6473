from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgexfer.core.errors import DataError
from edgexfer.gate.judge.answers import paired
from edgexfer.gate.judge.image_by_image import answers_of, flips
from edgexfer.gate.metrics import METRICS
from tests.gate.answers import evaluation, truth, with_mistakes


def test_the_metrics_of_answers_are_the_figures_of_the_evaluation() -> None:
    scores = np.random.default_rng(0).uniform(0.4, 1, 40).tolist()
    found = evaluation(truth(40), with_mistakes(40, (3, 4, 9, 30)), scores=scores)
    answers = answers_of(found)
    assert METRICS["top1"].value(answers) == found.top1 == 0.9
    assert METRICS["macro_f1"].value(answers) == found.macro_f1
    assert METRICS["calibration_error"].value(answers) == found.ece
    assert METRICS["recall"].value(answers).tolist() == list(found.recall.values())


def test_pairs_are_of_the_same_image_whatever_its_place_and_its_digits() -> None:
    names = [f"{number}.png" for number in range(12)]
    new = evaluation(truth(12), with_mistakes(12, (5,)), names=names)
    turned = evaluation(truth(12)[::-1], with_mistakes(12, (7,))[::-1], names=names[::-1], digits=16, bundle="old")
    pairs = paired(new, turned)
    assert pairs.images == pairs.asked == 12
    assert (pairs.candidate.truth == pairs.reference.truth).all()
    assert (pairs.candidate.predicted != pairs.reference.predicted).nonzero()[0].tolist() == [5, 7]
    assert [(flip.path, flip.kind, len(flip.sha256)) for flip in flips(new, turned)] == [
        ("stop/5.png", "lost", 16),
        ("left/7.png", "won", 16),
    ]


def test_an_image_that_is_there_twice_counts_once() -> None:
    names = ["same.png"] * 5 + ["other.png", "another.png"]
    new = evaluation([0] * 7, [1] * 5 + [0, 0], names=names)
    old = evaluation([0] * 3, [0] * 3, names=["same.png", "other.png", "another.png"])
    pairs = paired(new, old)
    assert (pairs.images, pairs.asked) == (3, 3)
    assert len(flips(new, old)) == 1


def test_what_one_side_alone_was_asked_is_left_out() -> None:
    pairs = paired(evaluation(truth(10), truth(10)), evaluation(truth(6), truth(6)))
    assert (pairs.images, pairs.asked) == (6, 10)
    assert paired(evaluation(truth(6), truth(6)), evaluation(truth(10), truth(10))).asked == 6


def test_scores_are_compared_with_as_many_digits_as_a_baseline_keeps() -> None:
    new = evaluation([0, 1], [0, 1], scores=[0.912345678, 0.7])
    old = evaluation([0, 1], [0, 1], scores=[0.9123, 0.7])
    pairs = paired(new, old)
    assert (pairs.candidate.scores == pairs.reference.scores).all()


def test_a_corrected_label_holds_for_both_sides() -> None:
    new, old = evaluation([1, 0], [1, 0]), evaluation([0, 0], [1, 0])
    pairs = paired(new, old)
    assert pairs.reference.truth.tolist() == pairs.candidate.truth.tolist() == [1, 0]
    assert flips(new, old) == ()


def test_flips_are_listed_lost_ones_first() -> None:
    new = evaluation([0, 0, 0, 0, 0], [0, 1, 2, 1, 0])
    old = evaluation([0, 0, 0, 0, 0], [1, 0, 1, 0, 0])
    assert [(flip.path, flip.kind, flip.before, flip.after) for flip in flips(new, old)] == [
        ("go/1.png", "lost", "go", "left"),
        ("go/3.png", "lost", "go", "left"),
        ("go/2.png", "changed", "left", "stop"),
        ("go/0.png", "won", "left", "go"),
    ]


def test_the_order_of_the_classes_does_not_matter() -> None:
    new = evaluation([0, 1, 2], [0, 1, 1], labels=("a", "b", "c"))
    old = evaluation([2, 1, 0], [2, 1, 0], labels=("c", "b", "a"))
    assert [flip.path for flip in flips(new, old)] == ["c/2.png"]


def test_other_classes_are_an_error_that_names_them() -> None:
    new = evaluation([0, 1], [0, 1], labels=("go", "left"))
    old = replace(evaluation([0, 1], [0, 1], labels=("go", "right")), data="elsewhere")
    with pytest.raises(DataError, match=r"new alone knows 'left'.*compared with alone knows 'right'"):
        flips(new, old)
