"""`edgexfer data check`: the report, the record and what it ends with."""

from __future__ import annotations

import json
import os
from pathlib import Path

from typer.testing import CliRunner

from edgexfer.cli.data import app
from edgexfer.core.errors import DataError
from tests.images import good_tree, jpeg, put

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
