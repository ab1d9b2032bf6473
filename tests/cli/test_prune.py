"""`--prune` on the command line: what is refused before PyTorch is loaded, and the table of points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgexfer.cli.pruning import print_pruning
from edgexfer.core.errors import ArtifactError
from edgexfer.train.prune.goal import Goal, parse_goal
from tests.cli.runs import make_run, tried

CLOCK = {"ratio": 0.612, "low": 0.6, "high": 0.62, "latency_ms": 1.224, "full_ms": 2.0}
RECORD: dict[str, Any] = {
    "goal": "latency=0.6",
    "precision": "int8",
    "engine": "onnxruntime 1.31.1",
    "points": [
        {"ratio": 1.0, "params": 3_400_000, "macs": 384_000_000, "size_bytes": 3_800_000, "latency": None,
         "metrics": {"val": {"images": 100, "right": 98}}},
        {"ratio": 0.6, "params": 1_200_000, "macs": 190_000_000, "size_bytes": 1_500_000, "latency": CLOCK,
         "metrics": {"val": {"images": 100, "right": 97}}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", ["latency=0.6", " params = .5 ", "macs=0.05"])
def test_a_goal_is_a_measure_and_a_ratio(text: str) -> None:
    goal = parse_goal(text)
    assert parse_goal(str(goal)) == goal


def test_the_points_on_the_way_lie_evenly_and_end_at_the_goal() -> None:
    assert Goal("latency", 0.6).points_from(1.0) == (0.8434, 0.7114, 0.6)
    assert Goal("macs", 0.9).points_from(1.0) == (0.9,)


def test_mistakes_are_told_before_pytorch_is_loaded(tmp_path: Path) -> None:
    for name, more in (("mine", {}), ("thin", {"pruning": RECORD}), ("int8", {"quantization": {"dialect": "ort"}})):
        make_run(tmp_path / name, **more)
    wrong = ["latency=1.2", "macs=", "foo=0.5", "latenci=0.5", "params=nan", "macs=x", "0.5"]
    calls = [["mine", "--prune", text] for text in wrong]
    calls += [["mine", "--prune-epochs", "3"], ["mine", "--prune", "macs=0.5", "--prune-epochs", "-1"]]
    calls += [[name, "--prune", "macs=0.5"] for name in ("thin", "int8")]
    calls += [["mine", "--target", "jetson-orin-nano", "--prune", "latency=0.5"]]
    out, err = tried("compress", calls, tmp_path)
    assert out == f"{[2] * len(calls)} False\n", err
    for words in (
        "latency=1.2 asks for 1.2 of the unpruned latency, expected 0.05 to 0.99",
        "--prune is 'macs=', expected MEASURE=RATIO",
        "cannot go by 'foo': it goes by latency, params, macs",
        "did you mean 'latency'?",
        "'x' is no number",
        "--prune-epochs is given without --prune",
        "--prune-epochs is -1, expected 0 or more",
        "thin is pruned already",
        "int8 is quantized",
    ):
        assert words in err
    called = [["mine", "--target", "x86-cpu", "--prune", "macs=1"]]
    out, err = tried("export", called, tmp_path)
    assert (out, "macs=1 asks for 1 " in err) == ("[2] False\n", True), err


def test_the_table_of_points(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    print_pruning(None)
    assert capsys.readouterr().out == ""
    print_pruning(RECORD)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "Pruned to latency=0.6"
    assert lines[3] == "1.00 3.40 M 384 M 1.00 2.00 3.80 MB 98.0 % 93.0 to 99.4"
    assert lines[4] == "0.60 1.20 M 190 M 0.61 1.22 1.50 MB 97.0 % 91.5 to 99.0"
    with pytest.raises(ArtifactError, match="damaged"):
        print_pruning({"goal": "macs=0.5", "points": [{}]})
