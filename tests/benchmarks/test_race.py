"""What time_to_accuracy makes of the lines that its runners answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Import = Callable[[str], ModuleType]


@pytest.fixture
def race(benchmark_module: Import) -> ModuleType:
    return benchmark_module("parts.race")


def _answers(file: Path, evaluations: list[tuple[float, float]], kept: float | None, **more: Any) -> Path:
    lines: list[dict[str, Any]] = [
        {"runner": "x", "epoch": number, "seconds": seconds, "top1": top1}
        for number, (seconds, top1) in enumerate(evaluations)
    ]
    if kept is not None:
        done = {"size": 224, "test": None, "recipe": "a recipe", "versions": {"torch": "2.14.1"}, **more}
        lines.append({"done": True, "seconds": evaluations[-1][0] + 1, "kept": kept, **done})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def _runs(race: ModuleType, folder: Path, ours: list[tuple[float, float]], kept: float) -> list[Any]:
    peers = {"slow peer": [(20.0, 0.90), (90.0, 0.935)], "quick peer": [(10.0, 0.80), (40.0, 0.935), (80.0, 0.91)]}
    runs = [race.Run.read("edgexfer", _answers(folder / "ours", ours, kept))]
    return runs + [race.Run.read(name, _answers(folder / name, lines, 0.91)) for name, lines in peers.items()]


def test_the_best_peer_is_the_one_that_was_there_first(race: ModuleType, tmp_path: Path) -> None:
    runs = _runs(race, tmp_path, [(4.0, 0.95)], 0.95)
    assert race.best_peer(runs).runner == "quick peer"
    assert race.best_peer(runs).best == (0.935, 40.0)


def test_the_aims_are_judged_against_the_best_peer_at_its_best(race: ModuleType, tmp_path: Path) -> None:
    sooner, above = race.verdicts(_runs(race, tmp_path, [(2.0, 0.9), (4.0, 0.94), (9.0, 0.96)], 0.96), None)
    assert "93.50 % after 40.0 s" in sooner
    assert "after 4.0 s, 10.0 times sooner" in sooner
    assert sooner.endswith("**reached**")
    assert "+2.50 points" in above
    assert above.endswith("**reached**")


@pytest.mark.parametrize("ours", [[(5.1, 0.949)], [(1.0, 0.93), (39.0, 0.949)], [(1.0, 0.93)]])
def test_an_aim_that_is_missed_is_said(race: ModuleType, tmp_path: Path, ours: list[tuple[float, float]]) -> None:
    sooner, above = race.verdicts(_runs(race, tmp_path, ours, 0.949), None)
    assert sooner.endswith("**missed**")
    assert above.endswith("**missed**")


def test_a_goal_is_judged_against_the_first_peer_that_reaches_it(race: ModuleType, tmp_path: Path) -> None:
    runs = _runs(race, tmp_path, [(5.0, 0.93)], 0.93)
    (line,) = race.verdicts(runs, 0.90)
    assert "slow peer after 20.0 s, edgexfer after 5.0 s, 4.0 times sooner" in line
    assert line.endswith("**reached**")
    (line,) = race.verdicts(runs, 0.99)
    assert "no peer reaches it; edgexfer neither" in line


def test_the_table_has_a_row_for_each_run_and_says_what_was_skipped(race: ModuleType, tmp_path: Path) -> None:
    runs = _runs(race, tmp_path, [(5.0, 0.93)], 0.93)
    (tmp_path / "gone").write_text('{"skipped": "no fastai here"}\n', encoding="utf-8")
    runs += [race.Run.read("gone", tmp_path / "gone"), race.Run.read("absent", tmp_path / "absent")]
    rows = race.table(runs, 0.92).splitlines()
    assert rows[0].endswith("| 93.50 % after s | 92.00 % after s |")
    assert rows[2] == "| edgexfer | 224 | 93.00 % | 5.0 | 93.00 % |  | 6.0 | never | 5.0 |"
    assert "| gone | skipped: no fastai here |" in rows[5]
    assert "| absent | skipped: was not run |" in rows[6]
    assert {row.count("|") for row in rows[:7]} == {10}


def test_a_run_that_broke_off_does_not_count(race: ModuleType, tmp_path: Path) -> None:
    ours = race.Run.read("edgexfer", _answers(tmp_path / "ours", [(5.0, 0.95)], 0.95))
    broken = race.Run.read("peer", _answers(tmp_path / "peer", [(5.0, 0.99)], None))
    assert broken.skipped == "did not end"
    assert race.best_peer([ours, broken]) is None
    assert "no verdict" in race.verdicts([ours, broken], None)[0]
