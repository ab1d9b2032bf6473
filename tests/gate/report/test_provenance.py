"""Provenance: from the artifact back to the digest of its data set, link by link."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.manifest import read_manifest
from edgexfer.gate.report.provenance import provenance, split_digest
from tests.gate.report.made import digest_of, made_checkpoint, rewrite

SPLIT = 'path,label,split,sha256\na/1.jpg,"a ""b""",train,{one}\na/2.jpg,ä,val,{two}\n'.format(
    one="1" * 64, two="2" * 64
)


def test_the_digest_of_the_data_set_is_that_of_training(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="edgexfer.train needs the extra [train]")
    split = pytest.importorskip("edgexfer.train.images.split", reason="edgexfer.train needs the extra [train]")
    rows = [split.SplitRow("a/2.jpg", "ä", "val", "2" * 64), split.SplitRow("a/1.jpg", 'a "b"', "train", "1" * 64)]
    split.write_split(tmp_path / "split.csv", rows)
    digest, splits = split_digest((tmp_path / "split.csv").read_bytes())
    assert digest == split.dataset_digest(rows)
    assert splits == {"train": 1, "val": 1}


def test_a_bundle_leads_to_its_checkpoints_and_its_images(bundle_folder: Path) -> None:
    (bundle_folder / "split.csv").write_text(SPLIT, encoding="utf-8")
    digest, _ = split_digest(SPLIT.encode())
    made = {
        "dataset_digest": digest, "float_checkpoint": "f" * 64, "backbone": "lite", "settings": {"seed": 7},
        "versions": {"torch": "2.1"}, "calibration": {"recipe": {"name": "balanced"}, "images": ["x"] * 256},
    }  # fmt: skip
    rewrite(bundle_folder, "bundle", provenance=made, parent="d" * 64)
    found = provenance(bundle_folder, open_bundle(bundle_folder).manifest)
    assert [(link.what, link.digest) for link in found.chain] == [
        ("Data set", digest),
        ("Fine-tuned checkpoint", "f" * 64),
        ("Quantized checkpoint", "d" * 64),
        ("This bundle", digest_of(bundle_folder)),
    ]
    facts = [fact for link in found.chain for fact in link.facts]
    assert ("images", "1 train, 1 val") in facts
    assert ("checked", "split.csv gives this digest") in facts
    assert ("seed", "7") in facts
    assert ("calibrated with", "256 training images (balanced)") in facts
    assert ("torch", "2.1") in found.tables["Versions"]
    assert ("backend", "ort") in found.tables["Target"]
    listed = {name: sha256 for name, _, sha256 in found.files}
    manifest = json.loads((bundle_folder / "manifest.json").read_text(encoding="utf-8"))
    assert listed == {name: entry["sha256"] for name, entry in manifest["files"].items()}


def test_a_digest_that_does_not_agree_is_said(bundle_folder: Path) -> None:
    (bundle_folder / "split.csv").write_text(SPLIT, encoding="utf-8")
    rewrite(bundle_folder, "bundle", provenance={"dataset_digest": "e" * 64})
    first = provenance(bundle_folder, open_bundle(bundle_folder).manifest).chain[0]
    assert first.digest == "e" * 64
    assert dict(first.facts)["differs"].startswith("split.csv gives ")


def test_a_checkpoint_has_its_own_chain(tmp_path: Path) -> None:
    run = made_checkpoint(tmp_path / "run", parent="c" * 64, data="photos", backbone="lite", dataset_digest="e" * 64)
    chain = provenance(run, read_manifest(run, "checkpoint")).chain
    assert [link.what for link in chain] == ["Data set", "Fine-tuned checkpoint", "This checkpoint"]
    assert ("was in", "photos") in chain[0].facts


@pytest.mark.parametrize("odd", [{"provenance": 3}, {"provenance": {"settings": [1], "calibration": "x"}}])
def test_odd_records_end_no_report(bundle_folder: Path, odd: dict[str, object]) -> None:
    rewrite(bundle_folder, "bundle", **odd)
    assert provenance(bundle_folder, open_bundle(bundle_folder).manifest).chain[-1].what == "This bundle"
