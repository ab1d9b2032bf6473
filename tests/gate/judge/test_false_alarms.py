"""How often judging image by image errs, by simulation: two networks that are equally good, and one that is worse."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgexfer.gate.judge import accuracy_change
from edgexfer.gate.judge.image_by_image import judge_answers
from edgexfer.gate.judge.limits import parse_limit
from edgexfer.gate.measure.evaluation import Evaluation
from tests.gate.answers import evaluation, truth

LABELS = tuple("abcdef")


def flipped(true: NDArray[np.int64], rate: NDArray[np.float64] | float, rng: np.random.Generator) -> Evaluation:
    """Returns the answers of a network that errs at `rate` in each image; where it errs it is less sure."""
    wrong = rng.random(len(true)) < rate
    said = np.where(wrong, (true + rng.integers(1, len(LABELS), len(true))) % len(LABELS), true)
    scores = np.clip(rng.normal(0.9, 0.05, len(true)) - 0.2 * wrong, 0.2, 1)
    return evaluation(true.tolist(), said.tolist(), labels=LABELS, scores=scores.tolist())


def failed(key: str, value: float, runs: int, *, images: int = 300, rate: float = 0.06, worse: float = 0.0) -> float:
    """Returns how often the limit fails a candidate that errs `worse` more often than the reference."""
    limit = parse_limit(key, value, "a test")
    assert limit is not None
    rng = np.random.default_rng(1)
    true = np.array(truth(images, len(LABELS)))
    alarms = 0
    for _ in range(runs):
        new, old = flipped(true, rate + worse, rng), flipped(true, rate, rng)
        alarms += any(verdict.outcome == "fail" for verdict in judge_answers(limit, new, old))
    return alarms / runs


@pytest.fixture
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    # A simulation of a simulation: 100 are enough for a level of 0.05, and twenty times as fast.
    monkeypatch.setattr(accuracy_change, "RESAMPLES", 100)


# The strictest limit of all, 0: whatever is significant fails. Six recalls together may err as often as one figure.
@pytest.mark.parametrize(("key", "runs"), [("top1.max_regress", 400), ("recall.max_regress", 200)])
def test_equally_good_networks_rarely_fail(key: str, runs: int) -> None:
    assert failed(key, 0, runs) <= 0.05


@pytest.mark.usefixtures("_fewer_resamples")
@pytest.mark.parametrize("key", ["macro_f1.max_regress", "calibration_error.max_regress"])
def test_equally_good_networks_rarely_fail_resampled(key: str) -> None:
    # 0.05 and two standard errors of 60 runs.
    assert failed(key, 0, 60, images=150) <= 0.105


def test_a_network_that_is_plainly_worse_fails() -> None:
    assert failed("top1.max_regress", 0.01, 100, worse=0.08) > 0.8
    assert failed("top1.max_regress", 0.01, 100, images=1500, worse=0.04) > 0.9
    assert failed("recall.max_regress", 0.05, 50, worse=0.3) > 0.9


@pytest.mark.usefixtures("_fewer_resamples")
def test_a_network_that_is_plainly_worse_fails_resampled() -> None:
    assert failed("macro_f1.max_regress", 0.01, 20, worse=0.1) > 0.8
