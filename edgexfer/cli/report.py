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
) -> None:
    """Write one self-contained HTML page: curves, confusion, float and INT8 side by side, provenance."""
    from edgexfer.gate.report.page import report as write_report

    place = artifact.resolve()
    page = write_report(artifact, out or place.with_name(f"{place.name}.html"))
    show.line(f"report: {page}")
