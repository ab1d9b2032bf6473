"""Images in Parquet files, read a row group at a time with pyarrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgexfer.core.errors import DataError, MissingPartError
from edgexfer.train.streaming.shards import Packed

_IMAGE_NAMES = ("image", "img", "jpg", "png", "bytes")
_LABEL_NAMES = ("label", "labels", "class", "cls", "fine_label")


def row_groups(shard: Path) -> list[list[Packed]]:
    """Lists the images of each row group; only the column of classes is read.

    Raises:
        DataError: no Parquet file, without such columns, or a row without a class or with a number that has no name.
        MissingPartError: pyarrow is not installed.
    """
    with _opened(shard) as file:
        _, column = _columns(shard, file)
        names = _class_names(file, column)
        groups = []
        for group in range(file.num_row_groups):
            values = file.read_row_group(group, columns=[column]).column(0).to_pylist()
            if None in values:
                raise DataError(f"{shard} has rows without a class in '{column}'", "give every image a class")
            labels = [_label(value, names, shard, column) for value in values]
            groups.append([Packed(f"{group}-{row}", label, row) for row, label in enumerate(labels)])
    return groups


def read_rows(shard: Path, group: int, rows: Sequence[int]) -> list[bytes]:
    """Returns the image files of some rows of a row group."""
    with _opened(shard) as file:
        image, _ = _columns(shard, file)
        values = file.read_row_group(group, columns=[image]).column(0).take(list(rows)).to_pylist()
    return [_bytes_of(value) for value in values]


def _opened(shard: Path) -> Any:
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 - an extra that few need
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError as error:
        raise MissingPartError(
            "Parquet files need pyarrow, which is not installed", "pip install 'edgexfer[stream]'"
        ) from error
    try:
        return ParquetFile(shard)
    except (ArrowException, OSError) as error:
        raise DataError(f"{shard} is no Parquet file: {error}", "give whole .parquet files") from error


def _columns(shard: Path, file: Any) -> tuple[str, str]:
    names = file.schema_arrow.names
    image = next((name for name in _IMAGE_NAMES if name in names), None)
    label = next((name for name in _LABEL_NAMES if name in names), None)
    if image is None or label is None:
        raise DataError(
            f"{shard} has the columns {', '.join(names)}, expected one of images and one of classes",
            f"call them {_IMAGE_NAMES[0]} and {_LABEL_NAMES[0]}",
        )
    return image, label


def _class_names(file: Any, column: str) -> list[str]:
    # Where Hugging Face's datasets wrote the file, classes are numbers and their names are in its metadata.
    try:
        features = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _label(value: Any, names: list[str], shard: Path, column: str) -> str:
    if not names or not isinstance(value, int):
        return str(value)
    if 0 <= value < len(names):
        return names[value]
    hint = "leave rows without a class out" if value < 0 else "the file was written with other names: write it again"
    raise DataError(
        f"{shard} has a row with {value} in '{column}', expected 0 to {len(names) - 1}, which its metadata name", hint
    )


def _bytes_of(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else b""
