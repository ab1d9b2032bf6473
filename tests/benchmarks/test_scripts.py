"""The benchmarks' scripts: what they take, what they skip, and which images they draw."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.train.pictures import picture_tree

Import = Callable[[str], ModuleType]
pytestmark = pytest.mark.usefixtures("trained")


@pytest.mark.parametrize("name", ["time_to_accuracy", "strategies"])
def test_help_names_every_flag_and_ends_well(
    benchmark_module: Import, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        benchmark_module(name).main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(flag in said for flag in ("--only", "--out", "--only-table", "--cores"))


def test_images_that_are_not_here_are_skipped_with_the_reason(
    benchmark_module: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEXFER_DATA", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["time_to_accuracy.py", "signs", "--out", str(tmp_path / "out"), "--cores", "99"])
    assert benchmark_module("time_to_accuracy").main() == 0
    said = capsys.readouterr().out
    assert "skipped: the images of signs are not here (set EDGEXFER_DATA" in said


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


def test_draws_differ_and_never_show_what_is_judged_on(benchmark_module: Import, tmp_path: Path) -> None:
    shots = benchmark_module("parts.shots")
    images = picture_tree(tmp_path / "images", (38, 38))
    case = shots.Case("some-2", str(images), 2, 2)
    drawn = [shots.draw(case, number, tmp_path) for number in range(2)]
    assert drawn[0].judged == drawn[1].judged
    assert Counter(label for _, label in drawn[0].judged) == {"a": 30, "b": 30}
    held_out = {str(path) for path, _ in drawn[0].judged}
    seen = [{row["path"]: row["split"] for row in _rows(draw.images)} for draw in drawn]
    assert seen[0] != seen[1]
    for given in seen:
        assert Counter(given.values()) == {"train": 4, "val": 4}
        assert not held_out & set(given)


def test_edgexfer_divides_by_itself_where_that_is_asked(benchmark_module: Import, tmp_path: Path) -> None:
    shots = benchmark_module("parts.shots")
    images = picture_tree(tmp_path / "images", (35, 35))
    drawn = shots.draw(shots.Case("some-in-all", str(images), 1, 4, in_all=True), 0, tmp_path)
    rows = _rows(drawn.images)
    assert "split" not in rows[0]
    assert Counter(row["label"] for row in rows) == {"a": 4, "b": 4}


def test_rows_of_a_history_are_told_once_as_they_come(benchmark_module: Import, tmp_path: Path) -> None:
    given, runner = benchmark_module("given"), benchmark_module("edgexfer_finetune")
    answers = io.StringIO()
    history, finished = tmp_path / "run.partial" / "history.csv", tmp_path / "run"
    history.parent.mkdir()
    lines = ["epoch,val_top1\n0,0.5\n", "epoch,val_top1\n0,0.5\n1,0.75\n"]
    with runner.watched(history, finished, given.Clock("edgexfer", answers)):
        history.write_text(lines[0], encoding="utf-8")
        _until(lambda: answers.getvalue().count("\n") == 1)
        history.write_text(lines[1], encoding="utf-8")
        _until(lambda: answers.getvalue().count("\n") == 2)
        finished.mkdir()
        (finished / "history.csv").write_text(lines[1] + "2,0.875\n", encoding="utf-8")
    told: list[dict[str, Any]] = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [(row["epoch"], row["top1"]) for row in told] == [(0, 0.5), (1, 0.75), (2, 0.875)]
    assert [row["seconds"] for row in told] == sorted(row["seconds"] for row in told)


def _until(there: Callable[[], bool], seconds: float = 10.0) -> None:
    import time

    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
