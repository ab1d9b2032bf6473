"""Rates and epochs by how many images there are and how well the frozen features fit them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.train.suited import affordable_epochs, suited
from edgexfer.train.task import Task
from tests.train.test_strategies import task_of

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    made = task_of(tmp_path_factory.mktemp("suited") / "run")
    return replace(made, settings=replace(made.settings, epochs=None, learning_rate=None))


def with_probe(task: Task, images: int, top1: float | None, **more: Any) -> Task:
    found = {"probe": {**task.found["probe"], "folds_top1": top1}}
    return replace(task, train=np.arange(images), found=found, **more)


def test_features_that_do_not_fit_ask_for_large_steps_and_more_of_them(task: Task) -> None:
    far, near = suited(with_probe(task, 50, 0.6)), suited(with_probe(task, 50, 0.98))
    assert (far.learning_rate, near.learning_rate) == pytest.approx((1e-3, 3e-5))
    assert far.epochs > near.epochs
    assert "do not fit (error 40.0 %" in far.reason
    assert "small steps" in near.reason


@given(st.integers(2, 10**6), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_worse_the_features_the_larger_the_steps(task: Task, images: int, one: float, other: float) -> None:
    worse, better = sorted((one, other))
    left, right = suited(with_probe(task, images, worse)), suited(with_probe(task, images, better))
    assert left.learning_rate >= right.learning_rate > 0
    assert left.epochs >= right.epochs >= 4
    assert left.epochs <= 40


@given(st.integers(2, 10**6), st.one_of(st.none(), st.floats(0.0, 1.0)))
def test_what_the_user_says_counts(task: Task, images: int, top1: float | None) -> None:
    wanted = replace(task.settings, learning_rate=0.007, epochs=3, patience=9)
    how = suited(with_probe(task, images, top1, settings=wanted))
    assert (how.learning_rate, how.epochs, how.patience) == (0.007, 3, 9)


def test_a_checkpoint_that_goes_on_learning_takes_small_steps(task: Task) -> None:
    assert suited(replace(task, found={}, train=np.arange(250))).learning_rate < 5e-5


def test_random_weights_take_large_ones(task: Task) -> None:
    assert suited(replace(task, pretrained="none")).learning_rate == 2e-3


def test_an_epoch_costs_what_the_features_took(task: Task) -> None:
    slow = with_probe(task, 100, 0.9)
    slow.found["probe"]["forward_ms"] = 10.0
    assert affordable_epochs(slow, 40.81) == 10  # 4 s and 8 images of val at 10 ms
    assert affordable_epochs(replace(task, found={}), 10.0) is None
