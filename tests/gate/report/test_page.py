"""The report: what a person sees of a checkpoint and of a bundle, from artifacts made here."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import ArtifactError, EdgexferError, MissingPartError, SettingsError
from edgexfer.gate.measure.measured import read_measured, write_measured
from edgexfer.gate.report.page import report
from tests.gate.report.made import (
    HOSTILE,
    Parsed,
    full,
    layers,
    made_bundle,
    made_checkpoint,
    measured,
    rewrite,
    verdicts,
)

pytest.importorskip("jinja2", reason="Jinja2 is not installed (pip install 'edgexfer[report]')")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install 'edgexfer[report]')")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return made_bundle(tmp_path / "tiny.edgx")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    """The page of a bundle with measurements alone."""
    folder = tmp_path_factory.mktemp("plain")
    return Parsed(report(made_bundle(folder / "tiny.edgx"), folder / "out" / "page.html"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    """The page of a bundle with all that may be in one, and with verdicts."""
    folder = tmp_path_factory.mktemp("whole")
    bundle = full(made_bundle(folder / "tiny.edgx"))
    return Parsed(report(bundle, folder / "page.html", gate=verdicts(bundle)))


def test_a_bundle_shows_its_precisions_classes_and_mistakes(plain: Parsed) -> None:
    assert "float32 int8 shipped change" in plain.text
    assert "Top-1 93.33 % 90.00 % -3.33 points" in plain.text
    assert "ONNX file 16.00 MB 4.00 MB 0.25 ×" in plain.text
    assert "Inference p50 5.95 ms 2.95 ms 0.50 ×" in plain.text
    assert "over 30 images: 27 right in both, 1 in float32 alone, 0 in int8 alone, 2 in neither." in plain.text
    assert plain.text.count("the set is small") + plain.text.count("The set is small") == 1
    assert "backend ort" in plain.text
    assert re.search(r"ants 10 90\.0 % 90\.0 % 90\.0 %", plain.text)


def test_a_packed_bundle_has_the_same_page(bundle: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", bundle.parent, bundle.name)
    pages = [
        report(which, tmp_path / f"{place}.html").read_text(encoding="utf-8")
        for place, which in enumerate((bundle, archive))
    ]
    assert pages[0] == pages[1]
    (tmp_path / "notes.txt").write_text("no archive", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"notes.txt is no"):
        report(tmp_path / "notes.txt", tmp_path / "page.html")


def test_the_summary_stands_before_the_details(plain: Parsed) -> None:
    summary = plain.text[: plain.text.index("Precisions side by side")]
    assert "Top-1 90.00 % 74.4 % to 96.5 % on images like these (95 %), from 30 images" in summary
    assert "Latency p50 4.45 ms one whole prediction; p95 5.30 ms; 1.67 × as fast as float32" in summary
    assert "Size 4.00 MB int8 ONNX file; float32 has 4.0 × as many bytes" in summary
    assert "int8 against float32 -3.33 points of top-1; 1 of 30 answers differ" in summary
    assert "Weakest class 90.0 % recall of ants" in summary


def test_the_page_stands_alone_and_runs_nothing(whole: Parsed) -> None:
    assert not {"script", "iframe", "object", "embed", "form"} & set(whole.tags)
    assert [a for a in whole.addresses if not a.startswith(("#", "data:image/jpeg;base64,")) and a != "data:,"] == []
    assert re.findall(r"url\((?!#)|@import|@font-face", whole.html) == []
    assert "default-src &#39;none&#39;" not in whole.html
    assert "content=\"default-src 'none'; img-src data:" in whole.html
    assert "prefers-color-scheme: dark" in whole.html


def test_foreign_text_is_text(whole: Parsed) -> None:
    assert HOSTILE not in whole.html
    # In the name, among the classes, in a drawing of the layers, in a reason, in the baseline.
    assert whole.text.count(HOSTILE) >= 8
    assert f"block.1{HOSTILE}" in whole.text


def test_text_that_no_page_can_hold_gets_a_sign_in_its_place(tmp_path: Path) -> None:
    folder = made_bundle(tmp_path / "b.edgx", measured("int8", 3))
    (folder / "history.csv").write_bytes(b"epoch,stage,loss\x01\n1,a\xff,0.5\n\x02,b,0.4\n")
    listed = layers().replace("block.1", "block\\u0001\\ud800")
    (folder / "layers.json").write_text(listed, encoding="utf-8")
    page = Parsed(report(rewrite(folder, "bundle"), tmp_path / "page.html"))
    assert "block\ufffd\ufffd" in page.text
    assert not re.search("[\0-\x08\ud800-\udfff]", page.html)


def test_every_id_is_there_once_and_every_link_leads_somewhere(whole: Parsed) -> None:
    assert sorted(whole.ids) == sorted(set(whole.ids))
    links = {address[1:] for address in whole.addresses if address.startswith("#")}
    links |= set(re.findall(r"url\(#([\w-]+)\)", whole.html))
    assert len(links) > 10
    assert links - set(whole.ids) == set()


def test_accuracy_control_has_a_section_where_there_was_any(plain: Parsed, whole: Parsed) -> None:
    assert "Accuracy control" not in plain.text
    assert "with ranges by quantile and 2 layers in float it loses nothing." in whole.text
    assert "the test images had no say" in whole.text
    assert "what it does to the answers, in nats" in whole.text


def test_equal_artifacts_give_equal_pages(bundle: Path, tmp_path: Path) -> None:
    gate = verdicts(full(bundle))
    first, second = (report(bundle, tmp_path / name, gate=gate).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_what_is_missing_is_said_with_the_command_that_brings_it(plain: Parsed, whole: Parsed) -> None:
    assert "this bundle holds no history.csv" in plain.text
    assert "this bundle holds no layers.json" in plain.text
    assert "edgexfer report BUNDLE --gate gate.json" in plain.text
    assert "Not on this page" not in whole.text


def test_a_bundle_that_was_measured_by_nothing_still_has_a_page(bundle_folder: Path, tmp_path: Path) -> None:
    page = Parsed(report(bundle_folder, tmp_path / "page.html"))
    assert "Where it comes from" in page.text
    assert "Precisions side by side" not in page.text
    assert "this bundle holds no measurements" in page.text


def test_what_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    folder = made_bundle(tmp_path / "b.edgx", measured("float32", 0, milliseconds=None), measured("int8", 0))
    page = Parsed(report(folder, tmp_path / "page.html"))
    assert re.search(r"Inference p50\s+–\s*2\.95 ms", page.text)
    assert "None: float32 and int8 give the same answer to all 30 images." in page.text


def test_simulated_accuracy_is_said(bundle: Path, tmp_path: Path) -> None:
    rewrite(bundle, "bundle", simulated=True)
    assert "Accuracy was simulated with another engine than 'ort'." in Parsed(report(bundle, tmp_path / "p.html")).text


def test_a_checkpoint_shows_curves_figures_and_confusion(tmp_path: Path) -> None:
    metrics = {
        "val": {"top1": 0.5, "confusion": [[1, 1], [1, 1]]},
        "test": {"images": 20, "top1": 0.95, "confusion": [[9, 1], [0, 10]], "recall": [0.9, 1.0]},
    }
    calibration = {"nncf": {"key": "secret"}, "images": [f"{i:064x}" for i in range(256)]}
    run = made_checkpoint(tmp_path / "run", best_epoch=2, metrics=metrics, seed=7, quantization=calibration)
    page = Parsed(report(run, tmp_path / "page.html"))
    assert "Top-1 95.00 % on 20 test images" in page.text
    assert "Epoch kept 2 the closest to the float network" in page.text
    assert "images of the split test" in page.text
    assert "248 more" in page.text
    assert "secret" not in page.text
    for name in ("Loss of fine-tuning", "Loss of quantization-aware training", "val top1", "Learning rate"):
        assert name in page.text
    assert re.search(r"ants 10 90\.0 % 100\.0 %", page.text)
    assert "seed: 7" in page.text


def test_what_was_said_after_training_is_on_the_page_with_curves_and_without(tmp_path: Path) -> None:
    notes = {"guards": ["overfitting: 100 % of <training> images recognised", "domain shift 0.20 of 1"]}
    for name, history in (("curves", {}), ("none", {"history": ""})):
        run = made_checkpoint(tmp_path / name, strategy_notes=notes, **history)
        page = Parsed(report(run, tmp_path / f"{name}.html"))
        assert "overfitting: 100 % of <training> images recognised domain shift 0.20 of 1" in page.text
        assert ("Learning rate" in page.text) is (name == "curves")


@pytest.mark.parametrize("history", ["", "epoch,stage,train_loss\n", "epoch,stage,train_loss\n1,head,nan\n"])
def test_a_checkpoint_without_epochs_has_no_curves(tmp_path: Path, history: str) -> None:
    page = Parsed(report(made_checkpoint(tmp_path / "run", history), tmp_path / "page.html"))
    assert "svg" not in page.tags
    assert "no epoch was trained" in page.text


def test_many_classes_stay_readable(tmp_path: Path) -> None:
    labels = [f"class {i}" for i in range(61)]
    matrix = 5 * np.eye(61, dtype=int)
    matrix[7, 9], matrix[7, 7] = 4, 1
    run = made_checkpoint(tmp_path / "run", labels=labels, metrics={"confusion": matrix.tolist()})
    page = Parsed(report(run, tmp_path / "page.html"))
    assert "class 7 class 9 4 80.0 %" in page.text
    assert "The other 49 classes" in page.text
    assert "All 61 classes" in page.text
    assert page.text.count("class 60") == 1
    assert page.html.count("<td") < 1000


def test_a_matrix_of_another_size_is_refused(tmp_path: Path) -> None:
    run = made_checkpoint(tmp_path / "run", metrics={"confusion": [[1]]})
    with pytest.raises(ArtifactError, match=r"\(1, 1\), expected \(2, 2\)"):
        report(run, tmp_path / "page.html")


def test_a_checkpoint_has_neither_images_nor_verdicts(bundle: Path, tmp_path: Path) -> None:
    run = made_checkpoint(tmp_path / "run")
    with pytest.raises(SettingsError, match="is no bundle"):
        report(run, tmp_path / "page.html", data=tmp_path)
    with pytest.raises(SettingsError, match="is no bundle"):
        report(run, tmp_path / "page.html", gate=verdicts(bundle))


def test_measurements_come_back_as_they_were(bundle: Path) -> None:
    records = read_measured(open_bundle(bundle))
    assert [record.precision for record in records] == ["int8", "float32"]
    assert [record.shipped for record in records] == [True, False]
    assert records[0].evaluation.top1 == pytest.approx(0.9)
    write_measured(bundle, [dataclasses.replace(record) for record in records])
    rewrite(bundle, "bundle")
    assert read_measured(open_bundle(bundle)) == records


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "format_version"),
        ('{"format_version": 9, "records": []}', "format_version 9, this edgexfer reads 1"),
        ('{"format_version": 1, "records": [{"precision": "int8"}]}', "does not fit"),
        ('{"format_version": 1, "records": [{"precision": "int3"}]}', "precision 'int3', known: float32"),
        ('{"format_version": 1, "records": 3}', "does not fit"),
    ],
)
def test_measurements_that_are_none_are_refused(bundle: Path, tmp_path: Path, content: str, message: str) -> None:
    (bundle / "measurements.json").write_text(content, encoding="utf-8")
    rewrite(bundle, "bundle")
    with pytest.raises(ArtifactError, match=message):
        report(bundle, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_folder_that_is_no_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        report(tmp_path / "nothing", tmp_path / "page.html")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"has no manifest\.json"):
        report(tmp_path / "empty", tmp_path / "page.html")


def test_a_tampered_artifact_is_refused(bundle: Path, tmp_path: Path) -> None:
    with (bundle / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match=r"model\.onnx was changed"):
        report(bundle, tmp_path / "page.html")


def test_a_folder_as_out_is_refused_and_an_old_page_replaced(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgexferError, match="is a folder, expected a file"):
        report(bundle, tmp_path)
    page = tmp_path / "page.html"
    page.write_text("old", encoding="utf-8")
    assert report(bundle, page) == page
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(("package", "name"), [("jinja2", "Jinja2"), ("matplotlib", "matplotlib")])
def test_without_its_packages_the_error_says_what_to_install(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPartError, match=rf"{name}, which is not installed \(pip install 'edgexfer\[report\]'\)"):
        report(bundle, tmp_path / "page.html")


@pytest.mark.parametrize("size_bytes", [0, -1, 10**400])
def test_a_file_of_no_size_that_can_be_is_refused(bundle: Path, tmp_path: Path, size_bytes: int) -> None:
    write_measured(bundle, [dataclasses.replace(measured("int8", 3), size_bytes=size_bytes)])
    rewrite(bundle, "bundle")
    with pytest.raises(ArtifactError, match="bytes, expected 1 to"):
        report(bundle, tmp_path / "page.html")


def test_slices_have_a_section_with_intervals_and_the_gap(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "tiny.edgx")
    assert "Slices: kinds of image" not in Parsed(report(bundle, tmp_path / "without.html")).text
    records = []
    for record in read_measured(open_bundle(bundle)):
        images = tuple(
            dataclasses.replace(image, slices={"light": HOSTILE if place % 3 else "night"})
            for place, image in enumerate(record.evaluation.images * 2)
        )
        evaluation = dataclasses.replace(record.evaluation, images=images)
        records.append(dataclasses.replace(record, evaluation=evaluation))
    write_measured(bundle, records)
    rewrite(bundle, "bundle")
    page = Parsed(report(bundle, tmp_path / "page.html"))
    assert "Slices: kinds of image" in page.text
    assert re.search(r"night 20 \(too small to tell\) 90\.0 % 69\.9 to 97\.2 % ", page.text)
    assert f"{HOSTILE} 40 90.0 %" in page.text
    assert "Worst gap: cannot be told" in page.text
