"""A CSV that lists images: one header line, then one line per image.

    path,label[,split][,group][,slice][,slice_NAME ...]      UTF-8; `path` relative to the CSV's folder, or absolute

`split` is train, val or test, given in every line or in none. Images with the same `group` are never divided; an
empty cell is an image by itself. `slice` and every column that begins with `slice_` name a kind of image that is
judged by itself (`slice_light` with the values day and night is the slice "light"); an empty cell is no kind. The
column sha256 may be there and is not read. Any other column is an error, since it may be a misspelt one.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgexfer.core.errors import DataError, did_you_mean
from edgexfer.core.sample import SPLITS, Sample, class_label, split_name

REQUIRED = ("path", "label")
OPTIONAL = ("split", "group", "slice", "sha256")
SLICE = "slice"
_HEADER = "the first line of the CSV is `path,label` or `path,label,split`"


def columns_of(file: Path) -> tuple[str, ...]:
    """Returns the names in the first line of the CSV `file`, right or not.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            return tuple(next(csv.reader(opened), []))
    except (UnicodeDecodeError, csv.Error):
        return ()  # read_image_list says what is wrong with it
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}", "make it readable") from error


def read_image_list(file: Path, *, group: str = "group", any_column: bool = False) -> list[Sample]:
    """Reads the CSV `file`.

    Args:
        file: the CSV.
        group: the column that names the groups; it need not be there.
        any_column: skip columns that are not known instead of refusing them, as judging does.

    Returns:
        Samples in the order of the lines.

    Raises:
        DataError: not UTF-8, a wrong header, a line that lacks something, a file that does not exist,
            a path listed twice, a split that is unknown or given in some lines only.
    """
    samples: list[Sample] = []
    first_line: dict[str, tuple[int, str]] = {}
    missing: list[Path] = []
    unsplit = 0
    for line, row in _rows(file, (*REQUIRED, *OPTIONAL, group), any_column=any_column):
        where = f"{file} line {line}"
        label = class_label(row["label"], where)
        if not row["path"]:
            raise DataError(f"{where} has no path", _HEADER)
        path = file.parent / row["path"]
        key = os.path.normpath(path)
        if key in first_line:
            earlier, other = first_line[key]
            labels = f"as {label!r} and in line {earlier} as {other!r}" if other != label else f"and in line {earlier}"
            raise DataError(f"{where} lists {row['path']} {labels}", "remove one of the two lines")
        first_line[key] = (line, label)
        split = _split(row.get("split", ""), where)
        unsplit += split is None
        if not path.is_file():
            missing.append(path)
        samples.append(Sample(path, label, split, row.get(group) or None, _slices(row)))
    if missing:
        _refuse_missing(file, missing)
    if 0 < unsplit < len(samples):
        raise DataError(
            f"{file} has {unsplit} of {len(samples)} lines without a split",
            "give every image train, val or test; or leave the column away and edgexfer divides them",
        )
    return samples


def _rows(file: Path, known: Sequence[str], *, any_column: bool) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front; newline="": the csv module wants them raw.
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, strict=True)
            columns = _header(file, next(reader, []), known, any_column=any_column)
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(columns):
                    raise DataError(
                        f"{file} line {reader.line_num} has {len(cells)} cells, the header has {len(columns)}",
                        'put a cell with a comma in it into quotes: "a,b.jpg",cat',
                    )
                yield reader.line_num, dict(zip(columns, cells, strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8", "save it as `CSV UTF-8 (comma separated)`") from error
    except csv.Error as error:
        raise DataError(f"{file} line {reader.line_num} is not valid CSV: {error}", "save it as CSV again") from error
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}", "make it readable") from error


def _header(file: Path, columns: list[str], known: Sequence[str], *, any_column: bool) -> list[str]:
    if not columns:
        raise DataError(f"{file} is empty", _HEADER)
    if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
        raise DataError(
            f"{file} is not separated by commas: {columns[0]!r}", "save it as `CSV UTF-8 (comma separated)`"
        )
    if not set(columns) & {*REQUIRED, "split"}:
        raise DataError(f"{file} has no header; its first line is {','.join(columns)!r}", _HEADER)
    for name in columns:
        if name not in known and not _is_slice(name) and not any_column:
            told = f"remove it, or say what it is: slice_{name} to judge by it, --group {name} to divide by it"
            raise DataError(f"{file} has the unknown column {name!r}", f"{did_you_mean(name, set(known))}; {told}")
        if columns.count(name) > 1:
            raise DataError(f"{file} has the column {name!r} twice", "remove one of them")
    for name in REQUIRED:
        if name not in columns:
            raise DataError(f"{file} has no column '{name}'", _HEADER)
    return columns


def _is_slice(column: str) -> bool:
    return column == SLICE or (column.startswith(f"{SLICE}_") and len(column) > len(SLICE) + 1)


def _slices(row: dict[str, str]) -> tuple[tuple[str, str], ...]:
    named = ((column.removeprefix(f"{SLICE}_"), value) for column, value in row.items() if _is_slice(column))
    return tuple((name, value) for name, value in named if value)


def _split(cell: str, where: str) -> str | None:
    if not cell:
        return None
    split = split_name(cell)
    if split is None:
        raise DataError(f"{where} has split {cell!r}", did_you_mean(cell, SPLITS))
    return split


def _refuse_missing(file: Path, missing: list[Path]) -> None:
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    slashes = "; write paths with forward slashes" if "\\" in str(missing[0]) else ""
    raise DataError(
        f"{file} lists {missing[0]}, which is not a file{more}",
        f"paths are relative to the CSV's folder {file.parent}{slashes}",
    )
