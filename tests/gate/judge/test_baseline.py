"""Baseline files: read back exactly, refused with one clear line, found by bundle, target and machine class."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgexfer.core.errors import ArtifactError
from edgexfer.gate.judge.baseline import (
    baseline_from_json,
    baseline_place,
    find_baseline,
    read_baseline,
    what_is_there,
    write_baseline,
)
from edgexfer.gate.judge.figures import figures_of
from tests.gate.baselines import LABELS, MACHINE, SUBJECT, answers, make_baseline, ticks, times

GOLDEN = Path(__file__).parents[2] / "golden" / "baseline"


def test_a_baseline_comes_back_as_it_was(tmp_path: Path) -> None:
    calls, workload, evaluation = times(5.0), ticks(), answers()
    made = make_baseline(calls, workload, evaluation)
    write_baseline(made, tmp_path / "x" / "b.json")
    again = read_baseline(tmp_path / "x" / "b.json")
    assert again == made
    for step, values in again.calls().items():
        np.testing.assert_array_equal(values, calls[step])
    np.testing.assert_array_equal(again.workload()["total"], workload["total"])
    assert [(one.load_ms, one.peak_memory_mib) for one in again.started()][:1] == [(210.5, 71.5)]


def test_answers_keep_what_pairing_needs(tmp_path: Path) -> None:
    evaluation = answers(images=40, wrong=5)
    write_baseline(make_baseline(evaluation=evaluation), tmp_path / "b.json")
    again = read_baseline(tmp_path / "b.json").evaluation()
    assert again is not None
    assert (again.top1, again.macro_f1) == (evaluation.top1, evaluation.macro_f1)
    assert (again.labels, again.data, again.subject) == (LABELS, "data/signs", SUBJECT)
    before = {image.sha256[:16]: image for image in evaluation.images}
    for image in again.images:
        was = before.pop(image.sha256)
        assert (image.label, image.predicted, image.role) == (was.label, was.predicted, was.role)
        assert image.score == pytest.approx(was.score, abs=5e-5)
        assert image.score_label == image.score if image.label == image.predicted else math.isnan(image.score_label)
    assert not before


def test_without_images_of_known_class_there_are_no_answers(tmp_path: Path) -> None:
    write_baseline(make_baseline(), tmp_path / "b.json")
    assert read_baseline(tmp_path / "b.json").evaluation() is None


def test_the_file_is_deterministic_small_and_made_for_a_diff(tmp_path: Path) -> None:
    made = make_baseline(evaluation=answers(images=300))
    for name in ("a", "b"):
        write_baseline(made, tmp_path / name)
    text = (tmp_path / "a").read_text(encoding="utf-8")
    assert text == (tmp_path / "b").read_text(encoding="utf-8")
    assert len(text) < 20_000
    assert max(map(len, text.splitlines())) < 120
    p50 = made.figures["latency_p50_ms"]
    assert f'  "latency_p50_ms": {p50},\n' in text
    assert ' "load_ms": [210.5, 214.25, 208.0],\n' in text
    assert "wäit" in text


def test_a_file_of_format_1_stays_readable() -> None:
    found = read_baseline(GOLDEN / "format_1.json")
    assert found.format_version == 1
    assert (found.subject, found.machine_class, found.labels) == (SUBJECT, MACHINE, LABELS)
    assert (found.accepted.by, found.accepted.why) == ("Ada Lovelace", "a smaller head")
    assert found.accepted.despite == ("the machine was busy before (load average 3 on 4 CPUs)",)
    calls = found.calls()
    assert set(calls) == {"decode", "resize", "inference", "total"}
    np.testing.assert_array_equal(calls["decode"] + calls["resize"] + calls["inference"], calls["total"])
    assert (calls["total"].shape, int(calls["total"].sum())) == ((12, 10), 599681221)
    assert int(found.workload()["total"].sum()) == 119655184
    evaluation = found.evaluation()
    assert evaluation is not None
    assert (len(evaluation.images), evaluation.top1) == (30, 0.9)
    assert [one.load_ms for one in found.started()] == [210.5, 214.25, 208.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not valid JSON"),
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"kind": "baseline", "format_version": NaN}', "NaN is no number"),
        ("[]", "is not a baseline of edgexfer"),
        ('{"kind": "evaluation", "format_version": 1}', "is not a baseline of edgexfer"),
        ('{"kind": "baseline", "format_version": 2}', "has format_version 2, this edgexfer reads 1 to 1"),
        ('{"kind": "baseline", "format_version": true}', "has format_version True"),
        ('{"kind": "baseline"}', "has format_version None"),
        ('{"kind": "baseline", "format_version": 1}', "key 'subject' is missing"),
    ],
)
def test_what_is_no_baseline_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=said) as raised:
        read_baseline(path)
    assert raised.value.message.count("\n") == 0
    assert str(path) in raised.value.message
    assert raised.value.hint


def test_a_place_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot read .*No such file"):
        read_baseline(tmp_path / "b.json")
    with pytest.raises(ArtifactError, match=r"cannot read .*directory"):
        read_baseline(tmp_path)


def record() -> dict[str, Any]:
    return json.loads((GOLDEN / "format_1.json").read_bytes())


def changed(*keys: str, value: Any) -> dict[str, Any]:
    made = record()
    inner = made
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return made


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed("figures", "latency_p50_ms", value=4.2), "latency_p50_ms is 4.2, its raw values give"),
        (changed("figures", "top1", value=0.99), "top1 is 0.99, its raw values give 0.9"),
        (changed("figures", "top1", value=None), "top1 is None"),
        (changed("figures", "size_bytes", value=float("inf")), "a figure that is none"),
        (changed("figures", "size_bytes", value=10**400), r"figures.size_bytes is 1000+\.\.\., expected float"),
        (changed("labels", value=["go"]), "whose class, score or role is none"),
        (changed("packed_calls", value={}), "do not belong together"),
        (changed("packed_workload", value=record()["packed_answers"]), "the times of workload are none"),
        (changed("packed_answers", value=record()["packed_workload"]), "another form"),
        (changed("packed_workload", "shape", value=[10, 12]), "not measured in turns"),
        (changed("packed_workload", "lines", value=[]), "packed_workload is damaged"),
        (changed("load_ms", value=[1.0]), "not of the same processes"),
        (changed("load_ms", value=[-1.0, 1.0, 1.0]), "a figure that is none"),
        (changed("subject", "digest", value=7), "digest is 7, expected str"),
        (changed("surprise", value=1), "unknown key 'surprise'"),
    ],
)
def test_what_does_not_fit_together_is_refused(content: Any, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        baseline_from_json(content, "b.json")


@pytest.mark.parametrize(
    "name",
    [
        "latency_p50_ms", "inference_p50_ms", "inference_p95_ms", "throughput_images_per_s", "top1", "macro_f1",
        "calibration_error", "load_ms", "peak_memory_mib", "power_w", "images", "calls", "workload_p50_ms",
    ],
)  # fmt: skip
def test_every_figure_that_raw_values_give_is_held_to_them(name: str) -> None:
    made = make_baseline(evaluation=answers(), power_w=(5.0, 5.5, 5.25))
    figures = figures_of(made.calls(), made.workload(), made.evaluation(), made.started(), made.power_w)
    content = json.loads(json.dumps(asdict(replace(made, figures={**figures, "size_bytes": 7.0, "theirs": 1.0}))))
    content["kind"] = "baseline"
    assert baseline_from_json(content, "b.json").figures[name] == pytest.approx(figures[name])
    content["figures"][name] *= 1.01
    with pytest.raises(ArtifactError, match=rf"{name} is .*, its raw values give .*: edited by hand\?"):
        baseline_from_json(content, "b.json")


def test_a_figure_without_raw_values_is_refused() -> None:
    content = changed("figures", "power_w", value=5.0)
    with pytest.raises(ArtifactError, match=r"power_w is 5\.0, its raw values give none"):
        baseline_from_json(content, "b.json")


def refusal(work: Callable[[], Any]) -> str:
    """Calls `work`; the message where it refuses, else nothing. Any other exception is a bug."""
    try:
        work()
    except ArtifactError as error:
        return error.message
    return ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example({"accepted": {"\n": None}})
@given(st.dictionaries(st.sampled_from(sorted(record())), JSON, max_size=3))
def test_any_value_under_any_key_is_read_or_refused(values: dict[str, Any]) -> None:
    assert "\n" not in refusal(lambda: baseline_from_json({**record(), **values}, "b.json"))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_to_the_bytes_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray((GOLDEN / "format_1.json").read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    (tmp_path / "b.json").write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    assert "\n" not in refusal(lambda: read_baseline(tmp_path / "b.json"))


def test_a_file_for_each_bundle_target_and_machine_class(tmp_path: Path) -> None:
    place = baseline_place(tmp_path, "signs", "raspberry-pi-5", MACHINE)
    assert place.relative_to(tmp_path).as_posix() == ("signs/raspberry-pi-5--board-x-rev-2-4-cores-aarch64-613d66.json")
    assert find_baseline(tmp_path, "signs", "raspberry-pi-5", MACHINE) is None
    write_baseline(make_baseline(), place)
    assert find_baseline(tmp_path, "signs", "raspberry-pi-5", MACHINE) == place
    assert find_baseline(tmp_path, "signs", "raspberry-pi-5", MACHINE + "!") is None


@given(st.lists(st.tuples(st.text(max_size=90), st.text(max_size=90), st.text(max_size=200)), unique=True))
def test_no_two_share_a_file_and_none_leaves_the_folder(keys: list[tuple[str, str, str]]) -> None:
    folder = Path("/somewhere/baselines")
    places = [baseline_place(folder, *key) for key in keys]
    assert len(set(places)) == len(keys)
    for place in places:
        assert place.parent.parent == folder
        assert len(place.name.encode()) < 255
        assert "." not in (place.parent.name[0], place.name[0])


def test_what_is_there_instead_is_named(tmp_path: Path) -> None:
    def said(folder: Path = tmp_path) -> str:
        return what_is_there(folder, "signs", "raspberry-pi-5", MACHINE)

    assert "is not there" in said(tmp_path / "none")
    assert said().endswith("nor any other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.json").write_text("{")
    assert said().endswith("nor any other; 1 of its files cannot be read as baselines")

    def put(name: str, target: str, machine: str) -> None:
        subject = replace(SUBJECT, bundle=name, target=target)
        write_baseline(
            make_baseline(subject=subject, machine_class=machine), baseline_place(tmp_path, name, target, machine)
        )

    put("cats", "x86-cpu", "PC")
    assert said().endswith("it has other bundles: 'cats'")
    put("signs", "x86-cpu", MACHINE)
    assert said().endswith("it has signs for other targets: 'x86-cpu'")
    put("signs", "raspberry-pi-5", "PC")
    assert said().endswith("it has them for other machines: 'PC'")
