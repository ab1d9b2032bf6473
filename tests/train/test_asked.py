"""What a run may be asked for: whatever a strategy can do passes, the rest is refused from Python too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.errors import SettingsError
from edgexfer.train import asked
from edgexfer.train.asked import check_asked
from edgexfer.train.finetune import finetune
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.strategies import STRATEGIES
from tests.images import put
from tests.train.pictures import picture_tree

pytestmark = pytest.mark.train


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """As much of a checkpoint as is looked at."""
    manifest = {"backbone": "resnet18", "preprocess": {"height": 96, "width": 96, "resize": "stretch"}}
    return put(tmp_path / "old" / "manifest.json", json.dumps(manifest).encode()).parent


def test_every_strategy_is_known() -> None:
    assert set(asked.STRATEGIES) == set(STRATEGIES)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"strategy": "update", "epochs": 3, "steps": 40, "ema": 0.9, "patience": 2, "learning_rate": 1e-4},
        {"strategy": "finetune", "time_budget_s": 60.0, "find_learning_rate": True},
        {"strategy": "update", "find_learning_rate": False, "time_budget_s": None},
        {"backbone": "resnet18", "input_size": 96, "resize": "stretch", "weights": "auto"},
    ],
)
def test_what_is_the_checkpoints_own_or_can_be_done_passes(given: dict[str, Any], start: Path, tmp_path: Path) -> None:
    check_asked(given, tmp_path, start, None)


def test_adapt_heeds_them_while_it_trains_the_source(tmp_path: Path) -> None:
    check_asked({"strategy": "adapt", "epochs": 3, "ema": 0.9, "target_val": "x"}, tmp_path, None, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (FinetuneSettings(strategy="update", time_budget_s=60), "time_budget_s is 60, and strategy 'update'"),
        (FinetuneSettings(backbone="mobilenetv2-050"), "backbone is mobilenetv2-050, but with --from"),
        (FinetuneSettings(target_val="x"), "strategy 'auto' adapts to no other domain"),
    ],
)
def test_from_python_it_is_refused_before_anything_is_read(
    settings: FinetuneSettings, message: str, start: Path, tmp_path: Path
) -> None:
    data = picture_tree(tmp_path / "data", (2, 2))
    with pytest.raises(SettingsError, match=message):
        finetune(data, tmp_path / "run", settings, start=start)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "old"]


def test_images_without_classes_that_nobody_looks_at_are_refused(tmp_path: Path) -> None:
    data = picture_tree(tmp_path / "data", (2, 2))
    with pytest.raises(SettingsError, match="strategy 'auto' looks at no images without classes"):
        finetune(data, tmp_path / "run", FinetuneSettings(), unlabeled=data)
