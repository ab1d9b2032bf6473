"""Augmented images stay images, follow from the generator alone, and are mirrored only where that was asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgexfer.train.images.augment import Augmentation, augment

pytestmark = pytest.mark.train

NOTHING = Augmentation(smallest_crop=1.0, brightness=0.0, contrast=0.0, rotation=0.0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def left_white(count: int) -> Tensor:
    pixels = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    pixels[..., :16] = 255
    return pixels


@given(
    st.integers(1, 5),
    st.integers(0, 1000),
    st.booleans(),
    st.floats(0.3, 1),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 3),
)
@settings(deadline=None, max_examples=40)
def test_what_comes_out_is_an_image(
    count: int, seed: int, mirror: bool, crop: float, brightness: float, contrast: float, rotation: float
) -> None:
    pixels = torch.randint(0, 256, (count, 3, 20, 24), dtype=torch.uint8, generator=seeded(seed))
    before = pixels.clone()
    seen = augment(pixels, Augmentation(crop, mirror, brightness, contrast, rotation), seeded(seed))
    assert seen.shape == pixels.shape
    assert seen.dtype == torch.float32
    assert seen.isfinite().all()
    assert 0 <= seen.min() <= seen.max() <= 255
    assert torch.equal(pixels, before)


def test_the_generator_decides_everything() -> None:
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=seeded(0))
    torch.manual_seed(1)
    one = augment(pixels, Augmentation(mirror=True), seeded(7))
    torch.manual_seed(2)
    assert torch.equal(augment(pixels, Augmentation(mirror=True), seeded(7)), one)
    assert not torch.equal(augment(pixels, Augmentation(mirror=True), seeded(8)), one)


def test_each_image_draws_its_own_values() -> None:
    pixels = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=seeded(0)).expand(6, 3, 32, 32)
    seen = augment(pixels, Augmentation(), seeded(0))
    assert all(not torch.equal(seen[0], other) for other in seen[1:])


def test_nothing_asked_for_changes_nothing() -> None:
    pixels = torch.randint(0, 256, (4, 3, 20, 24), dtype=torch.uint8, generator=seeded(0))
    torch.testing.assert_close(augment(pixels, NOTHING, seeded(0)), pixels.float(), atol=1e-2, rtol=0)


def test_mirroring_off_never_mirrors_and_on_mirrors_half() -> None:
    count = 400
    pixels = left_white(count)
    upright = augment(pixels, Augmentation(mirror=False), seeded(0))
    left, right = upright[..., :16].mean((1, 2, 3)), upright[..., 16:].mean((1, 2, 3))
    assert (left > right).all()
    seen = augment(pixels, Augmentation(mirror=True), seeded(0))
    mirrored = seen[..., :16].mean((1, 2, 3)) < seen[..., 16:].mean((1, 2, 3))
    assert 0.4 * count < int(mirrored.sum()) < 0.6 * count


def test_no_image_is_ever_turned_upside_down() -> None:
    pixels = left_white(200).transpose(2, 3)
    seen = augment(pixels, Augmentation(mirror=True), seeded(0))
    assert (seen[:, :, :16].mean((1, 2, 3)) > seen[:, :, 16:].mean((1, 2, 3))).all()


def test_brightness_and_contrast_keep_to_their_ranges() -> None:
    grey = torch.full((200, 3, 8, 8), 100, dtype=torch.uint8)
    seen = augment(grey, Augmentation(1.0, rotation=0.0, brightness=0.1, contrast=0.0), seeded(0))[:, 0, 0, 0]
    assert 100 - 25.6 < seen.min() < 80
    assert 120 < seen.max() < 100 + 25.6
    seen = augment(grey, Augmentation(1.0, rotation=0.0, brightness=0.0, contrast=0.2), seeded(0))[:, 0, 0, 0]
    assert 127.5 - 27.5 * 1.2 - 0.1 < seen.min() < seen.max() < 127.5 - 27.5 * 0.8 + 0.1


def test_a_crop_shows_the_whole_range_of_places() -> None:
    ramp = torch.arange(32).repeat_interleave(1).view(1, 1, 1, 32).expand(300, 3, 32, 32).to(torch.uint8) * 8
    seen = augment(ramp, Augmentation(0.5, rotation=0.0, brightness=0.0, contrast=0.0), seeded(0))
    centres = seen[:, 0, 16].mean(1)
    assert centres.min() < 0.75 * 124
    assert centres.max() > 1.25 * 124
