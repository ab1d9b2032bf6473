"""torchvision's augmentations: each image or few draw for themselves, targets are mixed as pixels are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgexfer.train.images.augment import Augmentation, augment
from edgexfer.train.images.vary import Policy, erase, mix, vary

pytestmark = pytest.mark.train


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(count: int, side: int = 32) -> Tensor:
    """Smooth pictures that no change of colour or geometry leaves as they are; uint8 [count, 3, side, side]."""
    along = torch.linspace(0, 255, side)
    picture = torch.stack([along.expand(side, side), along[:, None].expand(side, side), 255 - along.expand(side, side)])
    return (0.2 + 0.6 * torch.rand(count, 3, 1, 1, generator=seeded(9))).mul(picture).to(torch.uint8)


@given(st.sampled_from(["trivial", "rand"]), st.integers(0, 30), st.integers(1, 40), st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_a_policy_gives_images_that_the_generator_alone_decides(
    policy: Policy, magnitude: int, count: int, seed: int
) -> None:
    pixels = photographs(count)
    before = pixels.clone()
    torch.manual_seed(seed + 1)
    state = torch.get_rng_state()
    seen = vary(pixels, policy, magnitude, seeded(seed))
    assert torch.equal(torch.get_rng_state(), state)
    assert seen.shape == pixels.shape
    assert seen.dtype == torch.uint8
    assert torch.equal(pixels, before)
    torch.manual_seed(seed + 2)
    assert torch.equal(vary(pixels, policy, magnitude, seeded(seed)), seen)


@pytest.mark.parametrize("policy", ["trivial", "rand"])
def test_each_image_of_a_usual_batch_is_changed_in_its_own_way(policy: Policy) -> None:
    same = photographs(1).expand(32, -1, -1, -1)
    seen = vary(same, policy, 9, seeded(0)).flatten(1).float()
    assert len(seen.unique(dim=0)) > 10
    large = vary(photographs(1).expand(128, -1, -1, -1), policy, 9, seeded(0)).flatten(1).float()
    assert 10 < len(large.unique(dim=0)) <= 32
    assert torch.equal(large[0], large[3])


def test_a_larger_magnitude_changes_more() -> None:
    pixels = photographs(64)
    off = [(vary(pixels, "rand", m, seeded(0)).float() - pixels).abs().mean() for m in (2, 9, 25)]
    assert off[0] < off[1] < off[2]


def test_no_policy_mirrors() -> None:
    pixels = torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    pixels[..., :16] = 255
    seen = vary(pixels, "rand", 9, seeded(0)).float()
    left, right = seen[..., 8:24, :4].mean((1, 2, 3)), seen[..., 8:24, -4:].mean((1, 2, 3))
    # Solarize turns bright into dark and leaves an image on one side brighter all the same; a mirror would swap half.
    assert (left >= right).float().mean() > 0.8


def test_the_share_of_images_that_lose_a_rectangle_and_no_more_than_a_third_of_it() -> None:
    lost = (erase(torch.zeros(400, 3, 24, 24), 0.25, seeded(0)) == 127.5).all(1).float().mean((1, 2))
    assert (lost > 0).float().mean() == pytest.approx(0.25, abs=0.06)
    assert lost.max() <= 0.36
    assert torch.equal(erase(torch.zeros(4, 3, 24, 24), 0.0, seeded(0)), torch.zeros(4, 3, 24, 24))


@given(st.sampled_from([(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)]), st.integers(1, 6), st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_targets_are_mixed_as_pixels_are(alphas: tuple[float, float], count: int, seed: int) -> None:
    ids = torch.arange(count) % 4
    pixels = 10.0 * ids.float().view(-1, 1, 1, 1).expand(-1, 3, 16, 16)  # what an image shows tells its class
    torch.manual_seed(seed)
    state = torch.get_rng_state()
    mixed, targets = mix(pixels, ids, 4, seeded(seed), mixup=alphas[0], cutmix=alphas[1])
    assert torch.equal(torch.get_rng_state(), state)
    assert targets.shape == (count, 4)
    torch.testing.assert_close(targets.sum(1), torch.ones(count))
    torch.testing.assert_close(mixed.mean((1, 2, 3)), 10 * targets @ torch.arange(4.0), atol=1e-3, rtol=1e-4)


def test_where_both_are_wanted_each_batch_takes_one_of_them() -> None:
    pixels = torch.stack([torch.zeros(3, 16, 16), torch.full((3, 16, 16), 200.0)])
    seen = [mix(pixels, torch.tensor([0, 1]), 2, seeded(seed), mixup=1.0, cutmix=1.0)[0] for seed in range(40)]
    cut = [bool(((image == 0) | (image == 200)).all()) for image in seen]
    assert 8 < sum(cut) < 32


def test_a_policy_and_erasing_are_part_of_augment() -> None:
    pixels = photographs(32)
    plain = augment(pixels, Augmentation(), seeded(3))
    varied = augment(pixels, Augmentation(policy="rand"), seeded(3))
    erased = augment(pixels, Augmentation(erasing=1.0), seeded(3))
    assert varied.shape == plain.shape
    assert not torch.equal(varied, plain)
    assert ((erased == 127.5).all(1).float().mean((1, 2)) > 0.015).all()
    assert torch.equal(
        augment(pixels, Augmentation(erasing=1.0, policy="trivial"), seeded(3)),
        augment(pixels, Augmentation(erasing=1.0, policy="trivial"), seeded(3)),
    )
