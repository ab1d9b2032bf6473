"""demo: its images, and what it refuses to write into; the whole of it is `make demo`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexfer.core.errors import EdgexferError
from edgexfer.flow import demo as flow
from tests.cli.terminal import files_below

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "digits"
    flow.write_digits(folder)
    return folder


def test_the_scans_are_small_pictures_in_ten_classes(scans: Path) -> None:
    paths = sorted(scans.rglob("*.png"))
    assert len(paths) == 1797
    assert {path.parent.name for path in paths} == set("0123456789")
    pictures = []
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (8, 8))
            pictures.append(np.array(image))
    stack = np.stack(pictures)
    assert (stack.min(), stack.max()) == (0, 255)
    # The corner is paper: white; somewhere in every scan there is ink.
    assert np.median(stack[:, 0, 0]) == 255
    assert (stack.min(axis=(1, 2)) < 64).all()


def test_a_scan_shows_its_class(scans: Path) -> None:
    # The hole of a nought is white where a one has its stroke.
    centres = {
        digit: np.mean([np.array(Image.open(path))[3:5, 3:5].mean() for path in (scans / digit).iterdir()])
        for digit in "01"
    }
    assert centres["0"] > 200
    assert centres["1"] < 80


def test_a_second_demo_takes_the_scans_that_are_there(scans: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in scans.rglob("*.png")}
    flow.write_digits(scans)
    assert {path: path.stat().st_mtime_ns for path in scans.rglob("*.png")} == before


@pytest.mark.parametrize("name", ["letter.txt", "digits/mine.png"])
def test_a_folder_of_the_users_own_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(EdgexferError, match=r"holds no demo|something else than the demo's scans") as caught:
        flow.demo(tmp_path)
    assert "--out" in caught.value.hint
    assert files_below(tmp_path) == {name: b"mine"}


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(EdgexferError, match="is a file, expected a folder"):
        flow.demo(tmp_path / "file")
