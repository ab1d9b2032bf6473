"""pixels: the one way from an image to the network's input."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgexfer.core.errors import ArtifactError, ImageError, SettingsError
from edgexfer.core.preprocess import Preprocess, decode, pixels, resize_image
from tests.golden.make_preprocess import CASES, FILE, as_source, synthetic


@pytest.mark.parametrize("name", CASES)
def test_golden_vectors(name: str) -> None:
    with np.load(FILE) as golden:
        source, expected, made_by = golden[f"{name}.source"], golden[f"{name}.expected"], str(golden["pillow"])
    found = pixels(as_source(name, source), CASES[name][1])
    same_major = made_by.partition(".")[0] == PIL.__version__.partition(".")[0]
    # A JPEG decoder may round differently from one build of libjpeg to the next.
    allowed = 0 if same_major and not name.startswith("jpeg") else 1
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= allowed


@pytest.mark.parametrize("kind", ["cover", "stretch"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_image_of_the_networks_size_is_untouched(kind: Any, interpolation: Any) -> None:
    preprocess = Preprocess(20, 30, kind, interpolation)
    image = synthetic(20, 30, 0)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    for source in (image, image[:, ::-1][:, ::-1], Image.fromarray(image), buffer.getvalue()):
        assert np.array_equal(pixels(source, preprocess), image)
    assert np.array_equal(resize_image(Image.fromarray(image), preprocess), image)


def test_fitting_array_is_not_copied() -> None:
    image = synthetic(20, 30, 0)
    image.flags.writeable = False
    assert pixels(image, Preprocess(20, 30)) is image
    turned = np.asfortranarray(image)
    found = pixels(turned, Preprocess(20, 30))
    assert found.flags.c_contiguous
    assert np.array_equal(found, image)


def test_cover_keeps_the_ratio_and_cuts_both_sides_alike() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, :100], image[:, 100:200], image[:, 200:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    found = pixels(image, Preprocess(50, 50))
    tall = pixels(image.transpose(1, 0, 2), Preprocess(50, 50))
    # The antialiasing filter sees a little of what lies beyond the cut, on both sides alike.
    assert (found[:, 2:-2] == (0, 255, 0)).all()
    assert np.array_equal(found[:, 0, 0], found[:, -1, 2])
    assert np.array_equal(tall, found.transpose(1, 0, 2))


def test_stretch_keeps_all_of_the_image() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, :100], image[:, 100:200], image[:, 200:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    found = pixels(image, Preprocess(60, 60, "stretch"))
    assert [found[30, column].tolist() for column in (8, 30, 52)] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.integers(1, 64),
    st.integers(1, 64),
    st.sampled_from(["cover", "stretch"]),
    st.sampled_from(["RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16"]),
    st.tuples(*[st.integers(0, 255)] * 3),
)
@settings(max_examples=80, deadline=None)
def test_any_size_and_mode(
    height: int, width: int, wanted_h: int, wanted_w: int, kind: Any, mode: str, colour: tuple[int, int, int]
) -> None:
    plain = Image.new("RGB", (width, height), colour)
    image = Image.new("I;16", (width, height), colour[0] * 257) if mode == "I;16" else plain.convert(mode)
    found = pixels(image, Preprocess(wanted_h, wanted_w, kind))
    assert found.shape == (wanted_h, wanted_w, 3)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    if mode not in ("1", "P"):  # these were dithered; any other plain colour stays that colour
        assert np.abs(found.astype(int) - np.asarray(decode(image))[0, 0]).max() <= 1


def test_extreme_ratio() -> None:
    assert pixels(np.zeros((1, 5000, 3), np.uint8), Preprocess(16, 16)).shape == (16, 16, 3)
    assert pixels(np.zeros((5000, 1, 3), np.uint8), Preprocess(16, 16)).shape == (16, 16, 3)


@pytest.mark.parametrize(("version", "allowed"), [(1, 1.5), (2, 3.0)])  # of waves that nearly vanish at this size
def test_large_jpeg_by_draft_is_close_to_the_whole_decode(version: int, allowed: float) -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(synthetic(1080, 1920, 3)).resize((1920, 1080), Image.Resampling.BOX)
    image.save(buffer, "JPEG", quality=92)
    preprocess = Preprocess(96, 96, version=version)
    quick = pixels(buffer.getvalue(), preprocess).astype(int)
    whole = resize_image(decode(buffer.getvalue()), preprocess).astype(int)
    assert np.abs(quick - whole).mean() < allowed


def test_bundles_of_the_first_version_keep_their_pixels() -> None:
    """Their decoder scales to no less than twice the size; to change that would change a shipped network's answers."""
    buffer = io.BytesIO()
    Image.fromarray(synthetic(400, 600, 3)).save(buffer, "JPEG", quality=92)
    first, second = Preprocess(96, 96, version=1), Preprocess(96, 96)
    assert Preprocess.from_json(first.to_json()) == first
    halved, quartered = (decode(buffer.getvalue(), at_least=one.at_least) for one in (first, second))
    assert (halved.size, quartered.size) == ((300, 200), (150, 100))
    assert np.array_equal(pixels(buffer.getvalue(), first), resize_image(halved, first))
    assert np.array_equal(pixels(buffer.getvalue(), second), resize_image(quartered, second))


@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("height", "width"), [(100, 150), (128, 192), (40, 60), (64, 64), (512, 512)])
def test_agrees_with_torchvision(kind: str, height: int, width: int) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2", reason="torchvision is not installed")
    mode = {"bicubic": transforms.InterpolationMode.BICUBIC, "bilinear": transforms.InterpolationMode.BILINEAR}[kind]
    image = Image.fromarray(synthetic(height, width, 5))
    theirs = transforms.Compose([transforms.Resize(64, mode, antialias=True), transforms.CenterCrop(64)])(image)
    ours = pixels(image, Preprocess(64, 64, "cover", kind))  # type: ignore[arg-type]
    difference = np.abs(ours.astype(int) - np.asarray(theirs))
    # The sizes come to whole pixels in torchvision's resize and crop, which rounds both. Where the image is four times
    # as large and more, ours averages whole pixels first, which softens waves as short as these a little more.
    averaged = min(height, width) >= 4 * 64
    assert difference.max() <= (10 if averaged else 1)
    assert difference.mean() <= (3 if averaged else 0.1)


def test_json_round_trip() -> None:
    preprocess = Preprocess(64, 48, "stretch", "bilinear")
    assert Preprocess.from_json(preprocess.to_json()) == preprocess
    assert preprocess.to_json() == {
        "height": 64,
        "width": 48,
        "resize": "stretch",
        "interpolation": "bilinear",
        "version": 2,
    }


def test_json_of_another_kind_is_refused() -> None:
    good = Preprocess(8, 8).to_json()
    with pytest.raises(ArtifactError, match="version 3, this edgexfer knows 1 and 2"):
        Preprocess.from_json({**good, "version": 3})
    with pytest.raises(ArtifactError, match="version None"):
        Preprocess.from_json({"height": 8, "width": 8})
    with pytest.raises(ArtifactError, match="expected a JSON object"):
        Preprocess.from_json([8, 8])
    with pytest.raises(SettingsError, match=r"unknown key 'heigth' \(did you mean 'height'"):
        Preprocess.from_json({"heigth": 8, "width": 8, "version": 1})
    with pytest.raises(SettingsError, match="resize is 'fit'"):
        Preprocess.from_json({**good, "resize": "fit"})
    with pytest.raises(SettingsError, match=r"height is 8\.5, expected int"):
        Preprocess.from_json({**good, "height": 8.5})
    with pytest.raises(SettingsError, match="0 x 8, expected 1 pixel or more"):
        Preprocess(0, 8)


def test_bad_array_is_an_image_error() -> None:
    with pytest.raises(ImageError, match="float64"):
        pixels(np.zeros((8, 8, 3)), Preprocess(8, 8))
