"""`edgexfer data`: looks at images before anything is made from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from edgexfer.cli import show
from edgexfer.cli.findings import print_findings
from edgexfer.cli.options import GroupOption

if TYPE_CHECKING:
    from edgexfer.core.dataset import Dataset
    from edgexfer.core.findings import Findings
    from edgexfer.core.intake import Intake, Usable

app = typer.Typer(name="data", help="Look at images before anything is made from them.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Look at images before anything is made from them."""


@app.command()
def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder of class folders, or a CSV.")],
    group: GroupOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Accept no file that cannot be used.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the record there.")] = None,
) -> None:
    """Read and decode every image of DATA, and say what training would work with and what it would leave out.

    What is doubtful about usable images is listed too: near-duplicates, labels that may be wrong, classes of very
    different size, images that are tiny or blurred, groups that lie in several splits.
    """
    from edgexfer.core.dataset import read_dataset
    from edgexfer.core.files import write_file

    intake, found = _inspect(read_dataset(data, group=group))
    _show(intake)
    print_findings(found, divided=bool(intake.dataset.splits()))
    if json_file is not None:
        write_file(json_file, json.dumps(intake.to_json() | found.to_json(), indent=2) + "\n")
    intake.require_clean(strict)
    left_out = f", {len(intake.rejected)} left out" if intake.rejected else ""
    Console(highlight=False).print(
        f"usable: {len(intake.samples)} images in {len(intake.dataset.labels)} classes{left_out}"
    )


def _inspect(dataset: Dataset) -> tuple[Intake, Findings]:
    from edgexfer.core.findings import Looks, findings
    from edgexfer.core.intake import inspect

    looks = Looks(len(dataset.samples))
    # The bar goes to stderr and only to a terminal, so that the report can be piped.
    with Progress(console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task("reading images", total=len(dataset.samples))
        intake = inspect(dataset, progress=lambda done, _all: bar.update(task, completed=done), on_image=looks.keep)
    return intake, findings(intake, looks)


def _show(intake: Intake) -> None:
    console = Console(highlight=False)
    console.print(f"usable images in {escape(show.printable(str(intake.dataset.root)))}", soft_wrap=True)
    console.print(_classes(intake))
    record = intake.to_json()
    for side in ("width", "height"):
        if record[side] is not None:
            console.print(f"{side}: {{min}} to {{max}} pixels, median {{median:g}}".format(**record[side]))
    show.listed("left out", [f"{item.path} {item.reason}" for item in intake.rejected])
    show.listed("conflicts (same content, different classes)", [_group(group) for group in intake.conflicts])
    show.listed("copies (same content; they stay in one split)", [_group(group) for group in intake.duplicates])


def _classes(intake: Intake) -> Table:
    counts = intake.counts()
    columns = intake.dataset.splits() or ("all",)
    table = Table()
    table.add_column("class")
    for column in columns:
        table.add_column("images" if column == "all" else column, justify="right")
    for label, row in counts.items():
        table.add_row(escape(label), *(str(row[column]) for column in columns))
    table.add_section()
    table.add_row("all", *(str(sum(row[column] for row in counts.values())) for column in columns))
    return table


def _group(group: Sequence[Usable]) -> str:
    labels = {item.sample.label for item in group}
    return " = ".join(f"{item.name} ({item.sample.label})" if len(labels) > 1 else item.name for item in group)
