"""What every verb shares on the terminal: consoles, the error line, tables, progress, records."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edgexfer.core.errors import EdgexferError
from edgexfer.core.files import explained_write, write_file

# A log file has no width of its own; rich would assume 80 columns and cut there.
_LOG_WIDTH = 120
_UNFOLDED_WIDTH = 10_000
_LISTED = 20

Progress = Callable[[float, float], None]


class Interrupted(Exception):  # noqa: N818 - no error: the user wanted it
    """Ctrl-C in a verb that knows how to go on; the message is the command, or empty."""


def console(*, stderr: bool = False) -> Console:
    """Returns the console of standard output, or of standard error; plain where it is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _LOG_WIDTH
    return Console(stderr=stderr, highlight=False, width=width)


def line(text: str = "", style: str = "", *, stderr: bool = False) -> None:
    """Prints one line as it is: no markup is read in it. A terminal wraps it between words, a file never."""
    target = console(stderr=stderr)
    target.print(Text(printable(text), style), soft_wrap=not target.is_terminal)


def paragraph(text: str) -> None:
    """Prints text that wraps at the width of the terminal."""
    console().print(Text(printable(text), "dim"))


def failed(error: EdgexferError) -> None:
    """Prints `error: ...`, and `hint:  ...` where there is one, on standard error."""
    target = console(stderr=True)
    target.print(Text("error: ", "bold red").append(printable(error.message), "default"), soft_wrap=True)
    if error.hint:
        target.print(Text("hint:  ", "bold cyan").append(printable(error.hint), "default"), soft_wrap=True)


def warn(text: str) -> None:
    """Prints `warning: ...` on standard error."""
    target = console(stderr=True)
    shown = Text("warning: ", "bold yellow").append(printable(text), "default not bold")
    target.print(shown, soft_wrap=not target.is_terminal)


def listed(title: str, lines: Sequence[str]) -> None:
    """Prints a title with the number of lines, and the first of them; nothing where there are none."""
    if not lines:
        return
    line()
    line(f"{title}: {len(lines)}")
    for text in lines[:_LISTED]:
        line(f"  {text}")
    if len(lines) > _LISTED:
        line(f"  and {len(lines) - _LISTED} more; --json FILE lists all")


def table(*columns: str, right: tuple[str, ...] = (), title: str = "") -> Table:
    """Makes an empty table.

    Args:
        columns: their headings.
        right: headings of those columns whose cells are numbers.
        title: above the table.
    """
    made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    for heading in columns:
        made.add_column(
            heading,
            justify="right" if heading in right else "left",
            no_wrap=heading in right,
            overflow="fold",
        )
    return made


def unfolded(made: Table) -> None:
    """Prints a table; in a log, however wide, no cell is folded: no line there begins with what others named."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        console().print(made)
    else:
        Console(highlight=False, width=_UNFOLDED_WIDTH).print(made)


def cell(text: str) -> str:
    """Makes a cell of a table from text that is not ours: nothing in it is markup."""
    return escape(printable(text))


def percent(fraction: float | None) -> str:
    """Returns "98.3 %"; "–" for a figure that does not exist (nan, None)."""
    return "–" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f} %"


def count(number: int, noun: str, plural: str = "") -> str:
    """Returns "1 image" or "2 images"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def printable(text: str) -> str:
    """Returns `text` with what would break a line or is not UTF-8 (in a file's name) as its escape."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def write_record(record: dict[str, Any], place: str) -> None:
    """Writes a record as JSON to a file, or prints it where `place` is "-".

    Raises:
        EdgexferError: the file cannot be written.
    """
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name on Linux is bytes; those that are not UTF-8 become escapes, which JSON can hold.
    raw = text.encode("utf-8", "backslashreplace")
    if place == "-":
        sys.stdout.write(raw.decode())
        sys.stdout.flush()
    else:
        write_file(Path(place), raw)


def check_place(place: str | None) -> None:
    """Refuses a place where no record can be written before the work begins.

    Raises:
        EdgexferError: it is a folder, or a part of its path is a file.
    """
    if place in (None, "-"):
        return
    path = Path(place)
    with explained_write(path):
        if path.is_dir():
            raise EdgexferError(f"cannot write {path}: it is a folder", "name a file in it")
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not above.is_dir():
            raise EdgexferError(f"cannot write {path}: {above} is a file", "choose another place")
        if not path.exists() and not os.access(above, os.W_OK):
            raise EdgexferError(
                f"cannot write {path}: no permission in {above}", "choose a place that you may write to"
            )


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Shows a bar on standard error while the block runs, where that is a terminal; yields what moves it."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    target = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bar(*columns, console=target, transient=True, disable=not target.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)
