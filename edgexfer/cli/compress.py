"""`edgexfer compress`: a float checkpoint becomes an INT8 one that has learned with its quantizers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from edgexfer.cli import show
from edgexfer.cli.checkpoint import points, print_checkpoint
from edgexfer.cli.control import print_control
from edgexfer.cli.going_on import asked_on_the_way, check_going_on, how_to_go_on, places_on_the_way
from edgexfer.cli.options import (
    AccuracyControlOption,
    DeviceOption,
    KeepInputSizeOption,
    LoggerOption,
    OverwriteOption,
    PruneEpochsOption,
    PruneOption,
    ResumeWayOption,
    SparsityEpochsOption,
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

_TARGET = "x86-cpu"


def compress(
    context: typer.Context,
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
    prune_epochs: PruneEpochsOption = None,
    keep_input_size: KeepInputSizeOption = False,
    sparsity: SparsityOption = None,
    sparsity_how: SparsityHowOption = None,
    sparsity_epochs: SparsityEpochsOption = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="The images, where they lie elsewhere by now.")
    ] = None,
    device: DeviceOption = None,
    accuracy_control: AccuracyControlOption = True,
    resume: ResumeWayOption = False,
    overwrite: OverwriteOption = False,
    logger: LoggerOption = None,
    tracking: TrackingOption = None,
) -> None:
    """Train RUN to bear 8-bit arithmetic.

    `edgexfer export` does this by itself; as a step of its own it serves to try epochs and targets.

    With --prune channels are removed first; the pruned float network stays as RUN.pruned-MEASURE-RATIO.

    With --sparsity weights are set to zero and stay zero; the sparse float network stays as RUN.sparse-SHARE.

    Both keep what they reached: interrupted, the same command with --resume goes on.
    """
    profile = named_target(target)
    goal = asked_goal(prune, run, profile, prune_epochs, keep_input_size=keep_input_size)
    zeros = asked_sparsity(sparsity, sparsity_how, run, sparsity_epochs)
    way = places_on_the_way(run, profile, goal, zeros)
    place = named(out) if out else default_out(way[-1] if way else run, profile)
    _check_at_once(run, place, overwrite=overwrite)
    wanted = asked_on_the_way(run, profile, goal, prune_epochs, zeros, sparsity_epochs)
    check_going_on(way, wanted, resume=resume, overwrite=overwrite)
    tracked = tracking_of(logger, tracking)
    with needs("train"), loading():
        from edgexfer.train.checkpoint import open_checkpoint
        from edgexfer.train.quantize.accuracy_control import hold_accuracy
        from edgexfer.train.quantize.qat import compress as stage

    with going_on_with(lambda: how_to_go_on(context, way)), log_lines(), tracked, reading_bar() as moved:
        where = "auto" if device is None else device.value
        learning: dict[str, Any] = {"data": data, "device": where, "progress": moved, "tracked": tracked}
        learning["overwrite"] = overwrite
        floats = open_checkpoint(run)
        if goal is not None:
            from edgexfer.flow.prune import prune as prune_stage

            floats = prune_stage(run, None, profile, goal, epochs=prune_epochs, resume=resume, **learning)
        if zeros is not None:
            from edgexfer.flow.sparsify import sparsify as sparsity_stage

            dense = run if goal is None else floats.folder
            floats = sparsity_stage(dense, None, zeros, epochs=sparsity_epochs, resume=resume, **learning)
        made = stage(floats, profile, place, epochs=epochs, **learning)
        if accuracy_control and not profile.allows(_loss(made.manifest, "val")):
            made = hold_accuracy(made, floats, profile, data=data, progress=moved)
    print_control(made.folder, made.manifest)
    print_pruning(made.manifest.get("pruning"))
    print_sparsity(made.manifest.get("sparsity"))
    print_checkpoint(made.folder, made.manifest)
    _warn_of_loss(made.manifest, profile)
    show.line(f"next: edgexfer export {shlex.quote(str(made.folder))} --target {shlex.quote(target)}", "bold")


def default_out(run: Path, target: Target) -> Path:
    """Returns `RUN.int8-<dialect>`, beside RUN."""
    place = named(run)
    return place.with_name(f"{place.name}.int8-{target.dialect}")


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
