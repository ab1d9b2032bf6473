from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import edgexfer as package
from edgexfer.cli.main import app
from edgexfer.core.target import target_names
from edgexfer.gate.measure.measurement import measurement_from_json, read_measurement
from edgexfer.train.backbones import BACKBONES
from tests.bundles import make_bundle
from tests.cli.terminal import Terminal
from tests.gate.images import COLOURS, write_image


def verbs() -> list[str]:
    return [str(command.name) for command in app.registered_commands]


def test_predict_says_class_and_score(edgexfer: Terminal, bundle_folder: Path, data: Path) -> None:
    said = edgexfer("predict", bundle_folder, data / "a" / "0.png", data / "b" / "0.png")
    assert (said.code, said.err) == (0, "")
    rows = [line.split() for line in said.out.splitlines()]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        (str(data / "a" / "0.png"), "a", "%"),
        (str(data / "b" / "0.png"), "b", "%"),
    ]


def test_predict_top_and_json(edgexfer: Terminal, bundle_folder: Path, data: Path) -> None:
    image = data / "c" / "0.png"
    lines = edgexfer("predict", bundle_folder, image, "--top", 2).out.splitlines()
    assert len(lines) == 2
    record = json.loads(edgexfer("predict", bundle_folder, image, "--top", 9, "--json").out)
    assert (record["kind"], record["format_version"]) == ("predictions", 1)
    answer = record["predictions"][0]
    assert (answer["path"], answer["label"]) == (str(image), "c")
    assert answer["top"][0]["label"] == "c"
    assert sum(entry["score"] for entry in answer["top"]) == pytest.approx(1, abs=1e-5)


def test_predict_marks_what_is_unknown(edgexfer: Terminal, tmp_path: Path, data: Path) -> None:
    bundle = make_bundle(tmp_path / "b.edgx", known_from=0.8)
    grey, red = write_image(tmp_path / "grey.png", (128, 128, 128)), data / "a" / "0.png"
    said = edgexfer("predict", bundle, grey, red, "--top", 2)
    marked = [line.endswith("%  unknown") for line in said.out.splitlines()]
    assert (said.code, marked) == (0, [True, False, False, False])
    record = json.loads(edgexfer("predict", bundle, grey, red, "--json").out)
    assert record["known_from"] == 0.8
    assert [answer["unknown"] for answer in record["predictions"]] == [True, False]
    old = json.loads(edgexfer("predict", make_bundle(tmp_path / "old.edgx"), grey, "--json").out)
    assert (old["known_from"], old["predictions"][0]["unknown"]) == (None, False)


def test_evaluate_says_how_many_are_unknown(edgexfer: Terminal, tmp_path: Path, data: Path) -> None:
    write_image(data / "a" / "grey.png", (130, 128, 128))
    bundle, old = make_bundle(tmp_path / "b.edgx", known_from=0.8), make_bundle(tmp_path / "old.edgx")
    said = edgexfer("evaluate", bundle, data, "--json", tmp_path / "out.json")
    assert "called unknown        7.7 %   score below 80.0 %" in said.out
    found = read_measurement(tmp_path / "out.json")
    assert found.to_json()["known_from"] == 0.8
    assert found.to_json()["summary"]["unknown_share"] == pytest.approx(1 / 13)
    assert "unknown" not in edgexfer("evaluate", old, data).out
    record = json.loads(edgexfer("evaluate", old, data, "--json", "-").out)
    assert (record["known_from"], record["summary"]["unknown_share"]) == (None, None)
    del record["known_from"]  # as it was written before there was such a threshold
    assert measurement_from_json(record).to_json()["summary"]["top1"] == record["summary"]["top1"]


def test_predict_json_keeps_what_failed(edgexfer: Terminal, bundle_folder: Path, data: Path) -> None:
    said = edgexfer("predict", bundle_folder, data / "none.jpg", data / "a" / "0.png", "--json")
    assert said.code == 2
    answers = json.loads(said.out)["predictions"]
    assert "does not exist" in answers[0]["error"]
    assert answers[1]["label"] == "a"


def test_names_are_printed_as_they_are(edgexfer: Terminal, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.edgx", labels=("[red]a[/red]", "b\nb", "c"))
    image = write_image(tmp_path / "[bold]x.png", COLOURS["a"])
    said = edgexfer("predict", bundle, image, "--top", 3)
    assert "[bold]x.png  [red]a[/red]" in said.out
    assert "b\\nb" in said.out
    assert len(said.out.splitlines()) == 3


def test_evaluate_prints_and_writes_the_same(
    edgexfer: Terminal, bundle_folder: Path, data: Path, tmp_path: Path
) -> None:
    write_image(data / "a" / "green.png", COLOURS["b"], seed=777)
    (data / "b" / "bad.jpg").write_bytes(b"")
    said = edgexfer("evaluate", bundle_folder, data, "--json", tmp_path / "out.json")
    assert (said.code, said.err) == (0, "")
    result = read_measurement(tmp_path / "out.json")
    assert result.to_json()["summary"]["top1"] == pytest.approx(12 / 13)
    for text in ("92.3 %   of 13 images: 13 new", "a taken for b: 1", "b/bad.jpg is empty", "80.0 %"):
        assert text in said.out
    printed = edgexfer("evaluate", bundle_folder, data, "--json", "-")
    assert measurement_from_json(json.loads(printed.out)).to_json()["summary"] == result.to_json()["summary"]
    assert edgexfer("evaluate", bundle_folder, data, "--strict").code == 2


def test_evaluate_shows_the_worst_of_many_classes(edgexfer: Terminal, tmp_path: Path) -> None:
    labels = [f"class{number:02d}" for number in range(30)]
    bundle = make_bundle(tmp_path / "b.edgx", labels=labels)
    for number, label in enumerate(labels):
        write_image(tmp_path / "data" / label / "x.png", (200, 30, 30), seed=number)
    said = edgexfer("evaluate", bundle, tmp_path / "data")
    assert said.code == 0
    assert "and 10 classes at or above that recall" in said.out
    shown = [line.split()[0] for line in said.out.splitlines() if line.strip().startswith("class") and "%" in line]
    assert len(shown) == 20
    assert "class00" not in shown  # the one that is right every time


def test_bench_prints_and_writes(edgexfer: Terminal, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.edgx", backend="fake", options={"latency_ms": 1.0})
    said = edgexfer("bench", bundle, "--seconds", 0.05, "--json", tmp_path / "out.json", "--threads", 1)
    assert said.code == 0
    for text in ("fake 1, 1 thread", "p50 ms", "decode", "resize", "inference", "total", "JPEG of 640 x 480"):
        assert text in said.out
    assert re.search(r"first prediction \d+ ms, peak memory \d+ MiB: medians of 3 fresh processes", said.out)
    written = read_measurement(tmp_path / "out.json").to_json()["summary"]
    assert written["inference"]["p50_ms"] >= 1.0
    assert written["peak_memory_mib"] > 1.0


def test_bench_against_another(edgexfer: Terminal, tmp_path: Path) -> None:
    fast = make_bundle(tmp_path / "fast.edgx", backend="fake", options={"latency_ms": 0.5}, name="fast")
    slow = make_bundle(tmp_path / "slow.edgx", backend="fake", options={"latency_ms": 2.5}, name="slow")
    said = edgexfer("bench", fast, "--against", slow, "--seconds", 0.3)
    assert said.code == 0
    assert "fast against slow: " in said.out
    assert "times faster in inference time" in said.out
    record = json.loads(edgexfer("bench", slow, "--against", fast, "--seconds", 0.05, "--json", "-").out)
    assert record["ratio"] > 1


def test_bench_over_threads_and_batches(edgexfer: Terminal, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.edgx", backend="fake", options={"latency_ms": 1.0})
    said = edgexfer(
        "bench", bundle, "--batch", "1, 4", "--threads", 1, "--seconds", 0.05, "--json", tmp_path / "o.json"
    )
    assert said.code == 0
    for text in ("images/s", "inference, one call", "JPEG to label, one by one", "JPEG to label, streamed"):
        assert text in said.out
    assert json.loads((tmp_path / "o.json").read_text())["kind"] == "surface"
    for flags, error in (
        (("--threads", "1,x"), "--threads is '1,x', expected a number of 1 or more"),
        (("--batch", "0"), "--batch is '0', expected a number of 1 or more"),
        (("--batch", "1,2", "--against", bundle), "--against and a table of threads and batches do not go together"),
    ):
        said = edgexfer("bench", bundle, *flags)
        assert (said.code, error in said.err) == (2, True)


def test_targets(edgexfer: Terminal) -> None:
    said = edgexfer("targets")
    assert said.code == 0
    assert all(name in said.out for name in target_names())
    one = edgexfer("targets", "raspberry-pi-5").out
    assert "Cortex-A76" in one
    assert "calibration  balanced-256" in one


def test_backbones(edgexfer: Terminal) -> None:
    said = edgexfer("backbones")
    assert said.code == 0
    assert all(name in said.out for name in BACKBONES)
    assert "licence Apache-2.0" in edgexfer("backbones", "mobilenetv2-100").out


def test_tables_fit_a_narrow_terminal(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for verb in ("targets", "backbones", "doctor"):
        said = edgexfer(verb)
        # What doctor says to type is not broken: a command that is copied must stay whole.
        shown = said.out.partition("to get what is missing")[0]
        tables = [line for line in shown.splitlines() if line.startswith(" ")]
        assert tables
        assert max(len(line) for line in tables) <= 80
    assert all(name in edgexfer("backbones").out for name in BACKBONES)


def test_doctor_is_well_even_where_parts_are_missing(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgexfer.cli import parts

    said = edgexfer("doctor")
    assert said.code == 0
    assert f"edgexfer {package.__version__}" in said.out
    for word in ("python", "8-bit", "onnxruntime", "compiler"):
        assert word in said.out

    monkeypatch.setattr(parts, "_version", lambda name: "2.0.1+cpu" if name == "torch" else None)
    said = edgexfer("doctor")
    assert said.code == 0
    assert "pip install 'edgexfer[train]'" in said.out
    assert "too old" in said.out
    assert "  cpu        pip install 'edgexfer[cpu]'" in said.out


def test_version_and_help(edgexfer: Terminal) -> None:
    assert edgexfer("--version").out == f"edgexfer {package.__version__}\n"
    bare = edgexfer()
    assert bare.code == 0
    for verb in verbs():
        assert f" {verb} " in bare.out
        said = edgexfer(verb, "--help")
        assert said.code == 0
        assert f"edgexfer {verb} " in said.out
        assert "Examples" in said.out
    assert edgexfer("data").code == 2
    assert "check" in edgexfer("data", "--help").out


def test_verbose_logs_and_quiet_does_not(edgexfer: Terminal, bundle_folder: Path, data: Path) -> None:
    assert edgexfer("-v", "predict", bundle_folder, data / "a" / "0.png").code == 0
