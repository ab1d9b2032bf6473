"""What `edgexfer finetune` finds out before it loads PyTorch: mistakes, and how an interrupted run was begun."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer.core.errors import EdgexferError, SettingsError


@dataclass(frozen=True)
class Begun:
    """Where a run takes what it learns from, as it was given on the command line.

    Attributes:
        val: images to validate with, or None.
        start: the checkpoint it goes on with, or None.
        unlabeled: images without classes, or None.
        group: what a drawn split never divides, or None.
    """

    val: Path | None
    start: Path | None
    unlabeled: Path | None
    group: str | None


def check_at_once(data: Path, begun: Begun, run: Path, backbone: str, *, overwrite: bool) -> None:
    """Finds what is wrong before seconds go into loading PyTorch. The stage checks all of it again."""
    from edgexfer.core.staging import refuse_existing
    from edgexfer.train.backbones import AUTO, find_backbone
    from edgexfer.train.images.prepared import read_trainable
    from edgexfer.train.streaming.shards import find_shards

    start = begun.start
    if backbone != AUTO:
        find_backbone(backbone)
    refuse_existing(run, overwrite=overwrite)
    if start is not None and not (start / "manifest.json").is_file():
        raise EdgexferError(f"{start} is no checkpoint, expected a RUN of `edgexfer finetune`", "give its folder")
    if not find_shards(data):
        read_trainable(data, begun.val, least_classes=2 if start is None else 1, group=begun.group)


def check_target(target: str | None, backbone: str) -> None:
    """Refuses a target whose limits nobody would look at."""
    from edgexfer.train.backbones import AUTO

    if target is not None and backbone != AUTO:
        raise SettingsError(
            f"--target is {target}, and backbone is {backbone}: a target's limits choose a backbone, and nothing else",
            "take --backbone auto, or leave --target away; `edgexfer export` takes one",
        )


def as_begun(run: Path, wanted: dict[str, Any], given: Begun) -> Begun:
    """Returns how an interrupted run was begun; a VAL that is given anew, since it was moved, counts more.

    Args:
        run: the folder that it would have become.
        wanted: the settings that are given now.
        given: the rest of what is given now.

    Raises:
        EdgexferError: there is no such run.
        SettingsError: something is given that the run does not have: it would be ignored.
    """
    if not record_of(run).exists():
        if record_of(run).parent.is_dir() and not run.exists():
            return given  # killed before anything was learned: the stage begins anew
        if run.exists():
            raise EdgexferError(f"{run} is finished: there is nothing to resume", "begin anew with --overwrite")
        raise EdgexferError(
            f"there is nothing to resume: {record_of(run).parent} does not exist", "leave --resume away to begin"
        )
    try:
        recorded = json.loads(record_of(run).read_bytes())
        settings, found = dict(recorded["settings"]), dict(recorded.get("found") or {})
        val, start, unlabeled = (_path(recorded.get(name)) for name in ("val", "start", "unlabeled"))
    except (OSError, ValueError, KeyError, TypeError):
        return given  # the stage says what is wrong with it
    for name, value in wanted.items():
        if name == "backbone" and value == "auto" and "backbone" in found:
            continue  # it chose the recorded one
        if name in settings and settings[name] != value:
            _refuse(name, value, settings[name])
    for flag, asked, known in (("--from", given.start, start), ("--unlabeled", given.unlabeled, unlabeled)):
        if asked is not None and (known is None or asked.resolve() != known.resolve()):
            _refuse(flag, asked, known)
    return replace(given, val=given.val or val, start=start, unlabeled=unlabeled, group=settings.get("group"))


def _refuse(name: str, value: object, before: object) -> None:
    raise SettingsError(
        f"{name} is {value}, in the interrupted run it is {'unset' if before is None else before}",
        "leave it away to go on as it began, or begin anew with --overwrite",
    )


def _path(place: str | None) -> Path | None:
    return None if place is None else Path(place)


def record_of(run: Path) -> Path:
    """Returns where an interrupted run keeps its record."""
    return run.with_name(f"{run.name}.partial") / "run.json"


def how_to_go_on(data: Path, run: Path) -> str:
    """Returns the command that goes on with an interrupted run, "" where no epoch was begun."""
    if not record_of(run).is_file():
        return ""
    replacing = " --overwrite" if run.exists() else ""  # as it was begun, else RUN would be refused
    return f"edgexfer finetune {shlex.quote(str(data))} --out {shlex.quote(str(run))} --resume{replacing}"
