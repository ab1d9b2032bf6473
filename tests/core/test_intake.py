"""Every image decoded once; every bad file listed with its reason; copies never on both sides of a split."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexfer.core import intake as intake_module
from edgexfer.core.dataset import read_dataset
from edgexfer.core.decode import MAX_FILE_BYTES
from edgexfer.core.errors import DataError
from edgexfer.core.intake import Intake, inspect
from edgexfer.core.preprocess import Preprocess, pixels, resize_image
from tests.images import good_tree, jpeg, png_bomb, put, saved


def reasons(found: Intake) -> dict[str, str]:
    return {item.path: item.reason for item in found.rejected}


def test_usable_images_come_with_digest_and_upright_size(tmp_path: Path) -> None:
    good_tree(tmp_path)
    data = jpeg(50, size=(40, 20), orientation=6)
    put(tmp_path / "cats" / "turned.jpg", data)
    found = inspect(read_dataset(tmp_path))
    found.require_clean(strict=True)
    turned = next(item for item in found.samples if item.name == "cats/turned.jpg")
    assert (turned.width, turned.height) == (20, 40)
    assert turned.sha256 == hashlib.sha256(data).hexdigest()
    assert found.counts() == {"cats": {"all": 4}, "dogs": {"all": 3}}
    assert [found.dataset.samples[item.index] for item in found.samples] == list(found.dataset.samples)


def test_every_bad_file_is_listed_with_its_reason(tmp_path: Path) -> None:
    good_tree(tmp_path)
    cats = tmp_path / "cats"
    put(cats / "a.jpg", jpeg(1, (200, 200))[:5000])
    put(cats / "b.jpg", b"just text")
    put(cats / "c.jpg", b"")
    put(cats / "d.png", png_bomb())
    put(cats / "e.txt", b"notes")
    put(cats / "f.png", saved(Image.new("RGB", (50, 50), "red"), "PNG")[:60])
    found = inspect(read_dataset(tmp_path))
    expected = ["truncated", "not an image of a known format", "empty", "too many pixels", "not an image", "truncated"]
    assert sorted(reasons(found)) == [f"cats/{name}" for name in ("a.jpg", "b.jpg", "c.jpg", "d.png", "e.txt", "f.png")]
    for (path, reason), word in zip(sorted(reasons(found).items()), expected, strict=True):
        assert word in reason, path
        assert str(tmp_path) not in reason
        assert "the image of" not in reason
    assert len(found.samples) == 6
    found.require_clean(strict=False)
    with pytest.raises(DataError, match=r"6 files.*cats/a\.jpg is truncated"):
        found.require_clean(strict=True)


def test_unusual_but_good_images_are_usable(tmp_path: Path) -> None:
    good_tree(tmp_path)
    grey16 = Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100)
    for name, data in {
        "cmyk.jpg": saved(Image.new("CMYK", (20, 20), (10, 20, 30, 40)), "JPEG"),
        "deep.png": saved(grey16, "PNG"),
        "palette.gif": saved(Image.new("P", (20, 20), 3), "GIF"),
        "alpha.png": saved(Image.new("RGBA", (20, 20), (1, 2, 3, 4)), "PNG"),
        "grey.pgm": saved(Image.new("L", (20, 20), 9), "PPM"),
        "lossless.webp": saved(Image.new("RGB", (20, 20), "blue"), "WEBP"),
        "scan.TIFF": saved(Image.new("L", (20, 20), 7), "TIFF"),
    }.items():
        put(tmp_path / "cats" / name, data)
    found = inspect(read_dataset(tmp_path))
    assert reasons(found) == {}
    assert found.counts()["cats"] == {"all": 10}


def test_strict_lists_the_first_ten(tmp_path: Path) -> None:
    good_tree(tmp_path)
    for number in range(13):
        put(tmp_path / "dogs" / f"bad{number:02}.jpg", b"x")
    with pytest.raises(DataError) as caught:
        inspect(read_dataset(tmp_path)).require_clean(strict=True)
    assert caught.value.message.count("dogs/bad") == 10
    assert "and 3 more" in caught.value.message


def test_a_class_that_loses_its_images_is_named(tmp_path: Path) -> None:
    good_tree(tmp_path)
    for number in (1, 2):
        put(tmp_path / "dogs" / f"{number}.jpg", b"broken")
    with pytest.raises(DataError, match=r"class 'dogs' has too few usable images.*: 1, expected 2"):
        inspect(read_dataset(tmp_path)).require_clean(strict=False)


def test_copies_are_no_second_image(tmp_path: Path) -> None:
    good_tree(tmp_path, images=2)
    put(tmp_path / "dogs" / "1.jpg", (tmp_path / "dogs" / "0.jpg").read_bytes())
    found = inspect(read_dataset(tmp_path))
    assert [[item.name for item in group] for group in found.duplicates] == [["dogs/0.jpg", "dogs/1.jpg"]]
    assert found.rejected == ()
    with pytest.raises(DataError, match=r"class 'dogs' .*copies count once.*: 1"):
        found.require_clean(strict=False)


def test_one_image_in_two_classes_is_left_out_of_both(tmp_path: Path) -> None:
    good_tree(tmp_path)
    put(tmp_path / "dogs" / "x.jpg", (tmp_path / "cats" / "1.jpg").read_bytes())
    found = inspect(read_dataset(tmp_path))
    assert set(reasons(found)) == {"cats/1.jpg", "dogs/x.jpg"}
    assert "dogs/x.jpg, which is in class 'dogs'" in reasons(found)["cats/1.jpg"]
    assert [[item.name for item in group] for group in found.conflicts] == [["cats/1.jpg", "dogs/x.jpg"]]
    found.require_clean(strict=False)
    with pytest.raises(DataError, match="same content"):
        found.require_clean(strict=True)


def test_a_copy_in_a_later_split_wins(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "val", "test")):
        for image in range(3):
            put(tmp_path / part / "cats" / f"{image}.jpg", jpeg(100 * seed + image))
            put(tmp_path / part / "dogs" / f"{image}.jpg", jpeg(100 * seed + 50 + image))
    put(tmp_path / "train" / "cats" / "leak.jpg", jpeg(100))
    put(tmp_path / "train" / "dogs" / "leak.jpg", jpeg(250))
    put(tmp_path / "val" / "dogs" / "leak.jpg", jpeg(250))
    put(tmp_path / "train" / "cats" / "same.jpg", jpeg(0))
    found = inspect(read_dataset(tmp_path))
    assert reasons(found) == {
        "train/cats/leak.jpg": "has the same content as val/cats/0.jpg, which is in val",
        "train/dogs/leak.jpg": "has the same content as test/dogs/0.jpg, which is in test",
        "val/dogs/leak.jpg": "has the same content as test/dogs/0.jpg, which is in test",
    }
    assert [[item.name for item in group] for group in found.duplicates] == [
        ["train/cats/0.jpg", "train/cats/same.jpg"]
    ]
    found.require_clean(strict=False)


def test_a_split_that_loses_all_images_is_named(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        good_tree(tmp_path / part)
    for path in (tmp_path / "test").rglob("*.jpg"):
        path.write_bytes(b"x")
    for number, path in enumerate(sorted((tmp_path / "val").rglob("*.jpg"))):
        path.write_bytes(jpeg(500 + number))
    with pytest.raises(DataError, match="no usable images left in test"):
        inspect(read_dataset(tmp_path)).require_clean(strict=False)


@pytest.mark.parametrize("at_least", [None, (16, 12)])
def test_each_image_is_decoded_once_for_check_and_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_least: tuple[int, int] | None
) -> None:
    good_tree(tmp_path)
    put(tmp_path / "cats" / "large.jpg", jpeg(77, (300, 200), orientation=8))
    put(tmp_path / "cats" / "bad.jpg", b"x")
    dataset = read_dataset(tmp_path)
    decoded: Counter[str] = Counter()
    lock = threading.Lock()
    decode = intake_module.decode

    def counting(data: bytes, *, at_least: tuple[int, int] | None = None) -> Image.Image:
        with lock:
            decoded[hashlib.sha256(data).hexdigest()] += 1
        return decode(data, at_least=at_least)

    monkeypatch.setattr(intake_module, "decode", counting)
    preprocess = Preprocess(16, 12)
    kept: dict[int, bytes] = {}
    steps: list[tuple[int, int]] = []
    found = inspect(
        dataset,
        workers=3,
        at_least=at_least,
        on_image=lambda index, image: kept.update({index: resize_image(image, preprocess).tobytes()}),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert set(decoded.values()) == {1}
    assert steps == [(done, 8) for done in range(1, 9)]
    assert sorted(kept) == [item.index for item in found.samples]
    large = next(item for item in found.samples if item.name == "cats/large.jpg")
    assert (large.width, large.height) == (200, 300)
    if at_least is not None:
        for item in found.samples:
            assert kept[item.index] == pixels(item.sample.path, preprocess).tobytes()


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    good_tree(tmp_path)
    with (tmp_path / "cats" / "disk.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse: takes no room
    assert "the limit is 512 MiB" in reasons(inspect(read_dataset(tmp_path)))["cats/disk.png"]


def test_an_error_in_on_image_ends_the_pass(tmp_path: Path) -> None:
    good_tree(tmp_path)

    def full(index: int, image: Image.Image) -> None:
        raise DataError(f"no room for {index} of {image.size}")

    with pytest.raises(DataError, match="no room for 0"):
        inspect(read_dataset(tmp_path), on_image=full)


def test_the_record_holds_what_is_printed(tmp_path: Path) -> None:
    good_tree(tmp_path)
    put(tmp_path / "dogs" / "bad.jpg", b"x")
    record = inspect(read_dataset(tmp_path)).to_json()
    assert record["images"] == 6
    assert record["width"] == {"min": 24, "median": 24, "max": 24}
    assert [item["path"] for item in record["rejected"]] == ["dogs/bad.jpg"]
