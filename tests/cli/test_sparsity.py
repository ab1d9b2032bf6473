"""`--sparsity` on the command line: what is refused before PyTorch is loaded, and what is said of the gain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgexfer.cli.sparsity import print_sparsity
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.gate.report.sparsity import sparsity_gained
from edgexfer.train.sparse.asked import Sparsity, dense_place, parse_sparsity, sparse_place
from tests.cli.runs import make_run, tried

CLOCK = {"ratio": 0.99, "low": 0.98, "high": 1.01, "latency_ms": 1.98, "full_ms": 2.0}
GAIN: dict[str, Any] = {
    "precision": "int8",
    "size_bytes": 3_800_000,
    "packed_bytes": 1_900_000,
    "dense": {"size_bytes": 3_800_000, "packed_bytes": 3_100_000},
    "eligible": {"layers": 33, "of": 50, "macs_share": 0.93},
    "latency": CLOCK,
    "engine": "onnxruntime 1.31.1",
    "reason": "",
}
RECORD: dict[str, Any] = {
    "asked": "2:4",
    "how": "magnitude",
    "points": [
        {"share": 0.0, "metrics": {"val": {"images": 100, "right": 98}}},
        {"share": 0.4871, "metrics": {"val": {"images": 100, "right": 97}}},
    ],
    "gain": GAIN,
}


def test_a_share_is_reached_by_halves_and_named_in_the_place() -> None:
    assert parse_sparsity(" 0.6 ") == Sparsity(0.6)
    assert parse_sparsity("2:4") == Sparsity(None)
    assert Sparsity(0.5).points == (0.5,)
    assert Sparsity(0.9).points == (0.4377, 0.6838, 0.8222, 0.9)
    learned = parse_sparsity("0.6", "regularisation")
    assert (learned.points, Sparsity(None).points) == ((0.6,), (0.5,))
    for sparsity, name in ((Sparsity(None), "mine.sparse-2-4"), (learned, "mine.sparse-0.6-regularisation")):
        place = sparse_place(Path("runs/mine"), sparsity)
        assert place == Path("runs") / name
        assert dense_place(place.with_name(f"{place.name}.int8-ort")) == Path("runs/mine")


def test_mistakes_are_told_before_pytorch_is_loaded(tmp_path: Path) -> None:
    for name, more in (("mine", {}), ("thin", {"sparsity": RECORD}), ("int8", {"quantization": {"dialect": "ort"}})):
        make_run(tmp_path / name, **more)
    calls = [["mine", "--sparsity", text] for text in ("0", "1", "2:3", "nan", "x")]
    calls += [["mine", "--sparsity=-0.5"], ["mine", "--sparsity-how", "magnitude"], ["mine", "--sparsity-epochs", "2"]]
    calls += [["mine", "--sparsity", "0.6", "--sparsity-epochs", "-1"]]
    calls += [["mine", "--sparsity", "0.6", "--sparsity-how", "magnitud"]]
    calls += [["mine", "--sparsity", "2:4", "--sparsity-how", "regularisation"]]
    calls += [[name, "--sparsity", "0.6"] for name in ("thin", "int8")] + [["thin", "--prune", "macs=0.5"]]
    out, err = tried("compress", calls, tmp_path)
    assert out == f"{[2] * len(calls)} False\n", err
    for words in (
        "--sparsity is 0, expected a share of zeros from 0.05 to 0.95, or 2:4",
        "--sparsity is 1, expected",
        "--sparsity is '2:3', expected a share of zeros from 0.05 to 0.95, or 2:4 (of patterns engines know 2:4 alone)",
        "--sparsity is -0.5, expected",
        "--sparsity-how is given without --sparsity",
        "--sparsity-epochs is given without --sparsity",
        "--sparsity-epochs is -1, expected 0 or more",
        "did you mean 'magnitude'?",
        "--sparsity 2:4 cannot go by regularisation",
        "thin is sparse already, --sparsity takes a dense float RUN",
        "int8 is quantized, --sparsity takes",
        "thin is sparse already, --prune takes",
    ):
        assert words in err
    out, err = tried("export", [["mine", "--target", "x86-cpu", "--sparsity", "1"]], tmp_path)
    assert (out, "--sparsity is 1, " in err) == ("[2] False\n", True), err


def test_the_points_and_what_they_gain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_sparsity(None)
    assert capsys.readouterr().out == ""
    print_sparsity(RECORD, "x86-cpu")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "Sparsity 2:4"
    assert "48.7 % 97.0 % 91.5 to 99.0" in lines
    latency = "latency on x86-cpu: 0.99 of the dense network's (0.98 to 1.01), onnxruntime 1.31.1, in turns"
    assert lines[-3:] == [
        "file in int8: 1.90 MB compressed (zlib), dense 3.10 MB: 0.61 of it; 3.80 MB as it lies there, zeros or not",
        f"{latency}: no speed-up on this target",
        "2:4 fits 33 of 50 layers, 93 % of the multiply-accumulates",
    ]


def test_a_gain_is_called_one_only_where_the_interval_ends_well_below_1() -> None:
    fast = {**RECORD, "gain": {**GAIN, "latency": {**CLOCK, "ratio": 0.8, "high": 0.9}}}
    slow = {**RECORD, "gain": {**GAIN, "latency": {**CLOCK, "ratio": 1.2, "low": 1.1, "high": 1.3}}}
    unknown = {**RECORD, "gain": {**GAIN, "latency": None, "dense": None, "reason": "no TensorRT here"}}
    assert not any("no speed-up" in line for line in sparsity_gained(fast))
    loud = {**RECORD, "gain": {**GAIN, "latency": {**CLOCK, "ratio": 0.964, "low": 0.944, "high": 0.998}}}
    for record in (slow, loud):
        assert any(line.endswith("no speed-up on this target") for line in sparsity_gained(record))
    assert any("not measured (no TensorRT here)" in line for line in sparsity_gained(unknown))
    assert sparsity_gained({**RECORD, "gain": None}) == []
    with pytest.raises(ArtifactError, match="damaged"):
        sparsity_gained({**RECORD, "gain": {}})
    with pytest.raises(SettingsError, match="expected a share"):
        parse_sparsity("0.96")
