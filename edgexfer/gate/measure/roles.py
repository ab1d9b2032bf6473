"""Roles: which images may judge a network. The digest of an image tells what it was, whatever folder it lies in now.

A bundle's `split.csv` names every image that trained, validated or tested its network by SHA-256; any other
image is "new". Judged are the images held out the most: test and new ones, else val, else train.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from edgexfer.core.bundle import SPLIT, Bundle
from edgexfer.core.errors import ArtifactError, DataError, SettingsError, did_you_mean
from edgexfer.core.manifest import read_if_listed
from edgexfer.gate.measure.evaluation import Role

Wanted: TypeAlias = Literal["train", "val", "test", "new", "all"]
_WARNINGS: dict[Role, str] = {
    "train": "{count} were trained on: the figures say how well the network remembers, not how well it will do",
    "val": "{count} chose the epoch that was kept (split val): expect slightly less on new ones",
}


def roles_of(bundle: Bundle) -> dict[str, Role]:
    """Returns {SHA-256 of an image: its role} for every image that the bundle's network was made with.

    Raises:
        ArtifactError: `split.csv` is missing or damaged.
    """
    path, raw = bundle.folder / SPLIT, read_if_listed(bundle.folder, bundle.manifest, SPLIT)
    if raw is None:
        raise ArtifactError(f"bundle {bundle.folder} lacks {SPLIT}", "make the bundle again")
    # A file name on Linux is bytes; those that are not UTF-8 go through unchanged.
    text = raw.decode("utf-8", "surrogateescape")
    try:
        rows = [(row["sha256"], row["split"]) for row in csv.DictReader(io.StringIO(text, newline=""), strict=True)]
    except (KeyError, csv.Error) as error:
        raise ArtifactError(f"{path} is damaged: {error}", "make the bundle again") from error
    # `split.csv` never has one image in two splits: see train/images/split.py.
    return {sha256: role for sha256, split in rows for role in get_args(Role) if role == split}


def choose_roles(found: Sequence[Role], split: str | None, data: str) -> set[Role]:
    """Decides which of the images that were found judge the network.

    Args:
        found: the role of every image of the data set; one or more.
        split: one role, "all", or None for those held out the most.
        data: what is named in errors.

    Raises:
        SettingsError: `split` is none of these.
        DataError: no image has that role.
    """
    present = set(found)
    if split is None:
        return present & {"test", "new"} or present & {"val"} or present
    if split not in get_args(Wanted):
        raise SettingsError(f"unknown split '{split}'", did_you_mean(split, get_args(Wanted)))
    chosen: set[Role] = {role for role in present if split in (role, "all")}
    if not chosen:
        counts = ", ".join(f"{count} {role}" for role, count in sorted(Counter(found).items()))
        raise DataError(
            f"{data} has no images that were '{split}' for this bundle (it has {counts})",
            "leave --split away to judge by the images held out the most",
        )
    return chosen


def flattery(judged: Sequence[Role]) -> tuple[str, ...]:
    """Returns a sentence for each role among the judged images that makes the figures look better than they are."""
    counts = Counter(judged)
    return tuple(
        text.format(count=f"{counts[role]} of {len(judged)} images") for role, text in _WARNINGS.items() if counts[role]
    )
