"""`edgexfer demo`: the whole way on an example that needs no images and no network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from edgexfer.cli import show
from edgexfer.cli.export import print_exported
from edgexfer.cli.parts import needs
from edgexfer.cli.training import loading, log_lines, reading_bar


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything goes.")] = Path("demo"),
) -> None:
    """Go the whole way on an embedded example: fine-tune, quantize, export, verify, measure, predict.

    1,797 scans of handwritten digits from scikit-learn, EfficientNet-Lite0 with its ImageNet weights: minutes on a
    PC, without a network.
    """
    with needs("train"), loading():
        from edgexfer.flow.demo import demo as flow

    with log_lines(), reading_bar() as moved:
        made = flow(out, progress=moved)
    print_exported(made.exported)
    found = made.prediction
    show.line(f"{made.sample}: {found.label} ({found.score:.1%})")
    bundle = made.exported.bundle.folder
    show.line(f"checkpoint: {made.run}")
    show.line(f"report: {made.report}", "bold green")
    show.line("next, with your own images (one folder a class):", "bold")
    show.line("  edgexfer finetune photos/ --out runs/mine")
    show.line("  edgexfer export runs/mine --target x86-cpu")
    show.line(f"or look closer: edgexfer bench {shlex.quote(str(bundle))}")
