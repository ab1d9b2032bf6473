"""The tables of benchmarks/update.py and benchmarks/adapt.py, and how adapt.py shifts and divides images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.train.pictures import picture_tree

pytestmark = pytest.mark.usefixtures("trained")


@pytest.fixture
def update(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("update")


@pytest.fixture
def adapt(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("adapt")


def _updated(kept: float) -> dict[str, list[dict[str, float]]]:
    return {
        "first classes alone": [{"first": 0.98, "seconds": 60.0}],
        "update": [{"first": kept, "second": 0.96, "seconds": 40.0}],
        "finetune": [{"first": 0.10, "second": 0.99, "seconds": 30.0}],
        "all at once": [{"first": 0.97, "second": 0.98, "seconds": 90.0}],
    }


@pytest.mark.parametrize(("kept", "word"), [(0.95, "reached"), (0.94, "missed")])
def test_update_may_cost_the_first_classes_three_points(update: ModuleType, kept: float, word: str) -> None:
    said = update.verdict(_updated(kept))
    assert f"**{word}**" in said
    assert "by 88.00 with plain fine-tuning" in said


def test_the_table_of_update_has_a_row_for_each_way(update: ModuleType) -> None:
    rows = update.table(_updated(0.96)).splitlines()
    assert rows[2] == "| first classes alone | 98.00 % |  |  |  | 60 |"
    assert rows[3] == "| update | 96.00 % | 2.00 | 2.00 | 96.00 % | 40 |"
    assert len(rows) == 6


def test_adapting_is_judged_by_what_came_back_of_what_was_lost(adapt: ModuleType) -> None:
    draws = [adapt.Found(0.9, 0.5, 0.8, 20.0), adapt.Found(0.9, 0.5, 0.6, 30.0)]
    row = adapt.table({"dusk": draws}).splitlines()[-1]
    assert row == "| dusk | 90.00 % | 50.00 % | 70.00 % | 50 % | 25 % | 25 | **reached** |"
    assert adapt.Found(0.5, 0.5, 0.6, 1.0).back == 0.0


def test_shifts_change_light_and_leave_the_class_to_be_seen(adapt: ModuleType) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    for shift in adapt.SHIFTS.values():
        rng = np.random.default_rng(0)
        shown = shift(ramp, rng)
        assert shown.shape == ramp.shape
        assert shown.dtype == np.uint8
        assert abs(float(shown.mean()) - float(ramp.mean())) > 30
        several = np.mean([shift(ramp, rng) for _ in range(8)], axis=0)  # so that noise weighs little
        assert np.corrcoef(several.mean(axis=2).ravel(), ramp.mean(axis=2).ravel())[0, 1] > 0.8


def test_adapt_divides_class_by_class_and_tells_no_class_by_its_file(
    adapt: ModuleType, benchmark_module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    given = benchmark_module("parts.images").usable_images(picture_tree(tmp_path / "images", (20, 20)))
    parts = adapt.source_and_target(given, 0)
    assert [len(part) for part in parts] == [20, 14, 6]
    assert len({item.name for part in parts for item in part}) == 40
    shown = adapt.write_shifted(parts[2], adapt.SHIFTS["dusk"], np.random.default_rng(0), tmp_path / "shown")
    assert sorted(label for _, label in shown) == ["a", "a", "a", "b", "b", "b"]
    assert all(path.parent == tmp_path / "shown" and path.stem.isdigit() for path, _ in shown)
    with Image.open(shown[0][0]) as image:
        assert image.size == (64, 64)
