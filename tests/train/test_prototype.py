"""Prototypes: the head answers as the nearest class mean by cosine does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.train.head.prototype import prototype_head

pytestmark = pytest.mark.train


@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_each_images_class_is_the_prototype_that_it_points_to(classes: int, shots: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(classes), shots)
    x = (rng.normal(size=(classes, 16))[ids] * 3 + rng.normal(size=(len(ids), 16))).astype(np.float32)
    weight, bias = prototype_head(x, ids, classes)
    assert weight.shape == (classes, 16)
    assert bias.shape == (classes,)
    centre = np.stack([x[ids == label].mean(axis=0) for label in range(classes)]).mean(axis=0)
    # Whatever its length, an image's answer is the direction it lies in from the centre of the classes.
    near, far = (centre + scale * (x - centre) for scale in (0.1, 10.0))
    answers = [(points @ weight.T + bias).argmax(1) for points in (x, near, far)]
    assert (answers[0] == answers[1]).all()
    assert (answers[0] == answers[2]).all()


def test_one_image_of_each_is_recognised_again() -> None:
    x = np.random.default_rng(0).normal(size=(6, 32)).astype(np.float32)
    weight, bias = prototype_head(x, np.arange(6), 6)
    assert (x @ weight.T + bias).argmax(1).tolist() == list(range(6))


def test_a_class_with_many_images_does_not_pull_the_centre() -> None:
    rng = np.random.default_rng(1)
    ids = np.array([0] * 50 + [1] * 2)
    x = (np.array([[4.0] * 8, [-4.0] * 8])[ids] + rng.normal(size=(52, 8))).astype(np.float32)
    weight, bias = prototype_head(x, ids, 2)
    middle = np.zeros((1, 8), np.float32) @ weight.T + bias
    assert abs(float(middle[0, 0] - middle[0, 1])) < 2.0
