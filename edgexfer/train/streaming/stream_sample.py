"""The sample of a stream: what of the shards is written as ordinary files, for everything that cannot read shards.

    RUN.images/
        images.csv      path,label,split of the sample; it is DATA for every later step
        00/0000000.jpg  its files
        stream.json     which shards, how many images, the window's size and the seed

It is written beside its place and renamed into it. While an older RUN is being replaced it lies in RUN.partial.images/:
until the new RUN is there, the older one has its own images.
"""

from __future__ import annotations

import csv
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.core.errors import DataError
from edgexfer.core.files import explained_write, write_file
from edgexfer.core.replace import replace_folder
from edgexfer.core.sample import SPLITS
from edgexfer.core.staging import replaced_folder
from edgexfer.core.threads import Progress, in_threads
from edgexfer.train.images.split import FRACTIONS
from edgexfer.train.streaming.shards import find_shards, read_images
from edgexfer.train.streaming.stream import Block, Stream, open_stream

log = logging.getLogger(__name__)

TABLE, RECORD = "images.csv", "stream.json"
_LEAST_A_CLASS = {"train": 2, "val": 1, "test": 1}


def take_sample(
    data: str | Path,
    out: Path,
    *,
    window: int,
    seed: int,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, Stream] | None:
    """Writes a sample of the shards that DATA means beside a run, or takes the one that is there.

    Args:
        data: a pattern, a shard, or a folder of shards.
        out: RUN.
        window: training images that are held at once; an older sample keeps its own.
        seed: of the draws; an older sample keeps its own.
        resume: an interrupted run goes on, with the sample that it began with.
        overwrite: a run begins anew, with a new sample, which takes an older one's place when it is whole.
        progress: called with (done, all) blocks.

    Returns:
        The sample's table, which is DATA for all that follows, and the stream; None where DATA is no shards.

    Raises:
        DataError: there is the sample of other shards, or something else, or the shards cannot be read.
        EdgexferError: it cannot be written.
    """
    if not find_shards(data):
        return None
    final, beside = _final(out), _beside(out)
    for place in (final, beside):
        _refuse_foreign(place)
    folder = beside if out.exists() or (resume and beside.exists()) else final
    anew = not (folder / RECORD).is_file() or (overwrite and not resume)
    older = None if anew else json.loads((folder / RECORD).read_bytes())
    stream = open_stream(data, **({"window": window, "seed": seed} if older is None else older["drawn"]))
    if older is None:
        with replaced_folder(folder) as stage:
            count = _write_sample(stream, stage, progress)
        log.info("%d of %d images are the sample in %s", count, sum(len(b.images) for b in stream.blocks), folder)
    elif older != _record(stream):
        raise DataError(
            f"{folder} is the sample of other shards", "begin anew with --overwrite, or choose another --out"
        )
    return folder / TABLE, stream


def settle_sample(table: Path, out: Path) -> None:
    """Moves a sample to where it lies once RUN is there, in the place of the older RUN's.

    Raises:
        EdgexferError: it cannot be moved.
    """
    final = settled_table(out).parent
    if table.parent != final:
        with explained_write(final):
            replace_folder(table.parent, final)


def settle_left(out: Path) -> None:
    """Settles the sample of a run that was killed when RUN was there and its sample was still beside it."""
    if (_beside(out) / RECORD).is_file():
        settle_sample(_beside(out) / TABLE, out)


def settled_table(out: Path) -> Path:
    """Returns where the table lies after `settle_sample`."""
    return _final(out) / TABLE


def _final(out: Path) -> Path:
    return out.with_name(f"{out.name}.images")


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial.images")


def _refuse_foreign(folder: Path) -> None:
    # A mistyped --out must not cost the user's files.
    ours = not folder.exists() or (folder.is_dir() and ((folder / RECORD).is_file() or not any(folder.iterdir())))
    if not ours:
        raise DataError(f"{folder} exists and is no sample of shards", "move it, or choose another --out")


def _write_sample(stream: Stream, folder: Path, progress: Progress | None) -> int:
    """Writes the sample into an empty folder and returns how many images it has."""
    chosen = list(_sample(stream))
    numbers = np.cumsum([0, *(len(positions) for _, positions in chosen)])

    def one(number: int) -> list[tuple[str, str, str]]:
        block, positions = chosen[number]
        rows = []
        data = read_images(block.shard, block.number, [block.images[position] for position in positions])
        for at, (position, content) in enumerate(zip(positions, data, strict=True), start=int(numbers[number])):
            name = f"{at // 1000:03}/{at:07}{_suffix(content)}"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            rows.append((name, block.labels[position], block.splits[position]))
        return rows

    with explained_write(folder):
        rows = [row for part in in_threads(one, range(len(chosen)), progress=progress) for row in part]
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("path", "label", "split"), *rows])
        write_file(folder / RECORD, json.dumps(_record(stream), indent=2) + "\n")
    return len(rows)


def _sample(stream: Stream) -> Iterator[tuple[Block, list[int]]]:
    """Yields window 0, the held-out images of its blocks, and of all blocks what is still lacking then."""
    order = [stream.blocks[place] for place in stream.order(0)]
    taken = {id(block): {*found, *block.of("val"), *block.of("test")} for block, found in stream.drawn(0)}
    counts = Counter(
        (block.labels[place], block.splits[place]) for block in order for place in taken.get(id(block), ())
    )
    left = {
        split: min(stream.count(split), round(stream.window * share / FRACTIONS[0])) - _of_split(counts, split)
        for split, share in zip(SPLITS[1:], FRACTIONS[1:], strict=True)
    }
    for block in order:
        positions = taken.get(id(block), set())
        for position, (label, split) in enumerate(zip(block.labels, block.splits, strict=True)):
            few = counts[label, split] < _LEAST_A_CLASS[split]
            if position not in positions and (few or left.get(split, 0) > 0):
                counts[label, split] += 1
                left[split] = left.get(split, 0) - 1
                positions.add(position)
        if positions:
            yield block, sorted(positions)


def _of_split(counts: Counter[tuple[str, str]], split: str) -> int:
    return sum(count for (_, own), count in counts.items() if own == split)


def _record(stream: Stream) -> dict[str, Any]:
    shards = {block.shard.name: block.shard.stat().st_size for block in stream.blocks}
    images = {split: stream.count(split) for split in SPLITS}
    return {"shards": shards, "images": images, "drawn": {"window": stream.window, "seed": stream.seed}}


def _suffix(content: bytes) -> str:
    return ".png" if content.startswith(b"\x89PNG") else ".webp" if content[8:12] == b"WEBP" else ".jpg"
