"""`edgexfer compress`: a float checkpoint becomes an INT8 one that has learned with its quantizers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from edgexfer.cli import show
from edgexfer.cli.checkpoint import points, print_checkpoint
from edgexfer.cli.control import print_control
from edgexfer.cli.options import (
    AccuracyControlOption,
    DeviceOption,
    LoggerOption,
    OverwriteOption,
    PruneOption,
    SparsityHowOption,
    SparsityOption,
    TrackingOption,
    named,
)
from edgexfer.cli.parts import needs
from edgexfer.cli.pruning import asked_goal, print_pruning
from edgexfer.cli.sparsity import asked_sparsity, print_sparsity
from edgexfer.cli.targets import named_target
from edgexfer.cli.training import going_on_with, loading, log_lines, reading_bar, tracking_of
from edgexfer.core.errors import ArtifactError
from edgexfer.core.target import Target
from edgexfer.train.prune.goal import Goal, pruned_place
from edgexfer.train.sparse.asked import Sparsity, sparse_place

_TARGET = "x86-cpu"


def compress(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A checkpoint that `edgexfer finetune` made.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="RUN2", help="The new checkpoint; by default RUN.int8- and the dialect."),
    ] = None,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME|FILE", help="Decides the form of INT8; see `edgexfer targets`.")
    ] = _TARGET,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", help="0 calibrates only; by default the number of images decides."),
    ] = None,
    prune: PruneOption = None,
    prune_epochs: Annotated[
        int | None,
        typer.Option("--prune-epochs", metavar="N", help="Of learning again at each point on the way of --prune."),
    ] = None,
    sparsity: SparsityOption = None,
    sparsity_how: SparsityHowOption = None,
    sparsity_epochs: Annotated[
        int | None,
        typer.Option(
            "--sparsity-epochs", metavar="N", help="Of learning again at each point on the way of --sparsity."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="The images, where they lie elsewhere by now.")
    ] = None,
    device: DeviceOption = None,
    accuracy_control: AccuracyControlOption = True,
    overwrite: OverwriteOption = False,
    logger: LoggerOption = None,
    tracking: TrackingOption = None,
) -> None:
    """Train RUN to bear 8-bit arithmetic.

    `edgexfer export` does this by itself; as a step of its own it serves to try epochs and targets.

    With --prune channels are removed first; the pruned float network stays as RUN.pruned-MEASURE-RATIO.

    With --sparsity weights are set to zero and stay zero; the sparse float network stays as RUN.sparse-SHARE.
    """
    profile = named_target(target)
    goal = asked_goal(prune, run, profile, prune_epochs)
    zeros = asked_sparsity(sparsity, sparsity_how, run, sparsity_epochs)
    place = named(out) if out else default_out(_sparse(_pruned(run, goal, profile), zeros), profile)
    _check_at_once(run, place, overwrite=overwrite)
    tracked = tracking_of(logger, tracking)
    with needs("train"), loading():
        from edgexfer.train.checkpoint import open_checkpoint
        from edgexfer.train.quantize.accuracy_control import hold_accuracy
        from edgexfer.train.quantize.qat import compress as stage

    with going_on_with(lambda: ""), log_lines(), tracked, reading_bar() as moved:
        where = "auto" if device is None else device.value
        floats = open_checkpoint(run)
        if goal is not None:
            from edgexfer.flow.prune import prune as prune_stage

            floats = prune_stage(
                run, None, profile, goal,
                data=data, epochs=prune_epochs, device=where, progress=moved, tracked=tracked,
            )  # fmt: skip
        if zeros is not None:
            from edgexfer.flow.sparsify import sparsify as sparsity_stage

            floats = sparsity_stage(
                run if goal is None else floats.folder, None, zeros,
                data=data, epochs=sparsity_epochs, device=where, progress=moved, tracked=tracked,
            )  # fmt: skip
        made = stage(
            floats,
            profile,
            place,
            data=data,
            epochs=epochs,
            device=where,
            overwrite=overwrite,
            progress=moved,
            tracked=tracked,
        )
        if accuracy_control and not profile.allows(_loss(made.manifest, "val")):
            made = hold_accuracy(made, floats, profile, data=data, progress=moved)
    print_control(made.folder)
    print_pruning(made.manifest.get("pruning"))
    print_sparsity(made.manifest.get("sparsity"))
    print_checkpoint(made.folder, made.manifest)
    _warn_of_loss(made.manifest, profile)
    show.line(f"next: edgexfer export {shlex.quote(str(made.folder))} --target {shlex.quote(target)}", "bold")


def default_out(run: Path, target: Target) -> Path:
    """Returns `RUN.int8-<dialect>`, beside RUN."""
    place = named(run)
    return place.with_name(f"{place.name}.int8-{target.dialect}")


def _pruned(run: Path, goal: Goal | None, target: Target) -> Path:
    return run if goal is None else pruned_place(named(run), goal, target)


def _sparse(run: Path, sparsity: Sparsity | None) -> Path:
    return run if sparsity is None else sparse_place(named(run), sparsity)


def _check_at_once(run: Path, place: Path, *, overwrite: bool) -> None:
    """Finds what is wrong before seconds go into loading PyTorch. The stage checks all of it again."""
    from edgexfer.core.manifest import read_manifest
    from edgexfer.core.staging import refuse_existing

    unfinished = not run.exists() and Path(f"{run}.partial").exists()  # `open_checkpoint` tells it apart
    if not unfinished and read_manifest(run, "checkpoint").get("quantization") is not None:
        raise ArtifactError(f"{run} is quantized, expected a float checkpoint", "give the RUN it was made from")
    refuse_existing(place, overwrite=overwrite)


def _warn_of_loss(manifest: dict[str, Any], target: Target) -> None:
    split = "test" if "test" in manifest["metrics"] else "val"
    loss = _loss(manifest, split)
    if not target.allows(loss):
        show.warn(
            f"INT8 loses {points(loss)} of top-1 on {split}, {target.name} allows {points(target.max_drop)}: "
            "more --epochs may mend it, and `edgexfer export` judges image by image"
        )


def _loss(manifest: dict[str, Any], split: str) -> float:
    return float(manifest["float_metrics"][split]["top1"] - manifest["metrics"][split]["top1"])
