"""Which image trains, validates and tests: decided once, from content and seed, and written to `split.csv`.

`split.csv` is UTF-8 with one header line, `path,label,split,sha256`, sorted by path: the path relative to the
data set's root with forward slashes; the split train, val or test; the SHA-256 of the file's bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from types import MappingProxyType

from edgexfer.core.errors import ArtifactError, DataError, SettingsError
from edgexfer.core.files import sha256_of_bytes, write_file
from edgexfer.core.intake import Usable
from edgexfer.core.sample import SPLITS
from edgexfer.train.images.carry_split import as_before
from edgexfer.train.images.draw_groups import divide_groups
from edgexfer.train.images.units import Unit, units_of

log = logging.getLogger(__name__)

FRACTIONS = (0.70, 0.15, 0.15)
_AGAIN = "make the artifact again"
_COLUMNS = ["path", "label", "split", "sha256"]


@dataclass(frozen=True, slots=True)
class SplitRow:
    """One line of `split.csv`: `path` and `sha256` are those of an image, `split` is where it goes."""

    path: str
    label: str
    split: str
    sha256: str


def make_split(
    samples: Sequence[Usable],
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    alike: Sequence[tuple[str, str]] = (),
    before: Mapping[str, str] = MappingProxyType({}),
) -> tuple[SplitRow, ...]:
    """Divides images into train, val and test, class by class.

    The order in which images are drawn hangs on seed and content alone: neither the file system nor a
    renamed file changes it. Copies (same SHA-256), groups and near-duplicates stay together. Every class has an image
    or more in train and in val, and from three different images on (three groups, where there are groups) also in
    test. What the user has divided is kept; where only val is missing, it is drawn from train.

    Args:
        samples: the usable images of an Intake, in any order.
        seed: of the draw.
        fractions: of train, val and test; they sum to 1, and that of test may be 0.
        alike: names of near-duplicates, in pairs; they stay together as far as `units_of` says.
        before: the split of images that a network was trained and judged with before, by SHA-256: such an image goes
            where it was, and new ones that are like it go with it, so that none that was trained on judges later.

    Returns:
        A row for each image, sorted by path.

    Raises:
        DataError: splits given for some images only or without train, an image in two of them, a class without
            two images that differ or with a single group, or groups that cannot be divided.
        SettingsError: fractions that do not fit.
    """
    _check_fractions(fractions)
    given = {item.sample.split for item in samples}
    if None in given and len(given) > 1:
        raise DataError("some images have a split and some have none", "give every image a split, or none")
    assigned = {item.name: item.sample.split for item in samples if item.sample.split is not None}
    if given == {None}:
        assigned = _draw(samples, seed, fractions, alike, before)
    elif given == {"train", "test"}:
        train = [item for item in samples if item.sample.split == "train"]
        assigned |= _draw(train, seed, (1 - fractions[1], fractions[1], 0.0), alike, before)
    elif not {"train", "val"} <= given:
        raise DataError(
            f"images are given for {' and '.join(sorted(map(str, given))) or 'nothing'}, expected train and val",
            "give images to train on and images to validate with",
        )
    rows = (SplitRow(item.name, item.sample.label, assigned[item.name], item.sha256) for item in samples)
    result = tuple(sorted(rows, key=lambda row: row.path))
    _check_disjoint(result)
    return result


def write_split(path: Path, rows: Iterable[SplitRow]) -> None:
    """Writes `split.csv`.

    Raises:
        EdgexferError: `path` cannot be written.
    """
    lines = [_COLUMNS, *(astuple(row) for row in sorted(rows, key=lambda row: row.path))]
    text = "".join(",".join(map(_cell, line)) + "\n" for line in lines)
    # A file name on Linux is bytes; those that are not UTF-8 go through unchanged.
    write_file(path, text.encode("utf-8", "surrogateescape"))


def read_split(path: Path) -> tuple[SplitRow, ...]:
    """Reads what `write_split` wrote.

    Raises:
        ArtifactError: missing, or not such a file.
    """
    try:
        return parse_split(path.read_bytes(), path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}", _AGAIN) from error


def parse_split(raw: bytes, path: Path) -> tuple[SplitRow, ...]:
    """Reads the content of such a file, which lies at `path`.

    Raises:
        ArtifactError: not such a file.
    """
    try:
        text = raw.decode("utf-8", "surrogateescape")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ArtifactError(f"{path} is not valid CSV: {error}", _AGAIN) from error
    if not lines or lines[0] != _COLUMNS:
        raise ArtifactError(f"{path} does not begin with {','.join(_COLUMNS)}", _AGAIN)
    for number, cells in enumerate(lines[1:], start=1):
        if len(cells) != len(_COLUMNS) or cells[2] not in SPLITS or len(cells[3]) != 64:
            raise ArtifactError(f"{path} is damaged: row {number} is {cells}", _AGAIN)
    return tuple(SplitRow(*cells) for cells in lines[1:])


def dataset_digest(rows: Iterable[SplitRow]) -> str:
    """Returns the SHA-256 that names content, class and split of all images, whatever their paths.

    It is that of a JSON list of [sha256, label, split], sorted, UTF-8, without spaces.
    """
    content = sorted([row.sha256, row.label, row.split] for row in rows)
    return sha256_of_bytes(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode())


def _cell(text: str) -> str:
    # csv.writer leaves a lone carriage return unquoted where lines end in a line feed, and then cannot read it.
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text


def _draw(
    samples: Sequence[Usable],
    seed: int,
    fractions: tuple[float, float, float],
    alike: Sequence[tuple[str, str]],
    before: Mapping[str, str],
) -> dict[str, str]:
    # What was divided once stays divided, whether or not it is found alike today.
    known = {item.name: before[item.sha256] for item in samples if item.sha256 in before}
    alike = [(one, two) for one, two in alike if len({known.get(one), known.get(two)} - {None}) < 2]
    try:
        return _divided(units_of(samples, alike), seed, fractions, before)
    except DataError:
        if not alike:
            raise
    # Near-duplicates tie groups together that could be divided; to keep them in one split is a wish, no duty.
    assigned = _divided(units_of(samples), seed, fractions, before)
    log.warning("near-duplicates are not kept in one split: the groups could then not be divided")
    return assigned


def _divided(
    units: Sequence[Unit], seed: int, fractions: tuple[float, float, float], before: Mapping[str, str]
) -> dict[str, str]:
    assigned: dict[str, str] = {}
    for labels, tied in _tied(units):
        _check_units(labels, tied)
        kept, new = as_before(tied, labels, before, fractions)
        assigned |= {item.name: split for unit, split in kept for item in unit.samples}
        if not new:
            continue
        if any(unit.grouped for unit in new):
            parts = divide_groups(new, labels, seed, {"val": fractions[1], "test": fractions[2]})
            assigned |= {item.name: split for split in parts for unit in parts[split] for item in unit.samples}
            continue
        drawn = sorted(new, key=lambda unit: hashlib.sha256(f"{seed}:{unit.key}".encode()).digest())
        splits = _divide([len(unit.samples) for unit in drawn], fractions)
        assigned |= {item.name: split for unit, split in zip(drawn, splits, strict=True) for item in unit.samples}
    return assigned


def _tied(units: Sequence[Unit]) -> list[tuple[list[str], list[Unit]]]:
    # Classes that share a unit are drawn together, all others by themselves.
    above: dict[str, str] = {}

    def top(label: str) -> str:
        while above.setdefault(label, label) != label:
            label = above[label]
        return label

    for unit in units:
        first, *others = sorted(unit.labels)
        for label in others:
            above[top(label)] = top(first)
        top(first)
    labels: dict[str, list[str]] = {}
    members: dict[str, list[Unit]] = {}
    for label in sorted(above):
        labels.setdefault(top(label), []).append(label)
    for unit in units:
        members.setdefault(top(next(iter(unit.labels))), []).append(unit)
    return [(names, members[root]) for root, names in labels.items()]


def _check_units(labels: Sequence[str], units: Sequence[Unit]) -> None:
    count = Counter(label for unit in units for label in unit.labels)
    for label in labels:
        if count[label] > 1:
            continue
        group = next(item.sample.group for unit in units for item in unit.samples if item.sample.label == label)
        if group is not None:
            raise DataError(
                f"class '{label}' has all its images in one group ('{group}'), expected two groups or more",
                "add images of another group, remove the class, or divide the images yourself",
            )
        raise DataError(
            f"class '{label}' has no two images that differ, expected 2 or more",
            "add images of it, remove it, or give images to validate with: --val DATA",
        )


def _divide(sizes: Sequence[int], fractions: tuple[float, float, float]) -> list[str]:
    """Gives each unit of images a split.

    Args:
        sizes: images in each unit, two units or more, in the order of the draw.
        fractions: of train, val and test.

    Returns:
        A split for each unit, in the same order.
    """
    parts = ["train"] * len(sizes)
    total = sum(sizes)
    wanted = ["val"] if fractions[2] == 0 or len(sizes) < 3 else ["val", "test"]
    free = list(range(len(sizes)))
    for place, split in enumerate(wanted):
        quota = max(1, math.floor(fractions[SPLITS.index(split)] * total + 0.5))
        keep = len(wanted) - place  # one group for train and one for each split still to come
        chosen: list[int] = []
        for group in free:
            if sizes[group] <= quota and len(free) - len(chosen) > keep:
                chosen.append(group)
                quota -= sizes[group]
        if not chosen:  # every group is larger than the share: the smallest does least harm
            chosen.append(min(free, key=lambda group: sizes[group]))
        for group in chosen:
            parts[group] = split
        free = [group for group in free if parts[group] == "train"]
    return parts


def _check_fractions(fractions: tuple[float, float, float]) -> None:
    train, val, test = fractions
    if not (train > 0 and val > 0 and test >= 0 and math.isclose(sum(fractions), 1.0, abs_tol=1e-6)):
        raise SettingsError(
            f"fractions of train, val and test are {fractions}", "they sum to 1, and only that of test may be 0"
        )


def _check_disjoint(rows: Iterable[SplitRow]) -> None:
    seen: dict[str, SplitRow] = {}
    for row in rows:
        other = seen.setdefault(row.sha256, row)
        if other.split != row.split:
            raise DataError(
                f"{other.path} ({other.split}) and {row.path} ({row.split}) have the same content",
                "remove one of them",
            )
