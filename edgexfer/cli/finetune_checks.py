"""What `edgexfer finetune` finds out before it loads PyTorch: mistakes, and whether a run was interrupted."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from edgexfer.core.errors import EdgexferError, SettingsError


def check_at_once(
    data: Path, val: Path | None, start: Path | None, run: Path, wanted: dict[str, Any], *, overwrite: bool
) -> None:
    """Finds what is wrong before seconds go into loading PyTorch. The stage checks all of it again."""
    from edgexfer.core.staging import refuse_existing
    from edgexfer.train.backbones import AUTO, DEFAULT, find_backbone
    from edgexfer.train.prepared import read_trainable
    from edgexfer.train.shards import find_shards

    if wanted.get("backbone") != AUTO:
        find_backbone(str(wanted.get("backbone", DEFAULT)))
    refuse_existing(run, overwrite=overwrite)
    if start is not None and not (start / "manifest.json").is_file():
        raise EdgexferError(f"{start} is no checkpoint, expected a RUN of `edgexfer finetune`", "give its folder")
    if not find_shards(data):
        read_trainable(data, val, least_classes=2 if start is None else 1, group=wanted.get("group"))


def check_strategy(strategy: str | None, start: Path | None, unlabeled: Path | None) -> None:
    """Finds what a strategy lacks before any image is read; see train/adapt.py and train/update.py."""
    if strategy == "adapt" and unlabeled is None:
        raise SettingsError("strategy 'adapt' needs images of the new domain", "give them with --unlabeled DIR")
    if strategy == "update" and start is None:
        raise SettingsError("strategy 'update' goes on from a checkpoint", "say which one with --from RUN")


def val_of_interrupted(run: Path, wanted: dict[str, Any]) -> Path | None:
    """Returns the VAL of an interrupted run.

    Raises:
        EdgexferError: there is no such run.
        SettingsError: `wanted` has a setting that the run does not have: it would be ignored.
    """
    if not record_of(run).exists():
        if run.exists():
            raise EdgexferError(f"{run} is finished: there is nothing to resume", "begin anew with --overwrite")
        raise EdgexferError(
            f"there is nothing to resume: {record_of(run).parent} does not exist", "leave --resume away to begin"
        )
    try:
        recorded = json.loads(record_of(run).read_bytes())
        settings, val = dict(recorded["settings"]), recorded["val"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the stage says what is wrong with it
    for name, value in wanted.items():
        if name in settings and settings[name] != value:
            before = "unset" if settings[name] is None else settings[name]
            raise SettingsError(
                f"{name} is {value}, in the interrupted run it is {before}",
                "leave it away to go on as it began, or begin anew with --overwrite",
            )
    return None if val is None else Path(val)


def record_of(run: Path) -> Path:
    """Returns where an interrupted run keeps its record."""
    return run.with_name(f"{run.name}.partial") / "run.json"


def how_to_go_on(data: Path, run: Path) -> str:
    """Returns the command that goes on with an interrupted run, "" where no epoch was begun."""
    if not record_of(run).is_file():
        return ""
    return f"edgexfer finetune {shlex.quote(str(data))} --out {shlex.quote(str(run))} --resume"
