"""`edgexfer data check`: the report, the record and what it ends with."""

from __future__ import annotations

import json
import os
from pathlib import Path

from PIL import ImageFilter
from typer.testing import CliRunner

from edgexfer.cli.data import app
from edgexfer.core.errors import DataError, SettingsError
from tests.core.test_likeness import scene
from tests.images import good_tree, jpeg, put, saved

run = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"}).invoke


def test_a_good_folder_is_shown_and_usable(tmp_path: Path) -> None:
    for part in ("train", "val"):
        good_tree(tmp_path / part)
    put(tmp_path / "train" / "cats" / "[bold]x.jpg", jpeg(40))
    put(tmp_path / "train" / "cats" / "copy.jpg", jpeg(40))
    for path in (tmp_path / "val").rglob("*.jpg"):
        path.write_bytes(jpeg(10 * sum(path.parent.name.encode()) + int(path.stem)))
    result = run(app, ["check", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "usable: 14 images in 2 classes" in result.stdout
    rows = [line.split() for line in result.stdout.replace("│", " ").splitlines()]
    assert ["cats", "5", "3"] in rows
    assert ["all", "8", "6"] in rows
    assert "width: 24 to 24 pixels, median 24" in result.stdout
    assert "train/cats/[bold]x.jpg = train/cats/copy.jpg" in result.stdout


def test_bad_files_are_listed_and_strict_refuses_them(tmp_path: Path) -> None:
    good_tree(tmp_path)
    put(tmp_path / "cats" / os.fsdecode(b"\xff\n.jpg"), b"text")
    record = tmp_path / "record.json"
    result = run(app, ["check", str(tmp_path), "--json", str(record)])
    assert result.exit_code == 0, result.output
    assert "cats/\\udcff\\n.jpg is not an image of a known format" in result.stdout
    assert "usable: 6 images in 2 classes, 1 left out" in result.stdout
    assert len(json.loads(record.read_text())["rejected"]) == 1
    assert isinstance(run(app, ["check", str(tmp_path), "--strict"]).exception, DataError)


def test_what_is_not_usable_is_shown_before_the_error(tmp_path: Path) -> None:
    good_tree(tmp_path, images=2)
    put(tmp_path / "dogs" / "1.jpg", b"")
    result = run(app, ["check", str(tmp_path)])
    assert "dogs/1.jpg is empty" in result.stdout
    assert "usable:" not in result.stdout
    assert isinstance(result.exception, DataError)
    assert "class 'dogs'" in result.exception.message


def bright(seed: int, change: float = 1.0) -> bytes:
    image = scene(seed)
    return saved(image.point(lambda level: int(level * change)), "JPEG", quality=80)


def test_near_duplicates_are_told_by_what_is_doubtful_about_them(tmp_path: Path) -> None:
    for part, first in (("train", 0), ("val", 100)):
        for number in range(6):
            put(tmp_path / part / "cats" / f"{number}.jpg", bright(first + number))
            put(tmp_path / part / "dogs" / f"{number}.jpg", bright(first + 50 + number))
    put(tmp_path / "train" / "cats" / "again.jpg", bright(1, 0.9))
    put(tmp_path / "val" / "cats" / "leak.jpg", bright(2, 0.9))
    put(tmp_path / "train" / "dogs" / "[red]wrong.jpg", bright(3, 0.9))
    record = tmp_path / "out.json"
    result = run(app, ["check", str(tmp_path), "--json", str(record)])
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "suspected wrong labels (nearly the same picture, different classes): 1" in text
    assert "train/cats/3.jpg (cats) ~ train/dogs/[red]wrong.jpg (dogs)" in text
    assert "nearly the same in several splits (scores will flatter): 1\n  train/cats/2.jpg ~ val/cats/leak.jpg" in text
    assert "nearly the same (both are used): 1\n  train/cats/1.jpg ~ train/cats/again.jpg" in text
    found = json.loads(record.read_text())["near_duplicates"]
    assert [(pair["kind"], pair["labels"], pair["splits"]) for pair in found] == [
        ("other-class", ["cats", "dogs"], ["train", "train"]),
        ("across-splits", ["cats", "cats"], ["train", "val"]),
        ("same-class", ["cats", "cats"], ["train", "train"]),
    ]
    assert all(0.94 <= pair["correlation"] <= 1 for pair in found)


def test_imbalance_tiny_and_blurred_images_are_told_with_numbers(tmp_path: Path) -> None:
    for number in range(24):
        put(tmp_path / "cats" / f"{number}.jpg", bright(number))
    for number in range(8):
        put(tmp_path / "dogs" / f"{number}.jpg", bright(50 + number))
    put(tmp_path / "dogs" / "tiny.png", saved(scene(70, (40, 30)), "PNG"))
    put(tmp_path / "dogs" / "soft.png", saved(scene(71).filter(ImageFilter.GaussianBlur(6)), "PNG"))
    record = tmp_path / "out.json"
    text = run(app, ["check", str(tmp_path), "--json", str(record)]).stdout
    assert "imbalance: 'cats' has 2.4 times the images of 'dogs' (24 and 10)" in text
    assert "tiny (training wants 128 pixels, and would enlarge them more than twice): 1\n  dogs/tiny.png: 40" in text
    assert "blurred (by far less sharp than the median image): 1\n  dogs/soft.png: " in text
    found = json.loads(record.read_text())
    assert found["imbalance"]["ratio"] == 2.4
    assert [item["image"] for item in found["tiny"] + found["blurred"]] == ["dogs/tiny.png", "dogs/soft.png"]


def test_imbalance_is_told_where_training_weighs_rare_classes_more(tmp_path: Path) -> None:
    """That is above 1.5, not at it."""
    for number in range(6):
        put(tmp_path / "cats" / f"{number}.jpg", bright(number))
    for number in range(4):
        put(tmp_path / "dogs" / f"{number}.jpg", bright(50 + number))
    assert "imbalance: " not in run(app, ["check", str(tmp_path)]).stdout
    put(tmp_path / "cats" / "6.jpg", bright(6))
    assert "imbalance: 'cats' has 1.8 times" in run(app, ["check", str(tmp_path)]).stdout


def test_a_set_of_small_images_is_told_once(tmp_path: Path) -> None:
    text = run(app, ["check", str(good_tree(tmp_path))]).stdout
    assert "small images: the median short side is 16 pixels; training enlarges them to 64" in text
    assert "tiny" not in text


def test_groups_are_counted_and_those_in_several_splits_are_listed(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for label in ("cats", "dogs"):
            for number, person in enumerate(("ann", "bob", part)):
                put(
                    tmp_path / part / label / f"{person}_{number}.jpg",
                    jpeg(sum(f"{part}{label}".encode()) + 100 * number),
                )
    record = tmp_path / "out.json"
    pattern = r"([^/]*)_\d+\.jpg"
    text = run(app, ["check", str(tmp_path), "--group", pattern, "--json", str(record)]).stdout
    assert "groups in several splits (scores will flatter): 2\n  ann: train, val\n  bob: train, val" in text
    assert "groups: 4, 4 of them with images of several classes; 12 images in them" in text
    found = json.loads(record.read_text())
    assert found["groups"] == {"groups": 4, "images": 12, "in_several_classes": 4}
    assert found["straddling_groups"] == {"ann": ["train", "val"], "bob": ["train", "val"]}
    assert isinstance(run(app, ["check", str(tmp_path), "--group", "no"]).exception, SettingsError)
