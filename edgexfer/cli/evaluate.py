"""`edgexfer evaluate`: how often is the bundle right?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from edgexfer.cli import show
from edgexfer.cli.options import BackendOption, BundleArgument, RecordOption, ThreadsOption
from edgexfer.cli.slices import print_slice

if TYPE_CHECKING:
    from edgexfer.gate.measure.evaluation import Evaluation

_CLASSES = 20
_LISTED = 10


def evaluate(
    bundle: BundleArgument,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder of class folders, or a CSV with path,label.")],
    json_file: RecordOption = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", metavar="NAME", help="Judge by images that were train, val, test or new; or by all of them."
        ),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Accept that classes are missing from DATA.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Accept no file that cannot be judged.")] = False,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Count how often the bundle is right about DATA.

    The bundle knows by content which images it was trained with. By default only images that were held out
    judge it: test images and new ones; where there are none val, and only then train, with a warning.
    """
    from edgexfer.gate.measure.evaluate import evaluate as ask

    show.check_place(json_file)
    with show.progress("evaluating") as moved:
        result = ask(
            bundle,
            data,
            backend=backend,
            threads=threads,
            split=split,
            partial=partial,
            strict=strict,
            progress=moved,
        )
    if json_file != "-":
        print_evaluation(result)
    for warning in result.warnings:
        show.warn(warning)
    if json_file is not None:
        show.write_record(result.to_json(), json_file)


def print_evaluation(result: Evaluation) -> None:
    """Prints figures, classes, mistakes and what was left out."""
    subject = result.subject
    engine = f"{subject.engine}, simulating {subject.target}" if subject.simulated else subject.engine
    show.line(f"{subject.bundle} ({subject.precision}, {engine}) on {result.data}", "bold")
    show.line()
    roles = ", ".join(f"{number} {role}" for role, number in result.roles().items())
    low, high = result.top1_interval
    interval = f"95 % confidence: {100 * low:.1f} to {100 * high:.1f} %"
    show.line(
        f"top-1               {show.percent(result.top1):>7}   of {show.count(len(result.images), 'image')}: {roles}"
    )
    show.line(f"                              {interval}", "dim")
    show.line(f"macro F1            {show.percent(result.macro_f1):>7}")
    show.line(f"calibration error   {show.percent(result.ece):>7}")
    if result.known_from is not None:
        share = show.percent(result.unknown_share)
        show.line(f"called unknown      {share:>7}   score below {show.percent(result.known_from)}")
    show.console().print(_classes(result))
    for report in result.slice_reports():
        print_slice(report)
    if confused := result.confused():
        show.line("most confused", "bold")
        for truth, predicted, number in confused:
            show.line(f"  {truth} taken for {predicted}: {number}")
    if result.left_out:
        counts = ", ".join(f"{number} {role}" for role, number in result.left_out.items())
        show.line(f"left out: {counts} (not the images that judge best; --split all takes every one)")
    if result.unreadable:
        show.line(f"cannot be judged: {show.count(len(result.unreadable), 'file')}")
        for item in result.unreadable[:_LISTED]:
            show.line(f"  {item.path} {item.reason}")
        if len(result.unreadable) > _LISTED:
            show.line(f"  and {len(result.unreadable) - _LISTED} more; --json FILE lists all")


def _classes(result: Evaluation) -> Table:
    recall, precision = result.recall, result.precision
    images = dict(zip(result.labels, result.confusion.sum(axis=1).tolist(), strict=True))
    # Many classes: those that need attention, worst first. A class without images has nothing to say there.
    shown = list(result.labels)
    if len(shown) > _CLASSES:
        shown = sorted((label for label in shown if images[label]), key=lambda label: recall[label])[:_CLASSES]
    made = show.table("class", "images", "recall", "precision", right=("images", "recall", "precision"))
    for label in shown:
        made.add_row(show.cell(label), str(images[label]), show.percent(recall[label]), show.percent(precision[label]))
    if rest := len(result.labels) - len(shown):
        made.caption = f"and {rest} classes at or above that recall; --json FILE has all"
        made.caption_justify = "left"
    return made
