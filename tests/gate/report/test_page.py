"""The report: what a person sees of a checkpoint and of a bundle, from artifacts made here."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.core.errors import ArtifactError, EdgexferError, MissingPartError
from edgexfer.core.manifest import MANIFEST, write_manifest
from edgexfer.gate.measure.evaluation import Evaluation, ImageResult
from edgexfer.gate.measure.latency import Latency
from edgexfer.gate.measure.measured import Measured, read_measured, write_measured
from edgexfer.gate.measure.record import Subject
from edgexfer.gate.report.page import report
from tests.bundles import make_bundle

pytest.importorskip("jinja2", reason="Jinja2 is not installed (pip install 'edgexfer[train]')")

HOSTILE = "<script>alert('x')</script>"
VOID = {"meta", "line", "path", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Checks that tags nest, and gathers text, tags and addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - inherited
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += f" {data}"


def subject(precision: str) -> Subject:
    return Subject("tiny", "0" * 64, precision, "test", "ort", "onnxruntime 1", simulated=False)


def measured(precision: str, wrong: int, *, labels: tuple[str, ...], milliseconds: float | None) -> Measured:
    """30 images in turn over the classes, the first `wrong` of them taken for the next class."""
    images = []
    for i in range(30):
        label = labels[i % len(labels)]
        said = labels[(i + 1) % len(labels)] if i < wrong else label
        score = 0.9 - i / 1000
        images.append(
            ImageResult(
                f"{label}/{i:02}.jpg", f"{i:064x}", "test", label, said, score, 1 - score if i < wrong else score
            )
        )
    latency = None
    if milliseconds is not None:
        samples = tuple(int(milliseconds * 1e6) for _ in range(20))
        latency = Latency(
            subject(precision), "generated", {"inference": samples, "total": samples}, 3, host={"cpu": "CPU X"}
        )
    evaluation = Evaluation(subject(precision), "data", labels, tuple(images), warnings=("The set is small.",))
    return Measured(
        precision, evaluation, latency, 4_000_000 if precision == "int8" else 16_000_000, precision == "int8"
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    labels = ("ants", "bees", HOSTILE)
    folder = make_bundle(tmp_path / "tiny.edgx", labels=labels, precision="int8")
    records = [
        measured("int8", 3, labels=labels, milliseconds=2.0), measured("float32", 2, labels=labels, milliseconds=5.0)
    ]  # fmt: skip
    write_measured(folder, records)
    return rewrite(folder, "bundle")


def rewrite(folder: Path, kind: Any, **more: Any) -> Path:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) if (folder / MANIFEST).exists() else {}
    content = {k: v for k, v in manifest.items() if k not in ("kind", "format_version", "files", "digest")}
    write_manifest(folder, kind, {**content, **more})
    return folder


def checkpoint(folder: Path, history: str, **more: Any) -> Path:
    folder.mkdir()
    (folder / "history.csv").write_text(history, encoding="utf-8")
    return rewrite(folder, "checkpoint", name=folder.name, labels=["ants", "bees"], **more)


HISTORY = """epoch,stage,train_loss,val_loss,val_top1,lr,note
1,head,1.2,1.1,0.6,0.01,a
2,head,0.9,,0.7,0.005,b
3,full,0.5,0.6,0.9,0.001,c
"""


def test_a_bundle_shows_its_precisions_classes_and_mistakes(bundle: Path, tmp_path: Path) -> None:
    page = Page(report(bundle, tmp_path / "out" / "page.html").read_text(encoding="utf-8"))
    text = re.sub(r"\s+", " ", page.text)
    assert "float32 int8 shipped change" in text
    assert "Top-1 93.33 % 90.00 % -3.33 points" in text
    assert "ONNX file 16.00 MB 4.00 MB 0.25 ×" in text
    assert "Inference p50 5.00 ms 2.00 ms 0.40 ×" in text
    assert "over 30 images: 27 right in both, 1 in float32 alone, 0 in int8 alone, 2 in neither." in text
    assert "Latency of single images on CPU X." in text
    assert "The set is small." in text
    assert text.count("The set is small.") == 1
    assert "ants/00.jpg ants bees 90.0 %" in text
    assert "target.backend ort" in text
    digest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))["digest"]
    assert digest in text


def test_the_page_stands_alone_and_runs_nothing(bundle: Path, tmp_path: Path) -> None:
    html = report(bundle, tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(html)
    assert HOSTILE not in html
    assert HOSTILE in page.text
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert page.addresses == []
    assert "url(" not in html
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_a_bundle_that_was_measured_by_nothing_still_has_a_page(bundle_folder: Path, tmp_path: Path) -> None:
    page = Page(report(bundle_folder, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Where it comes from" in page.text
    assert "Precisions side by side" not in page.text


def test_what_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    labels = ("ants", "bees")
    folder = make_bundle(tmp_path / "b.edgx", labels=labels, precision="int8")
    records = [
        measured("float32", 0, labels=labels, milliseconds=None), measured("int8", 0, labels=labels, milliseconds=1.0)
    ]  # fmt: skip
    write_measured(folder, records)
    page = Page(report(rewrite(folder, "bundle"), tmp_path / "page.html").read_text(encoding="utf-8"))
    assert re.search(r"Inference p50\s+–\s*1.00 ms", page.text)


def test_simulated_accuracy_is_said(bundle: Path, tmp_path: Path) -> None:
    rewrite(bundle, "bundle", simulated=True)
    text = Page(report(bundle, tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "Accuracy was simulated with another engine than 'ort'." in text


def test_a_checkpoint_shows_curves_figures_and_confusion(tmp_path: Path) -> None:
    metrics = {
        "val": {"top1": 0.5, "confusion": [[1, 1], [1, 1]]},
        "test": {"top1": 0.95, "confusion": [[9, 1], [0, 10]], "recall": {"ants": 0.9, "bees": 1.0}},
        "best_epoch": 3,
    }
    calibration = {"nncf": {"key": "secret"}, "images": [f"{i:064x}" for i in range(256)]}
    run = checkpoint(tmp_path / "run", HISTORY, metrics=metrics, seed=7, quantization=calibration)
    html = report(run, tmp_path / "page.html").read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", Page(html).text)
    assert "best_epoch 3" in text
    assert "val top1 0.5" in text
    assert "test top1 0.95" in text
    assert "Images of the split test" in text
    assert "248 more" in text
    assert "secret" not in text
    for name in ("train_loss", "val_loss", "val_top1", "lr"):
        assert name in text
    assert "note" not in text
    assert re.search(r"ants 10 90.0 % 100.0 %", text)
    assert "val_loss, 3: 0.6" in text
    assert "seed 7" in text
    # Two stages in each of three charts: losses, accuracy, rate.
    assert html.count('class="mark"') == 6


@pytest.mark.parametrize("history", ["", "epoch,stage,train_loss\n", "epoch,stage,train_loss\n1,head,nan\n"])
def test_a_checkpoint_without_epochs_has_no_curves(tmp_path: Path, history: str) -> None:
    page = Page(report(checkpoint(tmp_path / "run", history), tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "svg" not in page.tags
    assert "Where it comes from" in page.text


def test_a_matrix_too_large_to_read_is_left_out(tmp_path: Path) -> None:
    labels = [f"class {i}" for i in range(61)]
    run = checkpoint(tmp_path / "run", HISTORY)
    rewrite(run, "checkpoint", labels=labels, metrics={"confusion": np.eye(61, dtype=int).tolist()})
    page = Page(report(run, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Confusion matrix" not in page.text
    assert "class 60" in page.text


def test_a_matrix_of_another_size_is_refused(tmp_path: Path) -> None:
    run = checkpoint(tmp_path / "run", HISTORY, metrics={"confusion": [[1]]})
    with pytest.raises(ArtifactError, match=r"\(1, 1\), expected \(2, 2\)"):
        report(run, tmp_path / "page.html")


def test_measurements_come_back_as_they_were(bundle: Path) -> None:
    records = read_measured(bundle)
    assert [record.precision for record in records] == ["int8", "float32"]
    assert records[0].shipped
    assert not records[1].shipped
    assert records[0].evaluation.top1 == pytest.approx(0.9)
    again = [dataclasses.replace(record) for record in records]
    write_measured(bundle, again)
    assert read_measured(bundle) == records


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "format_version"),
        ('{"format_version": 9, "records": []}', "format_version 9, this edgexfer reads 1"),
        ('{"format_version": 1, "records": [{"precision": "int8"}]}', "does not fit"),
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


def test_without_jinja2_the_error_says_what_to_install(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingPartError, match="pip install jinja2"):
        report(bundle, tmp_path / "page.html")
