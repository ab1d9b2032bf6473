"""Near-duplicates: what was saved again, scaled or brightened is found; what only looks alike at a glance is not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from edgexfer.core import likeness
from edgexfer.core.likeness import Alike, near_duplicates, thumbnail


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A photograph as far as low frequencies go: smooth blobs with a little noise."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noise = rng.normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(blobs) + noise).clip(0, 255).astype(np.uint8))


def saved_again(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=30)
    return Image.open(buffer).convert("RGB")


CHANGES = {
    "saved again": saved_again,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


def pictures(images: list[Image.Image]) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change: str) -> None:
    images = [scene(seed) for seed in range(30)]
    found = near_duplicates(pictures([*images, CHANGES[change](images[4])]))
    assert [(pair.first, pair.second) for pair in found] == [(4, 30)]
    assert likeness.LEAST_CORRELATION <= found[0].correlation <= 1


def test_what_all_images_share_makes_no_pair() -> None:
    wall = np.asarray(scene(0))
    parts = []
    for seed in range(40):  # a fixed camera: the same wall, and a small thing in another place
        picture = wall.copy()
        top, left = np.random.default_rng(seed).integers(0, 100, 2)
        picture[top : top + 16, left : left + 16] = 255 * (seed % 2)
        parts.append(Image.fromarray(picture))
    several = pictures(parts)
    assert np.corrcoef(several.reshape(40, -1))[0, 1:].max() > likeness.LEAST_CORRELATION
    repeated = near_duplicates(np.concatenate([several, several[7:8]]))
    assert (7, 40) in [(pair.first, pair.second) for pair in repeated]
    assert len(repeated) <= 3


def test_pictures_of_one_colour_are_like_no_other() -> None:
    plain = np.full((5, likeness.SIDE, likeness.SIDE), 128, np.uint8)
    plain[1:] += np.random.default_rng(0).integers(0, 2, plain[1:].shape, dtype=np.uint8)
    assert near_duplicates(plain) == []
    assert near_duplicates(plain[:0]) == near_duplicates(plain[:1]) == []


def test_two_equal_pictures_alone_are_a_pair() -> None:
    one = pictures([scene(1), scene(1)])
    assert near_duplicates(one) == [Alike(0, 1, 1.0)]


def test_blocks_and_kinds_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [scene(seed) for seed in range(12)]
    several = pictures([image for image in images for _ in range(2)])
    expected = [(2 * i, 2 * i + 1) for i in range(12)]
    assert [(pair.first, pair.second) for pair in near_duplicates(several)] == expected
    monkeypatch.setattr(likeness, "_BLOCK", 5)
    assert [(pair.first, pair.second) for pair in near_duplicates(several)] == expected
    kinds = np.array([i // 2 for i in range(24)])
    kinds[1] = 99
    assert [(pair.first, pair.second) for pair in near_duplicates(several, kinds)] == expected[1:]


def test_bits_are_counted_alike_without_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(0).integers(0, 2**64, 200, dtype=np.uint64)
    expected = [int(word).bit_count() for word in words]
    assert likeness._bits(words).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert likeness._bits(words).tolist() == expected
