"""`edgexfer build`: on the device, a bundle's engines are compiled, held to its references, measured, and chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgexfer.cli import show
from edgexfer.cli.options import BundleArgument, PrecisionOption, RecordOption, ThreadsOption
from edgexfer.cli.training import going_on_with, log_lines
from edgexfer.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgexfer.core.bundle import Bundle
    from edgexfer.core.engines import BuiltEngine
    from edgexfer.flow.build import Built
    from edgexfer.gate.measure.measured import Measured


def build(
    bundle: BundleArgument,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DATA", help="Images to judge by; without, accuracy is what export found."),
    ] = None,
    precision: PrecisionOption = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="How long each pair is timed that competes; 6.")
    ] = None,
    threads: ThreadsOption = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build even where an engine is there that fits.")] = False,
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="Keep what was chosen here before; for the start of a service.")
    ] = False,
    trtexec: Annotated[
        bool, typer.Option("--trtexec", help="Only print the trtexec lines that do the same by hand.")
    ] = False,
    json_file: RecordOption = None,
) -> None:
    """Compile a bundle for this machine, measure it, and keep the fastest that holds the accuracy.

    Each candidate in the bundle (FP16, INT8, INT8 with depthwise layers in FP16) becomes an engine, must answer as
    it did at export, and is timed in turns with the others. From then on `load` opens the one that was chosen.
    Where the engine needs no compiling (ONNX Runtime), the file is checked and measured as it is, and the other
    engines that can run it (OpenVINO) compete: one that answers alike and is surely faster is what `load` opens.
    """
    show.check_place(json_file)
    if rebuild and if_needed:
        raise SettingsError("--rebuild and --if-needed contradict each other", "give one of them")
    if trtexec:
        from edgexfer.core.bundle import open_bundle

        print_trtexec(open_bundle(bundle))
        return
    from edgexfer.flow import build as flow

    quiet = json_file == "-"
    with going_on_with(lambda: ""), log_lines(stderr=True), show.progress("building") as moved:
        made = flow.build(
            bundle,
            data=data,
            precision=precision.value if precision else None,
            rebuild=rebuild,
            if_needed=if_needed,
            seconds=flow.BENCH_SECONDS if seconds is None else seconds,
            threads=threads,
            progress=moved,
        )
    if not quiet:
        print_built(made)
    for warning in made.warnings:
        show.warn(warning)
    if json_file is not None:
        show.write_record(made.to_json(), json_file)


def print_built(made: Built) -> None:
    """Prints the engines, the table of candidates and what was decided."""
    where = f", {made.device}" if made.device else ""
    show.line(f"{made.bundle.folder} on this machine ({made.engine}{where})", "bold")
    if made.engines:
        show.console().print(_engines(made.engines))
    else:
        show.line("nothing to compile: the file runs as it is")
    print_measured(made.measured)
    show.line(made.decision)
    show.line(f"{made.bundle.precision} with {made.engine} is what `load` opens here", "bold green")


def print_measured(measured: Sequence[Measured]) -> None:
    """Prints the figures of every candidate side by side; nothing where none was measured."""
    from edgexfer.gate.report.side_by_side import compared

    comparison = compared(measured)
    if comparison is None:
        return
    names = [name + (" (shipped)" if shipped else "") for name, shipped in comparison.precisions]
    change = ("change",) if len(names) > 1 else ()
    table = show.table("", *names, *change, right=(*names, *change))
    for row in comparison.rows:
        table.add_row(row.name, *row.cells, *((row.change,) if change else ()))
    show.console().print(table)
    for sentence in (comparison.paired, comparison.machine):
        if sentence:
            show.line(sentence, "dim")


def _engines(engines: Sequence[BuiltEngine]) -> object:
    table = show.table("engine", "MB", "built in s", "why", right=("MB", "built in s"))
    for engine in engines:
        seconds = "–" if engine.reused else f"{engine.build_seconds:.0f}"
        table.add_row(engine.precision, f"{engine.size_bytes / 1e6:.2f}", seconds, show.cell(engine.reason))
    return table


def print_trtexec(bundle: Bundle) -> None:
    """Prints the lines that build each candidate with TensorRT's own program."""
    from edgexfer.core.trtexec import trtexec_lines

    for found in trtexec_lines(bundle):
        show.line(f"# TensorRT {', '.join(found.versions)}: {found.precision}", "dim")
        show.line(found.text)
