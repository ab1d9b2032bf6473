"""Rates and epochs by how many images there are and how well the frozen features fit them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.train.plan import plan
from edgexfer.train.streaming.shards import Packed
from edgexfer.train.streaming.stream import Block, Stream
from edgexfer.train.suited import affordable_epochs, schedule, suited
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


def streamed(task: Task, folder: Path, images: int, **wanted: Any) -> Task:
    """The task on shards with so many training images, 10 at once; a window takes 104 s."""
    packed = tuple(Packed(str(number), "a", 0) for number in range(images))
    block = Block(Path("part-0.tar"), 0, packed, ("a",) * images, ("train",) * images)
    found = {"probe": {**task.found["probe"], "forward_ms": 1000.0}}
    settings = replace(task.settings, patience=None, **wanted)
    made = replace(task, stream=Stream((block,), 10, 0), found=found, folder=folder, notes={}, settings=settings)
    return replace(made, began=time.monotonic())


@pytest.mark.parametrize(
    ("images", "asked", "windows"), [(348, None, 35), (348, 2, 70), (12, None, 10), (12, 1, 2), (12, 20, 24)]
)
@pytest.mark.parametrize("by_auto", [False, True])
def test_shards_are_gone_through_once_or_as_often_as_asked(
    task: Task, tmp_path: Path, images: int, asked: int | None, windows: int, by_auto: bool
) -> None:
    found = streamed(task, tmp_path, images, epochs=asked)
    ready = plan(found).applied_to(found) if by_auto else found
    how = suited(ready)
    assert schedule(ready, how).epochs == windows
    assert how.patience == max(3, windows // 3)


@pytest.mark.parametrize(("asked", "fitting"), [(None, 12), (2, 12), (12, 12), (1, 35)])
def test_a_time_budget_counts_windows_of_shards(task: Task, tmp_path: Path, asked: int | None, fitting: int) -> None:
    found = streamed(task, tmp_path, 348, epochs=asked, time_budget_s=104.0 * fitting + 52)
    for _ in range(2):  # the second time as a resumed run, whose time is long over
        ready = plan(found).applied_to(found)
        assert schedule(ready, suited(ready)).epochs == fitting
        found = replace(found, began=found.began - 1e6, notes={})


def test_an_epoch_costs_what_the_features_took(task: Task) -> None:
    slow = with_probe(task, 100, 0.9)
    slow.found["probe"]["forward_ms"] = 10.0
    assert affordable_epochs(slow, 40.81) == 10  # 4 s and 8 images of val at 10 ms
    assert affordable_epochs(replace(task, found={}), 10.0) is None
