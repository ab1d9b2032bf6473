"""What a run is asked for, held against what its strategy can do: what it lacks or would pass over is refused.

Nothing heavy is imported and no image is read, so that the command line can ask before it loads PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.train.backbones import AUTO
from edgexfer.train.streaming.shards import find_shards

STRATEGIES = ("auto", "linear-probe", "prototype", "finetune", "gradual", "last-n", "adapt", "update", "pretrain")
"""The names that train/strategies.py has functions for."""
_WITHOUT_CLASSES = ("adapt", "pretrain")
# `update` learns old and new together by a recipe of its own, and so do the rounds of self-training.
_PASSED_OVER = {
    "update": ("find_learning_rate", "time_budget_s"),
    "adapt": ("epochs", "steps", "patience", "ema", "find_learning_rate", "time_budget_s"),
}
_FLAGS = {"time_budget_s": "--time-budget", "patience": "patience", "ema": "ema"}


def check_asked(given: Mapping[str, Any], data: Path, start: Path | None, unlabeled: Path | None) -> None:
    """Refuses what contradicts itself, what a strategy lacks, and what would be passed over without a word.

    Args:
        given: the settings that were given, by their names in FinetuneSettings.
        data: the images to train on.
        start: the checkpoint to go on with, or None.
        unlabeled: images without classes, or None.

    Raises:
        SettingsError: naming the setting, and what to do.
    """
    strategy = given.get("strategy", "auto")
    if strategy not in STRATEGIES:
        raise SettingsError(f"unknown strategy '{strategy}'", did_you_mean(strategy, STRATEGIES))
    if strategy == "adapt" and unlabeled is None:
        raise SettingsError("strategy 'adapt' needs images of the new domain", "give them with --unlabeled DIR")
    if strategy == "update" and start is None:
        raise SettingsError("strategy 'update' goes on from a checkpoint", "say which one with --from RUN")
    if unlabeled is not None and strategy not in _WITHOUT_CLASSES:
        raise SettingsError(
            f"--unlabeled is {unlabeled}, and strategy '{strategy}' looks at no images without classes",
            "take --strategy adapt or --strategy pretrain, or leave --unlabeled away",
        )
    if given.get("target_val") is not None and strategy != "adapt":
        raise SettingsError(
            f"target_val is {given['target_val']}, and strategy '{strategy}' adapts to no other domain",
            "take --strategy adapt, or leave --target-val away",
        )
    if start is not None:
        _check_going_on(given, strategy, start)
    elif given.get("backbone") == AUTO:
        refuse_shards(data)


def refuse_shards(data: str | Path) -> None:
    """Refuses to choose a backbone for images that are packed in shards.

    Raises:
        SettingsError: `data` means shards.
    """
    if find_shards(data):
        raise SettingsError(
            f"backbone is auto and {data} are shards: backbones are compared on images of a folder or a CSV",
            "give --backbone NAME; `edgexfer backbones` lists them",
        )


def _check_going_on(given: Mapping[str, Any], strategy: str, start: Path) -> None:
    its = {**_network_of(start), "weights": "auto"}
    for name, value in given.items():
        if name in its and value != its[name]:
            raise SettingsError(
                f"{name} is {value}, but with --from the network is that of {start}"
                + ("" if name == "weights" else f", where it is {its[name]}"),
                f"leave {_flag(name)} away, or --from",
            )
    for name in _PASSED_OVER.get(strategy, ()):
        if given.get(name) not in (None, False, 0):
            raise SettingsError(
                f"{name} is {given[name]}, and strategy '{strategy}' from a checkpoint does not go by it",
                f"leave {_flag(name)} away",
            )


def _network_of(start: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((start / "manifest.json").read_bytes())
        preprocess = manifest["preprocess"]
        return {
            "backbone": manifest["backbone"],
            "input_size": preprocess["height"],
            "resize": preprocess["resize"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # whoever opens it says what is wrong with it


def _flag(name: str) -> str:
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")
