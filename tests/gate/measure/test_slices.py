"""Slices: figures of each kind of image, the gap that chance does not explain, and what is too small to tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgexfer.gate import accuracy
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.evaluation import ImageResult
from edgexfer.gate.measure.measurement import measurement_from_json
from edgexfer.gate.measure.slices import gap_in_words, slice_reports, worst_gap
from tests.gate.images import COLOURS, write_image


def answered(value: str | None, images: int, right: int, name: str = "light") -> list[ImageResult]:
    """So many images of one kind, in turn of class a and b, the first `right` of them recognised."""
    made = []
    for number in range(images):
        label, other = ("a", "b") if number % 2 else ("b", "a")
        said = label if number < right else other
        slices = {} if value is None else {name: value}
        made.append(ImageResult(f"{value}{number}", "0" * 64, "new", label, said, 0.9, 0.9, slices))
    return made


def test_each_kind_has_its_figures_the_worst_first() -> None:
    (report,) = slice_reports(
        [*answered("day", 100, 98), *answered("night", 50, 35), *answered(None, 7, 0)], ("a", "b")
    )
    assert (report.name, report.without) == ("light", 7)
    assert [(item.value, item.images, item.top1) for item in report.figures] == [("night", 50, 0.7), ("day", 100, 0.98)]
    night = report.figures[0]
    assert night.top1_interval == accuracy.wilson_interval(35, 50)
    assert night.macro_f1_interval[0] < night.macro_f1 < night.macro_f1_interval[1]
    assert report.gap is not None
    assert (report.gap.best, report.gap.worst, report.gap.points) == ("day", "night", pytest.approx(0.28))
    assert report.gap.significant
    assert "28.0 points of top-1 between day and night; chance makes one as large in 0.1 %" in gap_in_words(report)


def test_a_gap_that_chance_makes_is_no_finding_however_many_kinds_there_are() -> None:
    rng = np.random.default_rng(5)
    images = [item for kind in range(20) for item in answered(f"k{kind}", 40, int(rng.binomial(40, 0.9)))]
    (report,) = slice_reports(images, ("a", "b"))
    assert report.gap is not None
    assert report.gap.points > 0.1
    assert not report.gap.significant
    assert "no finding: chance alone" in gap_in_words(report)


def test_small_kinds_say_so_and_make_no_gap() -> None:
    (report,) = slice_reports([*answered("day", 100, 98), *answered("night", 29, 0)], ("a", "b"))
    assert [(item.value, item.too_small) for item in report.figures] == [("night", True), ("day", False)]
    assert (report.gap, gap_in_words(report), worst_gap([report])) == (None, "", None)


def test_the_worst_gap_is_a_significant_one_before_a_large_one() -> None:
    mixed = []
    for place, item in enumerate(answered("x", 400, 360)):
        kinds = {"light": "day" if place % 2 else "night", "camera": "old" if place >= 320 else "new"}
        mixed.append(replace(item, slices=kinds))
    reports = slice_reports(mixed, ("a", "b"))
    found = worst_gap(reports)
    assert found is not None
    assert found[0].name == "camera"


def test_the_interval_of_f1_is_like_that_of_top1_where_classes_are_alike() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400)
    predicted = np.where(rng.random(400) < 0.9, truth, 1 - truth)
    low, high = accuracy.macro_f1_interval(truth, predicted, 2)
    wilson = accuracy.wilson_interval(int((truth == predicted).sum()), 400)
    assert (low, high) == pytest.approx(wilson, abs=0.01)
    assert np.isnan(accuracy.macro_f1_interval(truth, truth, 2)).all()


def test_evaluate_reads_slices_from_the_csv_and_keeps_them(bundle_folder: Path, tmp_path: Path) -> None:
    lines = ["path,label,slice_light,patient"]
    for index, (label, colour) in enumerate(COLOURS.items()):
        for number in range(4):
            write_image(tmp_path / f"{label}{number}.png", colour, seed=100 * index + number)
            lines.append(f"{label}{number}.png,{label},{('day', 'night', '')[number % 3]},p{number}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    result = evaluate(bundle_folder, tmp_path / "list.csv")
    assert [image.slices for image in result.images[:3]] == [{"light": "day"}, {"light": "night"}, {}]
    record = json.loads(json.dumps(result.to_json(), allow_nan=False))
    (saved,) = record["summary"]["slices"]
    assert [(item["value"], item["images"]) for item in saved["figures"]] == [("day", 6), ("night", 3)]
    assert (saved["gap"], saved["without"]) == (None, 3)
    assert "slices" not in record["images"][2]
    again = measurement_from_json(record, "record")
    assert again.images == result.images
    old = {
        **record,
        "format_version": 1,
        "images": [{k: v for k, v in i.items() if k != "slices"} for i in record["images"]],
    }
    assert measurement_from_json(old, "old").slice_reports() == ()
