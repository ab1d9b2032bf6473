"""Arguments and options that several verbs share, said once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

BundleArgument: TypeAlias = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle (NAME.edgx), or a zip of it.")
]
BackendOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="Engine to run with, such as [cyan]ort[/]; by default what [cyan]build[/] chose here, else the target's.",
    ),
]
ThreadsOption: TypeAlias = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="CPU threads of one inference; by default the target's.")
]
RecordOption: TypeAlias = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the record there; [cyan]-[/] prints it instead.")
]


class PrecisionName(str, Enum):
    """What may be shipped."""

    auto = "auto"
    int8 = "int8"
    int8_depthwise_float16 = "int8-depthwise-float16"
    float16 = "float16"
    float32 = "float32"


PrecisionOption: TypeAlias = Annotated[
    PrecisionName | None, typer.Option("--precision", help="What to ship; by default what the target says.")
]


class Device(str, Enum):
    """Where to train."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


DeviceOption: TypeAlias = Annotated[
    Device | None, typer.Option("--device", help="Where to train; [cyan]auto[/] takes a GPU where there is one.")
]
AccuracyControlOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--accuracy-control/--no-accuracy-control",
        help="Where INT8 loses more than the target allows, leave the fewest layers in float that hold it.",
    ),
]
OnOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="USER@HOST",
        help="Do it on this device over SSH, and bring the numbers back; give it again for several side by side.",
    ),
]


GroupOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="COLUMN|REGEX",
        help="What is never divided, such as one person's images: a column of the CSV, or what a regular expression "
        "with one (...) finds in each path.",
    ),
]


class TrackerName(str, Enum):
    """Where training and bundles can be logged."""

    mlflow = "mlflow"
    tensorboard = "tensorboard"
    wandb = "wandb"


LoggerOption: TypeAlias = Annotated[
    list[TrackerName] | None,
    typer.Option(
        "--logger",
        help="Log to this tracker too, on this machine unless you say otherwise; give it again for several.",
    ),
]
TrackingOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tracking",
        metavar="FOLDER|ADDRESS",
        help="Where --logger writes: a folder, or an MLflow server; by default here, or MLFLOW_TRACKING_URI.",
    ),
]
OverwriteOption: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace an older one there.")]


PruneOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--prune",
        metavar="MEASURE=RATIO",
        help="First remove channels until RATIO is left: [cyan]latency=0.6[/] of the latency, measured with the "
        "target's engine here; [cyan]macs=0.5[/] or [cyan]params=0.5[/], counted. What is left learns again from RUN.",
    ),
]
PruneEpochsOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--prune-epochs", metavar="N", help="Of learning again at each point on the way of --prune."),
]
KeepInputSizeOption: TypeAlias = Annotated[
    bool,
    typer.Option("--keep-input-size", help="With --prune: channels alone may go, the input stays as large as it is."),
]

SparsityOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--sparsity",
        metavar="SHARE|2:4",
        help="First set this share of the weights to zero, such as [cyan]0.6[/]; or [cyan]2:4[/], two of every four "
        "input channels, which NVIDIA's GPUs from Ampere on can skip. The others learn again from RUN.",
    ),
]
SparsityHowOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--sparsity-how",
        metavar="HOW",
        help="Which weights become zero: [cyan]magnitude[/] (the default), or [cyan]regularisation[/]: learned.",
    ),
]
SparsityEpochsOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--sparsity-epochs", metavar="N", help="Of learning again at each point on the way of --sparsity."),
]
ResumeWayOption: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Go on where --prune or --sparsity was interrupted; the rest as it was begun.")
]


def examples(*lines: str) -> str:
    """Returns the text below a verb's help: one example a line, `command  # what it does`."""
    shown = ["[bold]Examples[/bold]"]
    for text in lines:
        command, _, comment = text.partition("  # ")
        shown.append(f"[cyan]{command}[/cyan]" + (f"  [dim]# {comment}[/dim]" if comment else ""))
    return "\n\n".join(shown)


def named(place: Path) -> Path:
    """Returns `place` as a path that ends in the folder's own name, not in "." or "..": siblings are made from it."""
    return place if place.name not in ("", "..") else place.resolve()
