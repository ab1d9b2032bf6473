"""The threshold that export chooses: on validation images alone, told by digest; and what pictures of nothing get."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgexfer.core.bundle import SPLIT, Bundle, open_bundle
from edgexfer.core.files import sha256_of_file
from edgexfer.core.manifest import read_manifest, write_manifest
from edgexfer.flow.unknown import find_thresholds, generated_pictures
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.measured import Measured
from tests.bundles import make_bundle
from tests.gate.images import write_folders, write_image

GOLDEN = Path(__file__).parents[1] / "golden" / "bundle" / "unknown_1.json"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """20 pictures of each class, and a pale one of "a" that is hard to tell."""
    write_image(tmp_path / "data" / "a" / "pale.png", (150, 128, 128))
    return write_folders(tmp_path / "data", each=20)


def bundle_of(folder: Path, data: Path, val: int) -> Bundle:
    """A bundle whose first `val` pictures of each class, and the pale one, were validation images, the rest test."""
    make_bundle(folder, backend="fake")
    own = ("kind", "format_version", "digest", "files")
    content = {key: value for key, value in read_manifest(folder, "bundle").items() if key not in own}
    rows = ["path,label,split,sha256"]
    for path in sorted(data.rglob("*.png")):
        split = "val" if path.stem == "pale" or int(path.stem) < val else "test"
        rows.append(f"{path.relative_to(data)},{path.parent.name},{split},{sha256_of_file(path)}")
    (folder / SPLIT).write_text("\n".join(rows) + "\n", encoding="utf-8")
    write_manifest(folder, "bundle", content)
    return open_bundle(folder)


def test_validation_images_choose_and_the_others_are_told(tmp_path: Path, data: Path) -> None:
    bundle = bundle_of(tmp_path / "b.edgx", data, val=10)
    judged = evaluate(bundle, data)
    measured = [Measured("float32", judged, None, 1, shipped=True)]
    record, doubts = find_thresholds(bundle, data, names=["float32"], backend="fake", share=0.9, measured=measured)
    assert record is not None
    assert doubts == ()
    golden = json.loads(GOLDEN.read_bytes())
    assert set(record) == set(golden)
    assert set(record["precisions"]["float32"]) == set(golden["precisions"]["int8"])
    assert (record["score"], record["known_share"], record["images"]) == ("max_probability", 0.9, 31)
    found = record["precisions"]["float32"]
    scores = sorted(image.score for image in evaluate(bundle, data, split="val").images)
    assert found["known_from"] == pytest.approx(scores[2])  # a tenth of 32, rounded down, is the third lowest
    assert found["val"] == pytest.approx(29 / 31)
    held_out = [image.score >= found["known_from"] for image in judged.images]
    assert len(held_out) == 30
    assert found["held_out"] == pytest.approx(np.mean(held_out))
    assert found["generated"]["noise"] == 1  # all of it is grey on average, and hues decide here


def test_where_validation_images_judged_they_are_not_asked_again(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of(tmp_path / "b.edgx", data, val=100)
    measured = [Measured("float32", evaluate(bundle, data), None, 1, shipped=True)]
    monkeypatch.setattr("edgexfer.flow.unknown.evaluate", None)
    record, _ = find_thresholds(bundle, data, names=["float32"], backend="fake", share=0.95, measured=measured)
    assert record is not None
    assert record["images"] == 61
    assert "held_out" not in record["precisions"]["float32"]


def test_what_is_to_be_wary_of_is_said(tmp_path: Path, data: Path) -> None:
    write_image(data / "a" / "pale.png", (129, 128, 128))  # hardly a colour at all
    bundle = bundle_of(tmp_path / "b.edgx", data, val=3)
    record, doubts = find_thresholds(bundle, data, names=["float32"], backend="fake", share=0.95)
    assert record is not None
    assert record["precisions"]["float32"]["val"] == 1
    (few, blind) = doubts
    assert few == "10 validation images cannot promise that 95 % of further ones stay known: 19 could"
    assert "hardly notices" in blind
    elsewhere = write_folders(tmp_path / "elsewhere", each=2)
    for folder in elsewhere.iterdir():
        for path in folder.iterdir():
            path.unlink()
        write_image(folder / "new.png", (9, 9, 200), seed=len(folder.name) + ord(folder.name))
    record, doubts = find_thresholds(bundle, elsewhere, names=["float32"], backend="fake", share=0.95)
    assert record is None
    assert "no image will be called unknown" in doubts[0]
    assert "'val'" in doubts[0]


def test_the_generated_pictures_are_always_the_same_and_of_three_kinds() -> None:
    first, again = generated_pictures(24, 40), generated_pictures(24, 40)
    assert list(first) == ["noise", "flat", "blots"]
    for kind, made in first.items():
        assert made.shape == (32, 24, 40, 3)
        assert made.dtype == np.uint8
        assert np.array_equal(made, again[kind])
    spread = {kind: made.reshape(32, -1, 3).std(axis=1).mean() for kind, made in first.items()}
    assert spread["flat"] == 0
    assert spread["noise"] > 60
    assert spread["blots"] > 20
