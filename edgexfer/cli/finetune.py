"""`edgexfer finetune`: a folder of images becomes a checkpoint."""

from __future__ import annotations

import dataclasses
import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgexfer.cli import show
from edgexfer.cli.checkpoint import print_checkpoint
from edgexfer.cli.finetune_checks import (
    Begun,
    as_begun,
    check_at_once,
    check_target,
    how_to_go_on,
    record_of,
)
from edgexfer.cli.options import DeviceOption, GroupOption, LoggerOption, OverwriteOption, TrackingOption, named
from edgexfer.cli.parts import needs
from edgexfer.cli.targets import named_target
from edgexfer.cli.training import follows, going_on_with, loading, log_lines, reading_bar, tracking_of
from edgexfer.core.errors import EdgexferError, SettingsError

if TYPE_CHECKING:
    from edgexfer.train.settings import FinetuneSettings

_RUNS = Path("runs")


class Resize(str, Enum):
    """How an image that is not square becomes so."""

    cover = "cover"
    stretch = "stretch"


class Augmentation(str, Enum):
    """How training images are changed."""

    auto = "auto"
    none = "none"
    light = "light"
    trivial = "trivial"
    rand = "rand"


def finetune(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder of class folders, or a CSV with path,label.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="The checkpoint; by default runs/ and the name of DATA.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="NAME|auto", help="Where to start from; see `edgexfer backbones`."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="NAME|FILE", help="With --backbone auto: whose limits on latency count."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="auto|none|FILE", help="Its weights: ImageNet's, random ones, or a file's."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", metavar="NAME", help="How it learns; auto looks at the images."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", help="At most; by default the number of images decides.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Steps in all, where an epoch is too long a measure.")
    ] = None,
    val: Annotated[
        Path | None, typer.Option("--val", metavar="DATA", help="Validate with these; DATA is then all for training.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Go on with this checkpoint's network and classes.")
    ] = None,
    unlabeled: Annotated[
        Path | None, typer.Option("--unlabeled", metavar="DIR", help="Images without classes, for adapt and pretrain.")
    ] = None,
    target_val: Annotated[
        Path | None,
        typer.Option("--target-val", metavar="DATA", help="Labelled images of the new domain; they judge adapt."),
    ] = None,
    time_budget_s: Annotated[
        float | None, typer.Option("--time-budget", metavar="SECONDS", help="What auto plans to stay within.")
    ] = None,
    group: GroupOption = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of split, order and augmentation.")] = None,
    device: DeviceOption = None,
    input_size: Annotated[
        int | None, typer.Option("--input-size", metavar="N", help="Side in pixels; by default the images decide.")
    ] = None,
    resize: Annotated[
        Resize | None, typer.Option("--resize", help="Fill the square and cut the rest, or stretch to it.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", metavar="N", help="Images per step.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", metavar="X", help="Of the classifier, at its peak.")
    ] = None,
    find_learning_rate: Annotated[
        bool | None,
        typer.Option("--find-learning-rate/--no-find-learning-rate", help="Look for it by a range test, then train."),
    ] = None,
    augmentation: Annotated[
        Augmentation | None, typer.Option("--augmentation", help="How training images are changed; auto by default.")
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror/--no-mirror", help="Train on mirrored images too; by default the images decide."),
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict/--no-strict", help="Accept no file that cannot be used.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    overwrite: OverwriteOption = False,
    logger: LoggerOption = None,
    tracking: TrackingOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings; flags override what it says.")
    ] = None,
) -> None:
    """Fine-tune a pretrained network on DATA.

    Images are divided into train, val and test unless DATA is divided already.

    The epoch that does best on val is kept. What was interrupted goes on with --resume.
    """
    flags = {
        "backbone": backbone,
        "weights": weights,
        "strategy": strategy,
        "epochs": epochs,
        "time_budget_s": time_budget_s,
        "steps": steps,
        "group": group,
        "seed": seed,
        "device": device and device.value,
        "input_size": input_size,
        "resize": resize and resize.value,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "find_learning_rate": find_learning_rate,
        "augmentation": augmentation and augmentation.value,
        "mirror": mirror,
        "strict": strict,
        "target_val": target_val and str(target_val.absolute()),
    }
    if follows():  # under torchrun or srun: the first process does the rest
        return
    given = {name: value for name, value in flags.items() if value is not None}
    run = named(out) if out else default_run(data)
    settings = settings_of(config, given)
    wanted = {**_table(config), **given}
    begun = Begun(val, start, unlabeled, settings.group)
    check_target(target, settings.backbone)
    from edgexfer.train.interrupted import is_finished

    finished = record_of(run).exists() and is_finished(run)
    if resume:
        begun = as_begun(run, wanted, begun)
    elif record_of(run).exists() and not overwrite and not finished:
        replacing = " --overwrite" if run.exists() else ""
        raise EdgexferError(
            f"{record_of(run).parent} holds an interrupted run",
            f"go on with --resume{replacing}, or begin anew with --overwrite",
        )
    else:
        from edgexfer.train.asked import check_asked

        check_asked(wanted, data, start, unlabeled)
    profile = None if target is None else named_target(target)
    check_at_once(data, begun, run, settings.backbone, overwrite=overwrite or (resume and finished))
    tracked = tracking_of(logger, tracking)
    from edgexfer.train.backbones import AUTO

    chosen: dict[str, Any] = {}
    with needs("train"), loading():
        from edgexfer.flow.backbone import with_backbone
        from edgexfer.train.finetune import finetune as stage
    with going_on_with(lambda: how_to_go_on(data, run)), log_lines(), tracked, reading_bar() as moved:
        if settings.backbone == AUTO and not resume:
            settings, chosen = with_backbone(data, begun.val, settings, profile)
        made = stage(
            data,
            run,
            settings,
            known=chosen,
            val=begun.val,
            start=begun.start,
            unlabeled=begun.unlabeled,
            resume=resume,
            overwrite=overwrite,
            progress=moved,
            tracked=tracked,
        )
    print_checkpoint(made.folder, made.manifest)
    names = [run["tracker"] for run in made.manifest.get("trackers") or ()]
    further = "".join(f" --logger {name}" for name in names)
    show.line(f"next: edgexfer export {shlex.quote(str(made.folder))} --target x86-cpu{further}", "bold")


def default_run(data: Path) -> Path:
    """Returns `runs/<name of DATA>`: of a CSV or a shard the name without its suffix, of several what they share.

    Raises:
        SettingsError: DATA has no name of its own.
    """
    place = data.resolve()
    is_file = place.suffix.lower() in (".csv", ".tar", ".parquet") and not place.is_dir()
    name = place.stem.partition("{")[0].rstrip("-_.") or place.parent.name if is_file else place.name
    if not name:
        raise SettingsError(f"{data} has no name that the checkpoint could have", "choose one with --out RUN")
    return _RUNS / name


def settings_of(config: Path | None, given: dict[str, Any]) -> FinetuneSettings:
    """Returns the settings of a TOML file, overridden by flags.

    Args:
        config: a file whose keys are the fields of FinetuneSettings, or None.
        given: the flags that were really given, by field.

    Raises:
        SettingsError: an unknown key ("did you mean"), or a value of a wrong type or out of range.
    """
    from edgexfer.core.toml import from_table
    from edgexfer.train.settings import FinetuneSettings

    settings = from_table(FinetuneSettings, _table(config), str(config))
    return dataclasses.replace(settings, **given)


def _table(config: Path | None) -> dict[str, Any]:
    from edgexfer.core.toml import read_toml

    return {} if config is None else read_toml(config)
