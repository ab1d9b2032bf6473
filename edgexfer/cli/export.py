"""`edgexfer export`: a checkpoint becomes the bundle that a target runs best."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgexfer.cli import show
from edgexfer.cli.options import DeviceOption, OverwriteOption, named
from edgexfer.cli.parts import needs
from edgexfer.cli.training import loading, log_lines, reading_bar
from edgexfer.core.errors import EdgexferError
from edgexfer.core.manifest import read_manifest

if TYPE_CHECKING:
    from edgexfer.flow.export import Exported


class PrecisionChoice(str, Enum):
    """What may be shipped."""

    auto = "auto"
    int8 = "int8"
    float32 = "float32"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A checkpoint that `edgexfer finetune` made.")],
    target: Annotated[str, typer.Option("--target", metavar="NAME|FILE", help="The device; see `edgexfer targets`.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="BUNDLE", help="The bundle; by default NAME.edgx here.")
    ] = None,
    precision: Annotated[
        PrecisionChoice | None, typer.Option("--precision", help="Overrides what the target says.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", help="Of quantization-aware training; 0 only calibrates.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="The images, where they have moved since.")
    ] = None,
    device: DeviceOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make the bundle that a target runs best, and prove it.

    Quantizes with quantization-aware training, lowers to the target's dialect, compares with PyTorch, judges float
    and INT8 on the same held-out images, times them in turns, and ships the fastest that holds the accuracy.
    """
    from edgexfer.core.target import load_target

    profile = load_target(target)
    read_manifest(run, "checkpoint")
    if epochs is not None and epochs < 0:
        raise EdgexferError(f"--epochs is {epochs}, expected 0 or more")
    with needs("train"), loading():
        from edgexfer.flow.export import default_bundle
        from edgexfer.flow.export import export as flow

    bundle = named(out) if out else default_bundle(run)
    with log_lines(), reading_bar() as moved:
        made = flow(
            run,
            profile,
            bundle,
            precision=precision.value if precision else None,
            data=data,
            epochs=epochs,
            device=device.value if device else "auto",
            overwrite=overwrite,
            progress=moved,
        )
    print_exported(made)
    place = shlex.quote(str(made.bundle.folder))
    show.line(f"next: edgexfer predict {place} photo.jpg", "bold")
    show.line(f"      edgexfer report {place}")


def print_exported(made: Exported) -> None:
    """Prints the table of precisions, what was decided, and what to know before shipping."""
    from edgexfer.gate.side_by_side import compared

    comparison = compared(made.measured)
    if comparison is None:
        return
    names = [name + (" (shipped)" if shipped else "") for name, shipped in comparison.precisions]
    table = show.table("", *names, "change", right=(*names, "change"))
    for row in comparison.rows:
        table.add_row(row.name, *row.cells, row.change)
    show.console().print(table)
    for sentence in (comparison.paired, comparison.machine):
        if sentence:
            show.line(sentence, "dim")
    for warning in made.warnings:
        show.warn(warning)
    show.line(made.decision)
    show.line(f"bundle: {made.bundle.folder}", "bold green")
