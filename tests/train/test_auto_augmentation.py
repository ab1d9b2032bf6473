"""Auto stays light on small sets and short trainings; what the settings say holds whatever auto thinks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.core.errors import SettingsError
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.auto_augmentation import augmentation_for, auto_augmentation
from edgexfer.train.settings import FinetuneSettings

pytestmark = pytest.mark.train


@given(st.integers(1, 10**7), st.one_of(st.none(), st.integers(1, 1000)))
def test_a_small_set_or_a_short_training_stays_light(images: int, epochs: int | None) -> None:
    small = images < 5_000 or epochs is None or epochs < 20
    assert (auto_augmentation(images, epochs) == Augmentation()) == small


def test_it_grows_with_the_set_and_mixes_in_long_trainings_alone() -> None:
    assert auto_augmentation(5_000, 20).policy == "rand"
    assert auto_augmentation(99_999, 20).magnitude < auto_augmentation(100_000, 20).magnitude == 9
    short, long = auto_augmentation(5_000, 99), auto_augmentation(5_000, 100)
    assert (short.mixup, short.cutmix, short.erasing) == (0, 0, 0)
    assert min(long.mixup, long.cutmix, long.erasing) > 0


@given(
    st.sampled_from(["auto", "none", "light", "trivial", "rand"]),
    st.sampled_from([10, 200_000]),
    st.sampled_from([None, 300]),
    st.booleans(),
    st.floats(0, 1),
)
def test_what_is_set_holds(name: Any, images: int, epochs: int | None, mirror: bool, value: float) -> None:
    settings = FinetuneSettings(augmentation=name, epochs=epochs, random_erasing=value, mixup=value, cutmix=value)
    how = augmentation_for(settings, images, mirror=mirror)
    assert how.mirror == mirror
    assert how.erasing == how.mixup == how.cutmix == value
    assert name == "auto" or how.policy == (name if name in ("trivial", "rand") else "none")
    assert (name == "none") == (how.smallest_crop == 1)


@given(st.floats(0, 3), st.floats(0, 3))
def test_strength_makes_it_stronger(one: float, other: float) -> None:
    low, high = sorted((one, other))
    for name in ("light", "rand"):
        settings = [FinetuneSettings(augmentation=name, augmentation_strength=s) for s in (low, high)]  # type: ignore[arg-type]
        weak, strong = (augmentation_for(each, 100, mirror=False) for each in settings)
        assert weak.smallest_crop >= strong.smallest_crop > 0.3
        assert weak.rotation <= strong.rotation
        assert weak.magnitude <= strong.magnitude <= 30
    usual = FinetuneSettings(augmentation="light", augmentation_strength=1.0)
    assert augmentation_for(usual, 100, mirror=False) == Augmentation()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"augmentation": "ligth"}, "augmentation is 'ligth'"),
        ({"augmentation_strength": 4.0}, "augmentation_strength is 4"),
        ({"augmentation": "trivial", "augmentation_strength": 1.0}, "'trivial' has no strength"),
        ({"random_erasing": 1.5}, "random_erasing is 1.5"),
        ({"mixup": -0.1}, "mixup is -0.1"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"learning_rate": 1e-3, "find_learning_rate": True}, "find_learning_rate asks for another"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        FinetuneSettings(**wrong)
