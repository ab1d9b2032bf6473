"""Whether two sets of images are told apart by their features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgexfer.train.domain.set_shift import set_shift, shift_of_caches
from tests.train.pictures import cache_of, stripes
from tests.train.tiny import CACHE, TRAIN, VAL, tiny

pytestmark = pytest.mark.train


def drawn(seed: int, count: int, shift: float = 0.0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).normal(size=(count, 40)) + shift).astype(np.float32)


def test_sets_of_one_kind_are_not_told_apart() -> None:
    for seed in range(5):
        found = set_shift(drawn(seed, 80), drawn(100 + seed, 30), seed)
        assert found is not None
        assert not found.differs
        assert found.low <= found.auc <= found.high


def test_sets_of_two_kinds_are_told_apart_and_it_is_said() -> None:
    found = set_shift(drawn(0, 60), drawn(1, 60, shift=0.5))
    assert found is not None
    assert found.auc > 0.9
    assert found.differs
    line = found.line("DATA", "--unlabeled")
    assert line.startswith("DATA against --unlabeled: told apart in ")
    assert line.endswith("they differ clearly")
    assert found.to_json()["images"] == [60, 60]


def test_a_small_difference_is_called_small() -> None:
    found = set_shift(drawn(0, 300), drawn(1, 300, shift=0.11))
    assert found is not None
    assert 0.6 <= found.auc < 0.8
    assert found.words == "they differ a little"


def test_more_than_is_needed_is_not_used_and_too_little_gives_no_figure() -> None:
    found = set_shift(drawn(0, 900), drawn(1, 500))
    assert found is not None
    assert found.images == (300, 300)
    assert set_shift(drawn(0, 40), drawn(1, 4)) is None


def test_images_of_two_caches_are_seen_as_the_network_sees_them() -> None:
    foggy = cache_of(
        [(stripes(number % 2, 50 + number, side=16) * 0.25 + 185).astype(np.uint8) for number in range(20)]
    )
    apart = shift_of_caches(tiny(), (CACHE, TRAIN), (foggy, np.arange(20)))
    alike = shift_of_caches(tiny(), (CACHE, TRAIN), (CACHE, VAL))
    assert apart is not None
    assert alike is not None
    assert apart.auc > 0.9 > alike.auc
    assert shift_of_caches(tiny(), (CACHE, TRAIN), (CACHE, VAL[:2])) is None
