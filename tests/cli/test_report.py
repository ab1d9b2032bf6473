"""`edgexfer report`: where the page goes, and what it is told about images and verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.gate.report.made import Parsed, made_bundle, measured, put_images, verdicts

pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install 'edgexfer[report]')")


def test_the_page_lies_beside_the_bundle(edgexfer: Terminal, bundle_folder: Path) -> None:
    said = edgexfer("report", bundle_folder)
    page = bundle_folder.resolve().with_name("tiny.edgx.html")
    assert (said.code, said.err) == (0, "")
    assert said.out.split() == ["report:", str(page)]
    assert "Where it comes from" in Parsed(page).text


def test_images_and_verdicts_come_along(edgexfer: Terminal, tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b.edgx", measured("int8", 3))
    put_images(tmp_path / "data")
    (tmp_path / "gate.json").write_text(json.dumps(verdicts(bundle).to_json()), encoding="utf-8")
    out = tmp_path / "pages" / "b.html"
    said = edgexfer("report", bundle, "--out", out, "--data", tmp_path / "data", "--gate", tmp_path / "gate.json")
    assert (said.code, said.err) == (0, "")
    page = Parsed(out)
    assert "✗ fail latency_p50_ms" in page.text
    assert "img" in page.tags


def test_what_is_not_right_is_one_line(edgexfer: Terminal, tmp_path: Path, bundle_folder: Path) -> None:
    (tmp_path / "gate.json").write_text("{", encoding="utf-8")
    for option, value, text in (
        ("--data", tmp_path / "gone", "gone does not exist, expected the data set"),
        ("--gate", tmp_path / "gate.json", "gate.json is not valid JSON"),
        ("--gate", tmp_path / "none.json", "cannot read"),
        ("--out", tmp_path, "is a folder, expected a file"),
    ):
        said = edgexfer("report", bundle_folder, option, value)
        assert said.code == 2
        assert text in said.err
        assert "hint:" in said.err
