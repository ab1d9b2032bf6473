"""The figures: what is drawn is what was measured, it takes its colours from the page, and says the same in words."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from edgexfer.core.control import parse_control
from edgexfer.core.errors import ArtifactError
from edgexfer.gate import accuracy
from edgexfer.gate.report.classes import MOST_CELLS, OTHERS, class_rows, heat_map, overview, worst_pairs
from edgexfer.gate.report.control import control_card
from edgexfer.gate.report.curves import curves, read_history
from edgexfer.gate.report.drawing import COLOURS, Drawing, draw
from edgexfer.gate.report.latency_curves import latency_drawings, latency_table
from edgexfer.gate.report.layers import layer_drawings, layer_table, read_layers
from edgexfer.gate.report.reliability import reliability
from tests.gate.report.made import HISTORY, controlled, layers, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install 'edgexfer[report]')")


def described(drawing: Drawing) -> str:
    """What a screen reader says of a drawing; checks that it is well-formed and named by its own elements."""
    root = ET.fromstring(drawing.svg)  # noqa: S314 - our own
    named = dict.fromkeys((root.attrib["aria-labelledby"] or "").split())
    texts = {e.attrib["id"]: e.text or "" for e in root if e.tag in ("title", "desc")}
    assert root.attrib["role"] == "img"
    assert list(named) == list(texts)
    return " ".join(texts.values())


def test_a_drawing_has_the_colours_of_the_page_and_ids_of_its_own() -> None:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.bar((1, 2), (3, 4), color=COLOURS["series-1"], hatch="//")
        axes.plot((1, 2), (3, 4), color=COLOURS["bad"], label="costs $5 <or> $6")
        axes.set_title("100 % \x01 $\\frac{1}{2}$")

    one, two = (draw(name, "T & t", "words", paint) for name in ("one", "two"))
    assert described(one) == "T & t words"
    assert set(re.findall(r"(?:fill|stroke)(?:=\"|:)([^;\"]+)", one.svg)) <= {
        "none", "var(--series-1)", "var(--bad)", "var(--ink)", "var(--muted)", "var(--line)", "var(--card)",
        *re.findall(r"url\(#one-[\w-]+\)", one.svg),
    }  # fmt: skip
    assert "$\\frac{1}{2}$" in one.svg
    assert "\ufffd" in one.svg
    identities = [set(re.findall(r" id=\"([^\"]+)\"", drawing.svg)) for drawing in (one, two)]
    assert identities[0]
    assert identities[0].isdisjoint(identities[1])
    assert not re.search(r"<style|<metadata|font-family|#[0-9a-f]{6}\b|\d\.\d{3}", one.svg)
    assert draw("one", "T & t", "words", paint) == one


def test_a_name_in_another_script_needs_no_font_of_matplotlib() -> None:
    drawing = draw("one", "T", "words", lambda figure: figure.add_subplot().set_xlabel("\u8349\u866b"))
    assert "\u8349\u866b" in drawing.svg


def test_each_stage_has_its_own_losses_and_gaps_stay_gaps() -> None:
    history = read_history(HISTORY.encode())
    assert history is not None
    assert history.starts() == {0: "finetune", 3: "qat"}
    assert "note" not in history.columns
    drawings = curves(history)
    assert [drawing.title for drawing in drawings] == [
        "Loss of fine-tuning", "Loss of quantization-aware training", "Accuracy on held-out images", "Learning rate",
    ]  # fmt: skip
    assert "train loss goes from 0.9 to 0.5; val loss goes from 1.1 to 0.6" in described(drawings[0])
    table = drawings[0].table
    assert table is not None
    assert table.head == ("epoch", "stage", "train_loss", "val_loss")
    assert table.rows == (
        ("0", "finetune", "–", "1.1"), ("1", "finetune", "0.9", "–"), ("2", "finetune", "0.5", "0.6"),
    )  # fmt: skip


def test_stages_without_quantization_share_one_drawing_of_losses() -> None:
    history = read_history(b"epoch,stage,loss\n0,head,2\n1,full,1\n2,full,inf\n")
    assert history is not None
    assert [drawing.title for drawing in curves(history)] == ["Loss"]


def test_reliability_has_the_bins_of_the_calibration_error() -> None:
    record = measured("int8", 3)
    drawing = reliability(record)
    assert drawing is not None
    assert drawing.table is not None
    rows = [[float(re.sub(r"[^\d.]", "", cell)) for cell in row[1:]] for row in drawing.table.rows]
    assert sum(row[0] for row in rows) == 30
    gap = sum(images * abs(score - right) / 100 for images, score, right in rows) / 30
    assert gap == pytest.approx(record.evaluation.ece, abs=1e-3)
    assert f"{100 * record.evaluation.ece:.1f} %" in described(drawing)
    empty = dataclasses.replace(record, evaluation=dataclasses.replace(record.evaluation, images=()))
    assert reliability(empty) is None


def test_calibration_bins_hold_their_upper_edge() -> None:
    counts, hits, promised = accuracy.calibration_bins(
        np.array([0.0, 0.5, 0.5001, 1.0]), np.array([True, False, True, True]), bins=2
    )
    assert counts.tolist() == [2, 2]
    assert hits.tolist() == [1, 2]
    assert promised == pytest.approx([0.5, 1.5001])


def test_latency_is_drawn_for_each_step_with_its_percentiles() -> None:
    fast, slow = measured("int8", 0).latency, measured("float32", 0, milliseconds=5.0).latency
    assert fast is not None
    assert slow is not None
    drawings = latency_drawings([("float32", slow), ("int8", fast)])
    assert [drawing.name for drawing in drawings] == [
        "latency-parts", "latency-total", "latency-inference", "latency-decode", "latency-resize",
    ]  # fmt: skip
    assert "float32: decode 1.00 ms, resize 0.50 ms, inference 5.95 ms" in described(drawings[0])
    assert "int8 p50 2.95 ms, p95 3.81 ms, p99 3.88 ms" in described(drawings[2])
    assert ("inference", "int8", "20", "2.95", "3.81", "3.88") in latency_table([("int8", fast)]).rows
    assert latency_drawings([]) == []
    inference_alone = dataclasses.replace(fast, samples_ns={"inference": fast.samples_ns["inference"]})
    assert [d.name for d in latency_drawings([("int8", inference_alone)])] == ["latency-inference"]


def test_the_layer_to_blame_comes_first() -> None:
    errors = read_layers(layers().encode(), Path("layers.json"))
    assert errors is not None
    assert [layer.name[:7] for layer in errors.worst()] == ["block.1", "block.0", "block.2"]
    worst, along = layer_drawings(errors)
    assert "block.1" in described(worst)
    assert "12.5 dB" in described(along)
    assert layer_table(errors).rows[2][1:] == ("Conv", "3", "exact", "38.0 dB", "2.00 %", "2,000")
    assert math.isinf(errors.layers[2].blame_db)


def test_the_layers_say_what_they_do_to_the_answers_where_that_was_measured() -> None:
    errors = read_layers(layers().encode(), Path("layers.json"))
    assert errors is not None
    table = layer_table(errors, {"block.2": 1, errors.layers[1].name: 0.0125})
    assert (len(table.head), table.head[-1]) == (8, "what it does to the answers, in nats")
    assert [row[-1] for row in table.rows[:2]] == ["–", "0.013"]
    assert len(layer_table(errors).head) == 7


def test_what_accuracy_control_tried_is_told_in_its_order() -> None:
    found = parse_control(controlled().to_json().encode(), Path("control.json"))
    assert found == controlled()
    card = control_card(found)
    assert card.sentence == (
        "INT8 lost 6.00 points of top-1 on 100 validation images, the limit is 1.00: "
        "with ranges by quantile and 2 layers in float it loses nothing."
    )
    assert [row[1:] for row in card.table.rows] == [
        ("0", "90.00 %", "-6.00", "6", "1", "8", "3.40 MB", "misses"),
        ("0", "94.00 %", "-2.00", "2", "0", "5", "3.40 MB", "misses"),
        ("2", "96.00 %", "+0.00", "0", "0", "2", "3.60 MB", "kept"),
    ]
    assert card.table.rows[0][0] == "as trained, ranges by mean_min_max"
    assert card.table.rows[2][0].startswith("in float: block.1")
    assert card.table.rows[2][0].endswith(" and 1 more")
    nothing = dataclasses.replace(controlled(), chosen=None)
    assert control_card(nothing).float_layers == ()
    assert "none of 3 attempts held it" in control_card(nothing).sentence


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "format_version None, this edgexfer reads 1"),
        ('{"format_version": 2}', "format_version 2, this edgexfer reads 1"),
        ('{"format_version": 1, "attempts": []}', "does not fit"),
        (controlled().to_json().replace('"chosen": 2', '"chosen": 3'), "does not fit"),
        (controlled().to_json().replace('"lost": 6', '"lost": "six"'), "does not fit"),
    ],
)
def test_a_control_that_is_none_is_refused(content: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        parse_control(content.encode(), Path("control.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ('{"format_version": 2}', "format_version 2, this edgexfer reads 1"),
        ('{"format_version": 1, "images": 3}', "does not fit"),
        ('{"format_version": 1, "images": 3, "layers": [3]}', "does not fit"),
        ('{"format_version": 1, "images": 3, "layers": [{"name": "a", "sqnr_db": "loud"}]}', "does not fit"),
        ('{"format_version": 1, "images": 3, "layers": [{"name": "a", "sqnr_db": NaN}]}', "does not fit"),
        ('{"format_version": 1, "images": 3, "layers": [{"name": "a", "sqnr_db": 1e308}]}', "does not fit"),
    ],
)
def test_layers_that_are_none_are_refused(content: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_layers(content.encode(), Path("layers.json"))


def test_layers_of_an_older_form_are_judged_by_their_output() -> None:
    assert read_layers(None, Path("layers.json")) is None
    content = '{"format_version": 1, "images": 3, "layers": [{"name": "a", "sqnr_db": 9}, {"name": "b", "sqnr_db": 4}]}'
    errors = read_layers(content.encode(), Path("layers.json"))
    assert errors is not None
    assert [layer.name for layer in errors.worst()] == ["b", "a"]
    assert layer_table(errors).rows[0] == ("a", "", "2", "–", "9.0 dB", "–", "0")


def test_classes_are_sorted_by_recall_and_those_without_images_come_last() -> None:
    rows = class_rows(("a", "b", "c"), np.array([[4, 0, 0], [0, 0, 0], [1, 0, 1]]))
    assert [(row.label, row.images) for row in rows] == [("c", 2), ("a", 4), ("b", 0)]
    assert rows[0].recall == 0.5
    assert rows[1].precision == 0.8
    assert rows[1].f1 == pytest.approx(8 / 9)


def test_of_many_classes_the_confused_ones_are_shown_and_rows_stay_whole() -> None:
    count = MOST_CELLS + 10
    matrix = 6 * np.eye(count, dtype=np.int64)
    matrix[20, 3], matrix[20, 20] = 5, 1
    matrix[5, 11] = 2
    labels = [f"class {i}" for i in range(count)]
    shown = heat_map(labels, matrix)
    assert not shown.whole
    assert shown.heads[-1] == OTHERS
    row = next(cells for label, cells in shown.rows if label == "class 20")
    assert sum(cell[0] for cell in row) == matrix[20].sum()
    assert sum(cell[1] for cell in row) == pytest.approx(1)
    assert [cell[0] for cell in row if cell[2]] == [1]
    assert worst_pairs(labels, matrix) == [("class 20", "class 3", 5, 5 / 6), ("class 5", "class 11", 2, 0.25)]
    assert f"{matrix.trace()} right answers on the diagonal, 7 mistakes in 2 places" in described(overview(matrix))
    assert heat_map(labels[:3], matrix[:3, :3]).whole


def test_names_wider_than_a_drawing_leave_it_its_room() -> None:
    wide = "x" * 80
    history = read_history(f"epoch,stage,loss,{wide}\n{'9' * 60},a,2,1\n1,{wide},1,2\n".encode())
    assert history is not None
    for drawing in curves(history):
        assert wide not in drawing.svg.partition("</desc>")[2]
