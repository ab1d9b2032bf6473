"""`edgexfer sweep`: many fine-tunings, and the Pareto front of accuracy against measured latency."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgexfer.cli import show
from edgexfer.cli.finetune import default_run
from edgexfer.cli.options import DeviceOption, PrecisionName, named
from edgexfer.cli.parts import needs
from edgexfer.cli.targets import named_target
from edgexfer.cli.training import going_on_with, loading, log_lines
from edgexfer.core.errors import SettingsError

if TYPE_CHECKING:
    from edgexfer.flow.sweep.outcome import Sweep, Tried
    from edgexfer.train.settings import FinetuneSettings

_SWEEPS = Path("sweeps")
_KINDS = ("complete", "repeated", "pruned", "infeasible", "failed", "running", "waiting")


def sweep(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder of class folders, or a CSV with path,label.")],
    target: Annotated[str, typer.Option("--target", metavar="NAME|FILE", help="The device; see `edgexfer targets`.")],
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", help="Trials in the study, those of all workers together.")
    ] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Its folder; by default sweeps/ and the name of DATA.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="A database that several machines share, such as [cyan]postgresql://user@host/name[/]; "
            "by default SQLite in DIR.",
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Its name in the database; by default that of DIR.")
    ] = None,
    time_budget: Annotated[
        float | None, typer.Option("--time-budget", metavar="S", help="Begin no trial that would end later.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.toml", help="Settings that are fixed, and a table [space]."),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", metavar="NAME", help="Search this one; again for several. By default all at hand."),
    ] = None,
    input_size: Annotated[
        list[int] | None,
        typer.Option(
            "--input-size", metavar="N", help="Search this one; again for several. By default near the images'."
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", metavar="NAME", help="Search this one; again for several.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", help="Of each trial, at most; by default the images decide.")
    ] = None,
    precision: Annotated[
        PrecisionName | None,
        typer.Option("--precision", help="What is timed; [cyan]auto[/] is the faster of float and INT8."),
    ] = None,
    max_latency: Annotated[
        float | None, typer.Option("--max-latency-ms", metavar="MS", help="Slower networks are not trained.")
    ] = None,
    val: Annotated[
        Path | None, typer.Option("--val", metavar="DATA", help="Validate with these; DATA is then all for training.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of split, order and proposals.")] = None,
    device: DeviceOption = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Time the networks again: something disturbed it before.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep every checkpoint, not only those on the front.")] = False,
) -> None:
    """Search the settings that suit DATA and a device.

    Each trial is one fine-tuning. Latency is measured here, once for each backbone and input size.

    The same command goes on where it was interrupted; started several times, the workers share the trials.
    """
    flags = {"epochs": epochs, "seed": seed, "device": device and device.value}
    searched = {"backbone": backbone, "input_size": input_size, "strategy": strategy}
    settings, fixed, space = _asked(config, flags, searched)
    profile, folder = named_target(target), named(out) if out else _SWEEPS / default_run(data).name
    if time_budget is not None and time_budget <= 0:
        raise SettingsError(f"--time-budget is {time_budget:g}, expected more than 0 seconds")
    if max_latency is not None and max_latency <= 0:
        raise SettingsError(f"--max-latency-ms is {max_latency:g}, expected more than 0")
    _check_at_once(data, val, settings, space)
    with needs("sweep"), loading():
        import optuna  # noqa: F401 - missing, it is told before PyTorch is loaded

        from edgexfer.flow.sweep.sweep import sweep as flow
    with going_on_with(lambda: shlex.join(["edgexfer", *sys.argv[1:]])), log_lines(), _few_lines():
        made = flow(
            data,
            profile,
            folder,
            settings=settings,
            fixed=fixed,
            space=space,
            trials=trials,
            storage=storage,
            study=study,
            val=val,
            precision=precision.value if precision else None,
            limit_ms=max_latency,
            time_budget_s=time_budget,
            keep=keep,
            remeasure=remeasure,
        )
    print_sweep(made)
    _print_next(made, data, val, profile.name if target == profile.name else target)


def print_sweep(made: Sweep) -> None:
    """Prints the Pareto front, how the trials went, and what to be wary of."""
    numbers = ("trial", "pixels", "rate", "val top-1", "test top-1", "latency")
    table = show.table("trial", "backbone", "pixels", "strategy", *numbers[2:], "precision", right=numbers)
    for trial in made.front:
        table.add_row(*_row(trial, made), style="bold" if trial == made.best else "")
    show.line(f"accuracy against latency on {made.speeds.host} ({made.speeds.engine}), the fastest first", "bold")
    show.console().print(table)
    counts = made.counts()
    told = ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS if counts[kind])
    show.line(f"{show.count(len(made.trials), 'trial')}: {told}; {len(made.front)} on the front")
    if counts["running"]:
        show.line("other workers are still at it; the same command shows what has become of them")
    for warning in made.warnings:
        show.warn(warning)
    chosen = [trial for trial in made.trials if trial.kind == "complete"]
    if len(chosen) > 1:
        show.paragraph(
            f"val top-1 chose among {len(chosen)} trials and flatters; test top-1 chose nothing. A point of either is "
            "worth no more than the number of images behind it."
        )


def _row(trial: Tried, made: Sweep) -> tuple[str, ...]:
    settings = trial.settings
    rate = settings.get("learning_rate")
    speed = made.speeds.at(settings["backbone"], settings["input_size"])
    return (
        str(trial.number),
        settings["backbone"],
        str(settings["input_size"]),
        settings["strategy"],
        "auto" if rate is None else f"{rate:.3g}",
        show.percent(trial.val_top1),
        show.percent(trial.test_top1),
        f"{trial.latency_ms:.2f} ms",
        speed.precision,
    )


def _print_next(made: Sweep, data: Path, val: Path | None, target: str) -> None:
    from edgexfer.flow.sweep.outcome import BEST

    if made.best is None:
        show.line("no trial is complete yet")
        return
    where, run = shlex.quote(str(data)), f"runs/{made.study}-best"
    more = f" --val {shlex.quote(str(val))}" if val else ""
    place = made.best.checkpoint
    if place is not None and place.is_dir():
        show.line(f"best: trial {made.best.number}, {_short(place)}", "bold green")
        show.line(f"next: edgexfer export {shlex.quote(_short(place))} --target {shlex.quote(target)}", "bold")
    else:
        show.line(
            f"best: trial {made.best.number}; its checkpoint is not here ({made.best.host}: {place})", "bold green"
        )
    settings = shlex.quote(str(made.out / BEST))
    show.line(f"      edgexfer finetune {where} --config {settings} --out {shlex.quote(run)}{more}")


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _asked(
    config: Path | None, flags: dict[str, Any], searched: dict[str, list[Any] | None]
) -> tuple[FinetuneSettings, tuple[str, ...], dict[str, Any]]:
    """Returns the fixed settings, the names of those that were given, and the table [space].

    Raises:
        SettingsError: an unknown key ("did you mean"), a value out of range, or one that is both fixed and searched.
    """
    from edgexfer.core.toml import from_table, read_toml
    from edgexfer.train.settings import FinetuneSettings

    table = {} if config is None else read_toml(config)
    space = table.pop("space", {})
    if not isinstance(space, dict):
        raise SettingsError(f"{config}: space is {space!r}, expected a table [space]")
    table |= {name: value for name, value in flags.items() if value is not None}
    for name, values in searched.items():
        if values:
            table.pop(name, None)
            space = {**space, name: list(values)}
    for name in table:
        if name in space:
            raise SettingsError(f"{config}: {name} is fixed, and searched in [space]", "take one of them out")
    return from_table(FinetuneSettings, table, str(config)), tuple(table), space


def _check_at_once(data: Path, val: Path | None, settings: FinetuneSettings, space: dict[str, Any]) -> None:
    """Finds what is wrong before seconds go into loading PyTorch. The sweep checks all of it again."""
    from edgexfer.flow.sweep.space import read_space
    from edgexfer.train.backbones import find_backbone
    from edgexfer.train.images.prepared import read_trainable

    find_backbone(settings.backbone)
    read_space(space, settings, "the sweep")
    read_trainable(data, val, group=settings.group)


@contextmanager
def _few_lines() -> Iterator[None]:
    """Shows a line or two for each trial: what training says of its epochs is for those who asked with --verbose."""
    training, seen = logging.getLogger("edgexfer.train"), set[str]()
    level = training.level

    def new(record: logging.LogRecord) -> bool:
        # What is wrong with an image or with the weights is as wrong in every trial.
        text = record.getMessage()
        known = record.levelno >= logging.WARNING and text in seen
        seen.add(text)
        return not known

    if logging.getLogger("edgexfer").getEffectiveLevel() > logging.DEBUG:
        training.setLevel(logging.WARNING)
    handlers = logging.getLogger("edgexfer").handlers
    for handler in handlers:
        handler.addFilter(new)
    try:
        yield
    finally:
        training.setLevel(level)
        for handler in handlers:
            handler.removeFilter(new)
