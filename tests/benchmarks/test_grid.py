"""The tables that benchmarks/strategies.py makes of its cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_STRATEGIES = ("linear-probe", "prototype", "finetune", "auto")


@pytest.fixture
def grid(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("parts.grid")


def _cells(grid: ModuleType, **top1: tuple[float, ...]) -> list[Any]:
    return [
        grid.Cell("signs-5", name.replace("_", "-"), draw, value, 300, 2.0 + draw)
        for name, values in top1.items()
        for draw, value in enumerate(values)
    ]


def test_the_best_single_strategy_is_marked_and_auto_compared_with_it(grid: ModuleType) -> None:
    cells = _cells(grid, linear_probe=(0.60, 0.64), prototype=(0.70, 0.74), finetune=(0.5, 0.5), auto=(0.70, 0.73))
    row = grid.accuracy_table(cells, ["signs-5"], _STRATEGIES).splitlines()[-1]
    assert row == "| signs-5 | 2 | 300 | 62.00 ± 2.83 | **72.00 ± 2.83** | 50.00 ± 0.00 | 71.50 ± 2.12 | -0.50 | yes |"


def test_more_than_a_point_below_is_said(grid: ModuleType) -> None:
    cells = _cells(grid, linear_probe=(0.70,), auto=(0.68,))
    assert grid.accuracy_table(cells, ["signs-5"], _STRATEGIES).endswith("| **70.00** |  |  | 68.00 | -2.00 | **no** |")


def test_only_draws_that_all_strategies_have_are_compared(grid: ModuleType) -> None:
    cells = _cells(grid, linear_probe=(0.60, 0.9, 0.9), auto=(0.60,))
    row = grid.accuracy_table(cells, ["signs-5"], _STRATEGIES).splitlines()[-1]
    assert row.startswith("| signs-5 | 1 | 300 | **60.00** |")
    assert row.endswith("| 60.00 | +0.00 | yes |")


def test_remarks_tell_of_few_images_of_choices_and_of_failures(grid: ModuleType) -> None:
    cells = _cells(grid, linear_probe=(0.7,), prototype=(0.8,), finetune=(0.7,))
    plans = [{"strategy": "prototype"}, {"strategy": "finetune", "learning_rate": 1e-3, "epochs": 40}]
    cells += [grid.Cell("signs-5", "auto", i, 0.8, 300, 1.0, notes={"auto": plan}) for i, plan in enumerate(plans)]
    cells.append(grid.Cell("signs-5", "gradual", 0, failed="ValueError: broken"))
    few, chosen, failed = grid.remarks(cells, ["signs-5"], _STRATEGIES)
    assert few.endswith("frozen features **not ahead**")
    assert chosen == "signs-5: auto chose prototype, finetune (1.0e-03, 40 epochs)"
    assert failed == "signs-5, gradual, draw 0: ValueError: broken"


def test_seconds_are_means_over_draws(grid: ModuleType) -> None:
    cells = _cells(grid, linear_probe=(0.6, 0.6))
    assert grid.seconds_table(cells, ["signs-5"], _STRATEGIES).splitlines()[-1] == "| signs-5 | 2.5 |  |  |  |"


def test_a_cell_is_kept_unless_it_failed(grid: ModuleType, tmp_path: Path) -> None:
    good = grid.Cell("signs-5", "auto", 1, 0.9, 300, 3.0, {"train": 50}, {"auto": {"strategy": "prototype"}})
    bad = grid.Cell("signs-5", "gradual", 1, failed="ValueError: broken")
    for cell in (good, bad):
        cell.write(tmp_path)
    assert grid.Cell("signs-5", "auto", 1).kept(tmp_path) == good
    assert bad.kept(tmp_path) is None
    assert grid.read_cells(tmp_path, ["signs-5"]) == [good, bad]
    assert grid.read_cells(tmp_path, ["digits"]) == []
