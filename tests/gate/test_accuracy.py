from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgexfer.gate import accuracy

CLASSES = 5
Ids = NDArray[np.int64]
pairs = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40)


def columns(drawn: list[tuple[int, int]]) -> tuple[Ids, Ids]:
    array = np.array(drawn, np.int64)
    return array[:, 0], array[:, 1]


@given(pairs)
@settings(max_examples=50, deadline=None)
def test_scores_agree_with_sklearn(drawn: list[tuple[int, int]]) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    truth, predicted = columns(drawn)
    matrix = accuracy.confusion(truth, predicted, CLASSES)
    assert (matrix == sk.confusion_matrix(truth, predicted, labels=range(CLASSES))).all()
    assert accuracy.top1(truth, predicted) == pytest.approx(sk.accuracy_score(truth, predicted))
    assert accuracy.macro_f1(matrix) == pytest.approx(sk.f1_score(truth, predicted, average="macro", zero_division=0))
    theirs = sk.recall_score(truth, predicted, labels=range(CLASSES), average=None, zero_division=np.nan)
    np.testing.assert_allclose(accuracy.recall(matrix), theirs)
    theirs = sk.precision_score(truth, predicted, labels=range(CLASSES), average=None, zero_division=np.nan)
    np.testing.assert_allclose(accuracy.precision(matrix), theirs)


@pytest.mark.train
def test_scores_agree_with_torchmetrics() -> None:
    pytest.importorskip("torchmetrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(CLASSES) * 0.5, 400)
    truth = np.array([rng.choice(CLASSES - 1, p=row[:-1] / row[:-1].sum()) for row in probabilities])
    predicted = probabilities.argmax(axis=1)
    scores = probabilities.max(axis=1)
    rows, ids = torch.tensor(probabilities), torch.tensor(truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ece = multiclass_calibration_error(rows, ids, CLASSES, n_bins=accuracy.ECE_BINS, norm="l1")
        f1 = multiclass_f1_score(rows, ids, CLASSES, average="macro")
    assert accuracy.expected_calibration_error(scores, truth == predicted) == pytest.approx(float(ece), abs=1e-6)
    assert accuracy.macro_f1(accuracy.confusion(truth, predicted, CLASSES)) == pytest.approx(float(f1), abs=1e-6)


def test_macro_f1_leaves_out_a_class_that_never_occurs_and_counts_one_that_was_only_guessed() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    assert accuracy.macro_f1(accuracy.confusion(truth, predicted, 3)) == 1.0
    guessed = np.array([0, 2, 1, 1])
    # F1 of class 0 is 2/3, of class 1 it is 1, of class 2 it is 0.
    assert accuracy.macro_f1(accuracy.confusion(truth, guessed, 3)) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_calibration_error_by_hand() -> None:
    # Two images in the bin around 0.8 of which one is right, one image at 1.0 that is right.
    scores, right = np.array([0.79, 0.79, 1.0]), np.array([True, False, True])
    assert accuracy.expected_calibration_error(scores, right) == pytest.approx(2 / 3 * (0.79 - 0.5))
    assert accuracy.expected_calibration_error(np.array([0.0]), np.array([False])) == 0.0


def test_nothing_to_judge_is_nan_not_a_number_that_looks_real() -> None:
    empty = np.array([], np.int64)
    matrix = accuracy.confusion(empty, empty, 2)
    assert np.isnan(accuracy.top1(empty, empty))
    assert np.isnan(accuracy.macro_f1(matrix))
    assert np.isnan(accuracy.recall(matrix)).all()
    assert np.isnan(accuracy.expected_calibration_error(np.array([]), np.array([], np.bool_)))
