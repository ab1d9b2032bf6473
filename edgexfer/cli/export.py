"""`edgexfer export`: a checkpoint becomes the bundle that a target runs best."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgexfer.cli import show
from edgexfer.cli.build import print_measured, print_trtexec
from edgexfer.cli.control import print_control
from edgexfer.cli.devices import print_devices
from edgexfer.cli.going_on import asked_on_the_way, check_going_on, how_to_go_on, places_on_the_way
from edgexfer.cli.options import (
    AccuracyControlOption,
    DeviceOption,
    KeepInputSizeOption,
    LoggerOption,
    OnOption,
    OverwriteOption,
    PrecisionName,
    PrecisionOption,
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
from edgexfer.core.errors import EdgexferError, SettingsError
from edgexfer.core.target import Target
from edgexfer.core.unknown import KNOWN_SHARE, check_known_share

if TYPE_CHECKING:
    from edgexfer.core.bundle import Bundle
    from edgexfer.flow.export import Exported


def export(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A checkpoint that `edgexfer finetune` made.")],
    target: Annotated[str, typer.Option("--target", metavar="NAME|FILE", help="The device; see `edgexfer targets`.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="BUNDLE", help="The bundle; by default NAME.edgx here.")
    ] = None,
    precision: PrecisionOption = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", help="Of quantization-aware training; 0 only calibrates.")
    ] = None,
    prune: PruneOption = None,
    prune_epochs: PruneEpochsOption = None,
    keep_input_size: KeepInputSizeOption = False,
    sparsity: SparsityOption = None,
    sparsity_how: SparsityHowOption = None,
    sparsity_epochs: SparsityEpochsOption = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="The images, where they have moved since.")
    ] = None,
    device: DeviceOption = None,
    on: OnOption = None,
    known_share: Annotated[
        float | None,
        typer.Option("--known-share", metavar="X", help="Of images like val's not called unknown; by default 0.95."),
    ] = None,
    accuracy_control: AccuracyControlOption = True,
    resume: ResumeWayOption = False,
    overwrite: OverwriteOption = False,
    logger: LoggerOption = None,
    tracking: TrackingOption = None,
) -> None:
    """Make the bundle that a target runs best, and prove it.

    Quantizes with quantization-aware training, lowers to the target's dialect, compares with PyTorch, judges float
    and INT8 on the same held-out images, times them in turns, and ships the fastest that holds the accuracy.

    Where INT8 loses too much, the fewest layers that mend it go back to float, found on the validation images.

    With --on the candidates are copied to the device, built, judged and timed there, and the numbers come back.

    With --prune channels are removed first, and the table of what that cost on the way is printed.

    With --sparsity weights are set to zero, and what that gains in size and speed on this target is measured and said.

    Both keep what they reached: interrupted, the same command with --resume goes on.

    With --logger figures, bundle and report are logged, in the run that fine-tuning began where it has one.
    """
    profile = named_target(target)
    bundle = named(out) if out else default_bundle(run)
    if epochs is not None and epochs < 0:
        raise SettingsError(f"--epochs is {epochs}, expected 0 or more")
    share = KNOWN_SHARE if known_share is None else known_share
    check_known_share(share)
    goal = asked_goal(prune, run, profile, prune_epochs, keep_input_size=keep_input_size)
    zeros = asked_sparsity(sparsity, sparsity_how, run, sparsity_epochs)
    _check_at_once(run, profile, bundle, precision, overwrite=overwrite)
    way = places_on_the_way(run, profile, goal, zeros)
    wanted = asked_on_the_way(run, profile, goal, prune_epochs, zeros, sparsity_epochs)
    check_going_on(way, wanted, resume=resume, overwrite=overwrite)
    tracked = tracking_of(logger, tracking)
    with needs("train"), loading():
        from edgexfer.flow.export import export as flow

    with going_on_with(lambda: how_to_go_on(context, way)), log_lines(), tracked, reading_bar() as moved:
        made = flow(
            run,
            profile,
            bundle,
            precision=precision.value if precision else None,
            data=data,
            epochs=epochs,
            device=device.value if device else "auto",
            on=tuple(on or ()),
            known_share=share,
            accuracy_control=accuracy_control,
            resume=resume,
            overwrite=overwrite,
            goal=goal,
            prune_epochs=prune_epochs,
            sparsity=zeros,
            sparsity_epochs=sparsity_epochs,
            progress=moved,
            tracked=tracked,
        )
    print_exported(made)
    _print_next(made)
    if any(device.error is not None for device in made.devices):
        raise typer.Exit(2)


def _print_next(made: Exported) -> None:
    from edgexfer.backends import missing_here
    from edgexfer.core.trtexec import only_by_trtexec

    target, place = made.bundle.target, shlex.quote(str(made.bundle.folder))
    if only_by_trtexec(target):
        show.line(f"next, on the device (`edgexfer build {place} --trtexec` prints it again):", "bold")
        print_trtexec(made.bundle)
    elif missing_here(target.backend) is None:
        show.line(f"next: edgexfer predict {place} photo.jpg", "bold")
    elif made.devices:
        show.line(f"next, on the device: edgexfer predict {place} photo.jpg", "bold")
    else:
        show.line(f"next, on the device: edgexfer build {place}", "bold")
        show.line(f"      or simulated: edgexfer predict {place} photo.jpg --backend ort")
    show.line(f"      edgexfer report {place}")


def default_bundle(run: Path) -> Path:
    """Returns where the bundle of `run` goes unless told otherwise: NAME.edgx in the working folder.

    Raises:
        SettingsError: `run` has no name of its own.
    """
    name = run.resolve().name.partition(".int8-")[0]
    if not name:
        raise SettingsError(f"{run} has no name to call the bundle after", "give --out NAME.edgx")
    return Path(f"{name}.edgx")


def _check_at_once(
    run: Path, target: Target, bundle: Path, precision: PrecisionName | None, *, overwrite: bool
) -> None:
    """Finds what is wrong before seconds go into loading PyTorch. The stages check all of it again."""
    from edgexfer.core.manifest import read_manifest
    from edgexfer.core.staging import refuse_existing

    unfinished = not run.exists() and Path(f"{run}.partial").exists()  # `open_checkpoint` tells it apart
    learned = None if unfinished else read_manifest(run, "checkpoint").get("quantization")
    wanted = precision.value if precision else target.precision
    if learned is not None and wanted in ("float32", "float16"):
        raise SettingsError(f"{run} is quantized, and {wanted} is asked for", "give the float RUN")
    if learned is not None and learned.get("dialect") != target.dialect:
        raise SettingsError(
            f"{run} learned the dialect {learned.get('dialect')}, {target.name} wants {target.dialect}",
            "export the float RUN: it is quantized for each target anew",
        )
    refuse_existing(bundle, overwrite=overwrite)
    first = next(place for place in bundle.absolute().parents if place.exists())
    if not first.is_dir():
        raise EdgexferError(f"cannot write {bundle}: {first} is a file", "choose another place with --out")


def print_exported(made: Exported) -> None:
    """Prints what pruning cost and accuracy control tried, the table of precisions, what was decided, what to know."""
    print_pruning(made.bundle.manifest.get("provenance", {}).get("pruning"))
    print_sparsity(made.bundle.manifest.get("sparsity"), made.bundle.target.name)
    print_control(made.bundle.folder, made.bundle.manifest)
    print_measured(made.measured)
    if made.devices:
        print_devices(made.devices)
    for warning in made.warnings:
        show.warn(warning)
    show.line(made.decision)
    _print_unknown(made.bundle)
    show.line(f"bundle: {made.bundle.folder}", "bold green")


def _print_unknown(bundle: Bundle) -> None:
    record = bundle.manifest.get("unknown")
    if record is None or bundle.known_from is None:
        return
    found = record["precisions"][bundle.precision]
    others = f", and of the others held out {show.percent(found['held_out'])}" if "held_out" in found else ""
    made = ", ".join(f"{kind} {show.percent(share)}" for kind, share in found["generated"].items())
    show.line(
        f"unknown: images with a score below {show.percent(bundle.known_from)}; {show.percent(found['val'])} of "
        f"{show.count(record['images'], 'validation image')} stay known{others}"
    )
    show.line(f"         called so of pictures made of random numbers: {made}", "dim")
