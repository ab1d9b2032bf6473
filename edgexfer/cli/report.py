"""`edgexfer report`: one HTML page on a checkpoint or a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgexfer.cli import show


def report(
    artifact: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A checkpoint or a bundle.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="The page; by default beside the artifact.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DATA", help="Where a bundle's images are; by default where they were when it was judged."
        ),
    ] = None,
    gate: Annotated[
        Path | None,
        typer.Option("--gate", metavar="FILE.json", help="Verdicts on the bundle: what `edgexfer gate --json` wrote."),
    ] = None,
) -> None:
    """Write one self-contained HTML page: verdicts, curves, confusion, images, float and INT8, latency, provenance."""
    from edgexfer.gate.report.page import report as write_report
    from edgexfer.gate.report.verdicts import read_gate

    place = artifact.resolve()
    verdicts = None if gate is None else read_gate(gate)
    page = write_report(artifact, out or place.with_name(f"{place.name}.html"), data=data, gate=verdicts)
    show.line(f"report: {page}")
