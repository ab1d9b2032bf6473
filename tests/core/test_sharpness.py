"""Blur: an image that is far less sharp than its set is found; a softer camera is no blur."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from edgexfer.core.sharpness import blurred, sharpness
from tests.core.test_likeness import scene


def test_a_blurred_image_is_found_and_softer_ones_are_not() -> None:
    images = [scene(seed) for seed in range(30)]
    images[3] = images[3].filter(ImageFilter.GaussianBlur(4))
    images[5] = images[5].filter(ImageFilter.GaussianBlur(0.6))
    values = np.array([sharpness(image) for image in images])
    assert values[5] < np.median(values) / 2
    assert blurred(values).tolist() == [3]


def test_the_worst_comes_first_and_few_images_say_nothing() -> None:
    values = np.array([100.0] * 25 + [1.0, 0.5, 0.0])
    assert blurred(values).tolist() == [27, 26, 25]
    assert blurred(values[-10:]).tolist() == []


def test_size_does_not_decide() -> None:
    image = scene(1, (1200, 900)).filter(ImageFilter.GaussianBlur(4))
    half = sharpness(image.resize((600, 450), Image.Resampling.BICUBIC))
    assert 0.8 < half / sharpness(image) < 1.25
    assert sharpness(Image.new("RGB", (2, 50))) == 0.0
