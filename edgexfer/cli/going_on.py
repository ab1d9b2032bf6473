"""What `--resume` means to a verb that prunes: refused before PyTorch is loaded, and the command that Ctrl-C prints."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from edgexfer.cli.options import named
from edgexfer.core.errors import EdgexferError, SettingsError
from edgexfer.core.manifest import read_manifest
from edgexfer.core.target import Target
from edgexfer.train.interrupted import partial_of
from edgexfer.train.prune.goal import Goal, pruned_place
from edgexfer.train.prune.way import check_way, is_begun
from edgexfer.train.sparse.asked import Sparsity, sparse_place


def places_on_the_way(run: Path, target: Target, goal: Goal | None, sparsity: Sparsity | None) -> list[Path]:
    """Returns where the pruned and then the sparse checkpoint lie, those of them that are asked for."""
    places = [] if goal is None else [pruned_place(named(run), goal, target)]
    return places if sparsity is None else [*places, sparse_place(places[0] if places else named(run), sparsity)]


def asked_on_the_way(
    run: Path,
    target: Target,
    goal: Goal | None,
    prune_epochs: int | None,
    sparsity: Sparsity | None,
    sparsity_epochs: int | None,
) -> list[dict[str, Any]]:
    """Returns what is asked for of each of `places_on_the_way`, as far as it is known before PyTorch is loaded."""
    asked: list[dict[str, Any]] = []
    if goal is not None:
        asked.append({"made": "pruning", "goal": str(goal), "target": target.name, "epochs": prune_epochs})
    if sparsity is not None:
        asked.append({"made": "sparsity", "asked": str(sparsity), "how": sparsity.how, "epochs": sparsity_epochs})
    if asked and run.exists():
        asked[0]["parent"] = read_manifest(run, "checkpoint")["digest"]
    return asked


def check_going_on(places: Sequence[Path], asked: Sequence[dict[str, Any]], *, resume: bool, overwrite: bool) -> None:
    """Refuses what the stages would refuse, as far as it can be told by now.

    Args:
        places: as `places_on_the_way` gives them.
        asked: for each what is asked for: see edgexfer/train/prune/way.py.
        resume: whether `--resume` is given.
        overwrite: whether `--overwrite` is given.

    Raises:
        SettingsError: there is nothing that can be resumed, or what was interrupted was begun otherwise.
        ArtifactError: what was interrupted cannot be read.
        EdgexferError: what was interrupted is there, and neither is given.
    """
    if resume and not places:
        raise SettingsError(
            "--resume goes on with --prune or --sparsity, and neither is given",
            "leave it away: quantizing takes minutes, and begins anew",
        )
    if resume and not any(place.exists() or partial_of(place).exists() for place in places):
        raise EdgexferError(
            f"there is nothing to resume: {partial_of(places[0])} does not exist", "leave --resume away to begin"
        )
    for place, wanted in zip(places, asked, strict=True):
        if place.exists():
            continue  # whether it is what is asked for is seen when it is opened
        check_way(place, wanted, resume=resume and is_begun(place), overwrite=overwrite)


def how_to_go_on(context: typer.Context, places: Sequence[Path]) -> str:
    """Returns the command as it was given, with --resume; "" where nothing was reached that it could go on from."""
    if not any(place.exists() or is_begun(place) for place in places):
        return ""
    words = []
    for option in context.command.params:
        name, value = str(option.name), context.params.get(str(option.name))
        source = context.get_parameter_source(name)
        if name == "resume" or source is None or source.name != "COMMANDLINE":
            continue
        if option.param_type_name == "argument":
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(option.opts[0] if value else option.secondary_opts[0])
        else:
            for one in value if isinstance(value, (list, tuple)) else (value,):
                words += [option.opts[0], str(getattr(one, "value", one))]
    return " ".join(["edgexfer", str(context.info_name), *map(shlex.quote, words), "--resume"])
