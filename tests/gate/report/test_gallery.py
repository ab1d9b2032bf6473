"""The gallery: images are found by content, shown small, and described; what is not there is said."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from edgexfer.core.errors import DataError
from edgexfer.gate.judge.verdict import Flip
from edgexfer.gate.report.gallery import MOST_SHOWN, flipped, flipped_since, with_thumbnails, worst
from edgexfer.gate.report.page import report
from edgexfer.gate.report.thumbnails import SIDE, Wanted, thumbnails
from tests.gate.report.made import LABELS, Parsed, image_bytes, made_bundle, measured, path_of, put_images
from tests.images import jpeg, put


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_image_is_found_where_it_was_or_wherever_it_is_now(tmp_path: Path) -> None:
    large = jpeg(7, (900, 600), orientation=6)
    put(tmp_path / "cats/1.jpg", large)
    put(tmp_path / "elsewhere/2.jpg", image_bytes(2))
    put(tmp_path / "cats/3.jpg", b"no image")
    put(tmp_path / "cats/4.jpg", image_bytes(5))
    found = thumbnails(
        [
            Wanted("cats/1.jpg", sha256(large)),
            Wanted("cats/2.jpg", sha256(image_bytes(2))[:16]),
            Wanted("cats/3.jpg", sha256(b"no image")),
            Wanted("cats/4.jpg", sha256(image_bytes(4))),  # another image lies there now
            Wanted("cats/\0.jpg", "0" * 64),
        ],
        tmp_path,
    )
    assert set(found) == {sha256(large), sha256(image_bytes(2))[:16]}
    shown = found[sha256(large)]
    assert (shown.width, shown.height) == (round(SIDE * 600 / 900), SIDE)
    data = base64.b64decode(shown.source.removeprefix("data:image/jpeg;base64,"))
    picture = Image.open(io.BytesIO(data))
    assert picture.size == (shown.width, shown.height)
    assert not picture.getexif()
    assert len(data) < 12_000


def test_a_csv_stands_for_its_folder(tmp_path: Path) -> None:
    put(tmp_path / "cats/1.jpg", image_bytes(1))
    listing = put(tmp_path / "list.csv", b"path,label\ncats/1.jpg,cats\n")
    assert len(thumbnails([Wanted("cats/1.jpg", sha256(image_bytes(1)))], listing)) == 1


def test_mistakes_come_surest_first_and_are_counted_out() -> None:
    gallery = worst(measured("int8", 30).evaluation, "int8")
    assert len(gallery.images) == MOST_SHOWN
    assert gallery.more == 30 - MOST_SHOWN
    assert gallery.images[0].path == path_of(0)
    assert gallery.images[0].text == (
        f"An image of {LABELS[0]}, {path_of(0)}. int8 says {LABELS[1]} (90.0 %). The true class has 10.0 %."
    )


def test_flips_between_precisions_have_both_answers() -> None:
    before, after = measured("float32", 2).evaluation, measured("int8", 3).evaluation
    gallery = flipped(before, after, ("float32", "int8"))
    assert gallery.about == "Of 30 images float32 and int8 answer 1 differently."
    (image,) = gallery.images
    assert image.kind == "right before, wrong now"
    assert [(who, right) for who, _, _, right in image.answers] == [("float32", True), ("int8", False)]
    assert gallery.absent == 1


def test_flips_against_the_baseline_begin_with_what_was_lost() -> None:
    flips = (
        Flip("3", "c" * 64, "a", "b", "c"), Flip("2", "b" * 64, "a", "b", "a"), Flip("1", "a" * 64, "a", "a", "b"),
    )  # fmt: skip
    gallery = flipped_since(flips, "v1")
    assert [image.path for image in gallery.images] == ["1", "2", "3"]
    assert [image.kind.partition(",")[0] for image in gallery.images] == [
        "right before", "wrong before", "wrong both times",
    ]  # fmt: skip


def test_pictures_come_from_where_the_user_says_or_from_where_they_were(tmp_path: Path) -> None:
    put_images(tmp_path / "data")
    gallery = worst(measured("int8", 3).evaluation, "int8")
    (recorded,), place = with_thumbnails([gallery], None, ("", str(tmp_path / "data")))
    assert place == str(tmp_path / "data")
    assert recorded.absent == 0
    (nowhere,), place = with_thumbnails([gallery], None, ("", str(tmp_path / "gone")))
    assert (nowhere.absent, place) == (3, "")
    with pytest.raises(DataError, match="gone does not exist"):
        with_thumbnails([gallery], tmp_path / "gone", ())
    with pytest.raises(DataError, match="gone does not exist"):
        with_thumbnails([], tmp_path / "gone", ())


def test_the_page_shows_the_pictures_with_words_for_those_who_do_not_see_them(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install 'edgexfer[report]')")
    folder, data = made_bundle(tmp_path / "b.edgx", measured("int8", 3)), put_images(tmp_path / "data")
    (data / path_of(1)).unlink()
    page = Parsed(report(folder, tmp_path / "page.html", data=data))
    assert page.tags.count("img") == 2
    assert sum(text.startswith("An image of") for text in page.alternatives) == 2
    assert sum(text.startswith("Not at hand. An image of bees") for text in page.alternatives) == 1
    assert re.search(r"1 of those shown are not there", page.text)
    bare = Parsed(report(folder, tmp_path / "bare.html"))
    assert "img" not in bare.tags
    assert "edgexfer report BUNDLE --data DATA" in bare.text
