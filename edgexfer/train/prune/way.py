"""PLACE.partial: the way that a pruning, or one to zeros, has gone so far; a call that was interrupted goes on with it.

    way.json      format_version; asked: what is made, of which network, how, and on which images
    engine.json   the engine that times, and the latency table where latency is asked for (kept_points.py)
    point-N/      a point that has learned: a checkpoint
    running/      the point at work: the network as it was cut, and what `fit` goes on from

It is removed when PLACE is whole. Light, since the command line asks before PyTorch is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError, EdgexferError, SettingsError
from edgexfer.core.files import explained_write, write_file
from edgexfer.core.versioned import read_versioned
from edgexfer.train.interrupted import HISTORY, partial_of, remove_partial

WAY, ENGINE, RUNNING = "way.json", "engine.json", "running"
_VERSION = 1
_OURS = re.compile(rf"{re.escape(WAY)}|{re.escape(ENGINE)}|{RUNNING}|point-\d+|\..*")
_ANEW = "begin anew with --overwrite"
_MEANT = {
    "made": "what is made",
    "parent": "the digest of the network that it is made from",
    "goal": "--prune",
    "asked": "--sparsity",
    "how": "--sparsity-how",
    "target": "--target",
    "precision": "the precision that is timed here",
    "epochs": "the number of epochs at each point",
    "images": "the digest of the images that it learns on",
    "input_size": "the side of its input",
}


def is_begun(place: Path) -> bool:
    """Whether there is something to go on with on the way to PLACE."""
    return (partial_of(place) / WAY).is_file()


def check_way(place: Path, asked: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Refuses what lies at PLACE.partial where it is neither gone on with nor dropped, or was begun otherwise.

    Args:
        place: what is being made.
        asked: some or all of what `begin_way` takes.
        resume: go on with what is there.
        overwrite: drop what is there; `resume` counts more.

    Raises:
        SettingsError: it is resumed, and was asked for something else.
        ArtifactError: what is there cannot be read.
        EdgexferError: an interrupted one is there and neither is wanted, there is none to resume, or what is there is
            not ours.
    """
    partial = partial_of(place)
    if not partial.exists():
        if resume:
            raise EdgexferError(f"there is nothing to resume: {partial} does not exist", "leave --resume away to begin")
        return
    if not partial.is_dir() or not all(_OURS.fullmatch(path.name) for path in partial.iterdir()):
        raise EdgexferError(f"{partial} exists and is nothing that pruning left", "move it away")
    if not is_begun(place):
        return
    if not resume:
        if overwrite:
            return
        raise EdgexferError(
            f"{partial} holds what was interrupted on the way to {place.name}",
            "go on with --resume and the options it was begun with, or begin anew with --overwrite",
        )
    before = read_versioned(partial / WAY, _VERSION, _ANEW).get("asked")
    if not isinstance(before, dict):
        raise ArtifactError(f"{partial / WAY} does not say what was asked for", _ANEW)
    for name, value in asked.items():
        if before.get(name) != value:
            raise SettingsError(
                f"{_MEANT[name]} is {_said(value)}, in what {partial.name} goes on with it is "
                f"{_said(before.get(name))}",
                f"resume it as it was begun, or {_ANEW}",
            )


def begin_way(place: Path, asked: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Path:
    """Returns PLACE.partial, to go on with or new; the caller holds PLACE.

    Args:
        place: what is being made.
        asked: JSON values by the names that check_way's messages know.
        resume: go on with what is there, if anything is.
        overwrite: drop what is there; `resume` counts more.

    Raises:
        EdgexferError: see `check_way`; or it cannot be written.
    """
    check_way(place, asked, resume=resume, overwrite=overwrite)
    partial = partial_of(place)
    if resume and is_begun(place):
        return partial
    drop_way(place)
    with explained_write(partial):
        partial.mkdir(parents=True)
    write_file(partial / WAY, json.dumps({"format_version": _VERSION, "asked": dict(asked)}, indent=2) + "\n")
    return partial


def drop_way(place: Path) -> None:
    """Removes PLACE.partial, which is whole or gone at every moment."""
    if partial_of(place).exists():
        remove_partial(place)


@contextmanager
def dropped_if_refused(place: Path) -> Iterator[None]:
    """Removes PLACE.partial where the block refuses what it was given before anything was learned."""
    try:
        yield
    except EdgexferError:
        partial = partial_of(place)
        if not (partial / RUNNING / HISTORY).exists() and not any(partial.glob("point-*")):
            drop_way(place)
        raise


def _said(value: object) -> str:
    return "unset" if value is None else str(value)
