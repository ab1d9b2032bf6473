"""Shards: images packed into many large files, as sets come that no folder holds. Imports nothing heavy.

DATA is then a pattern with a range, `shards/train-{000..099}.tar`, one such file, or a folder of them without folders.

    .tar       WebDataset's layout: members that share a name up to its first dot are one sample. KEY.jpg (or .jpeg,
               .png, .webp) is the image; its class is the text of KEY.cls or KEY.txt, or "label" or "class" in
               KEY.json, and without these the folder in KEY. A `labels.txt` beside the shards, a name a line, names
               classes that are numbers. Members are read by their place; a compressed tar has none, and is refused.
    .parquet   a column of images, bytes or a struct with `bytes` as Hugging Face's datasets write it, and a column of
               classes, text or numbers, whose names the file's own metadata may hold. See parquet_shards.py.

Python's tarfile reads tars, and nothing in them is decoded but images, text and JSON: WebDataset's own reader would
also load pickles.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgexfer.core.errors import DataError
from edgexfer.core.sample import split_name

SUFFIXES = (".tar", ".parquet")
IMAGES = ("jpg", "jpeg", "png", "webp")
LABELS = "labels.txt"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_BLOCK = 256
_MOST_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Packed:
    """One image in a shard.

    Attributes:
        key: its name, unique in its shard.
        label: its class, as it is written there.
        place: offset of its bytes in a tar, or its row in a row group of a Parquet file.
        size_bytes: of the image file in a tar; 0 where that is not known before it is read.
    """

    key: str
    label: str
    place: int
    size_bytes: int = 0


def find_shards(data: str | Path) -> tuple[Path, ...]:
    """Returns the shards that DATA means, in the order of their names; none where DATA is something else.

    Raises:
        DataError: a range names a file that is not there, or a folder has both kinds.
    """
    path = Path(data)
    if path.suffix.lower() in SUFFIXES and (found := _RANGE.search(str(path))):
        return _expanded(str(path), found)
    if path.is_file():
        return (path,) if path.suffix.lower() in SUFFIXES else ()
    if not path.is_dir():
        return ()
    inside = sorted(item for item in path.iterdir() if not item.name.startswith("."))
    shards = [item for item in inside if item.is_file() and item.suffix.lower() in SUFFIXES]
    others = [item for item in inside if item not in set(shards)]
    if not shards or any(item.is_dir() for item in others):
        return ()
    if len({item.suffix.lower() for item in shards}) > 1:
        raise DataError(f"{path} has shards of both kinds, .tar and .parquet", "give one kind")
    return tuple(shards)


def blocks_of(shard: Path) -> list[list[Packed]]:
    """Lists a shard's images without reading them, in blocks that are cheap to read together.

    Raises:
        DataError: no shard, damaged, or an image has no class.
        MissingPartError: a Parquet file needs pyarrow.
    """
    if shard.suffix.lower() == ".parquet":
        from edgexfer.train.streaming.parquet_shards import row_groups  # noqa: PLC0415 - it reads into the types of this file

        return row_groups(shard)
    images = _tar_images(shard)
    return [images[start : start + _BLOCK] for start in range(0, len(images), _BLOCK)]


def read_images(shard: Path, block: int, images: Sequence[Packed]) -> list[bytes]:
    """Reads image files of one block.

    Args:
        shard: as in `blocks_of`.
        block: the number of the block there.
        images: some of the block.
    """
    if shard.suffix.lower() == ".parquet":
        from edgexfer.train.streaming.parquet_shards import read_rows  # noqa: PLC0415 - as above

        return read_rows(shard, block, [image.place for image in images])
    found = []
    with shard.open("rb") as file:
        for image in images:
            file.seek(image.place)
            found.append(file.read(image.size_bytes))
    return found


def split_of_shard(shard: Path) -> str | None:
    """Returns the split that a shard's name begins with ("train-000.tar", "val_3.parquet"), else None."""
    return split_name(re.split(r"[-_.\d]", shard.name, maxsplit=1)[0])


def named_labels(shards: Sequence[Path]) -> dict[str, str]:
    """Returns what `labels.txt` beside the shards calls each number; empty without one."""
    path = shards[0].parent / LABELS
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {str(number): line.strip() for number, line in enumerate(lines) if line.strip()}


def _expanded(pattern: str, found: re.Match[str]) -> tuple[Path, ...]:
    first, last = found[1], found[2]
    numbers = range(int(first), int(last) + 1)
    paths = [Path(f"{pattern[: found.start()]}{n:0{len(first)}}{pattern[found.end() :]}") for n in numbers]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        named = missing[0] if missing else pattern
        raise DataError(f"{named} does not exist", f"{len(missing)} of {len(paths)} shards of {pattern} are not there")
    return tuple(paths)


def _tar_images(shard: Path) -> list[Packed]:
    images: dict[str, tuple[int, int]] = {}
    texts: dict[str, str] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key, suffix = f"{folder}/{stem}" if folder else stem, suffix.lower()
                if not member.isfile() or not stem:
                    continue
                if suffix in IMAGES:
                    images[key] = member.offset_data, member.size
                elif suffix in ("cls", "txt", "json") and member.size <= _MOST_TEXT_BYTES and key not in texts:
                    file = tar.extractfile(member)
                    text = _label_in(file.read() if file else b"", suffix)
                    if text:
                        texts[key] = text
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shard} cannot be read as a tar: {error}", "give whole, uncompressed .tar shards") from error
    found = []
    for key, (offset, size) in images.items():
        label = texts.get(key) or key.rpartition("/")[0].rpartition("/")[2]
        if not label:
            raise DataError(f"{shard}: {key} has no class", f"add {key}.cls, or put it into a folder of its class")
        found.append(Packed(key, label, offset, size))
    return found


def _label_in(data: bytes, suffix: str) -> str:
    text = data.decode("utf-8").strip()
    if suffix != "json":
        return text
    try:
        record = json.loads(text)
    except ValueError:
        return ""
    value = next((record[name] for name in ("label", "class", "cls") if name in record), "") if record else ""
    return str(value).strip()
