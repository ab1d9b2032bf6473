"""Recover: a network that has just lost channels learns again to answer as the unpruned one does.

Distillation from the unpruned float network: its answers (Hinton et al. 2015), and its features in the channels that
were kept (features.py). Labels are not learned from: what remove.py leaves is close to the unpruned network, and they
lead away (docs/log.md). Only the training split is learned from; the epoch that is closest to it on the validation
images stays. It ends where no epoch comes closer any more, at once where nothing was lost.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from edgexfer.core.files import write_file
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.fit import HISTORY, fit
from edgexfer.train.loop.judge import logits
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.loop.trainee import Trainee
from edgexfer.train.prune.features import feature_distance
from edgexfer.train.prune.groups import Group

_IMAGES_SEEN = 3_000  # at each point unless told otherwise; twice that at the last one
_MOST_EPOCHS = 40
_PATIENCE = 3  # epochs, or a quarter of them all: the rate still rises in the first tenth
_LEARNING_RATE = 3e-4
_NEAR = 0.03  # from the teacher's answers, KL: from here the full rate leads away (docs/log.md)
_RATE_NEAR = 0.1
_DISTILLATION = 1.0


def recovery(images: int, *, epochs: int | None, last: bool, seed: int) -> Schedule:
    """Returns how a point learns.

    Args:
        images: of the training split.
        epochs: for each point; None lets the number of images decide, and the last point learns for twice as long.
        last: whether it is the point that was asked for.
        seed: of order and augmentation.
    """
    if epochs is None:
        epochs = min(_MOST_EPOCHS, max(2, math.ceil(_IMAGES_SEEN / images))) * (2 if last else 1)
    return Schedule(
        epochs=epochs,
        batch_size=min(32, images),
        learning_rate=_LEARNING_RATE,
        layer_decay=1.0,
        label_smoothing=0.0,
        distillation=_DISTILLATION,
        seed=seed,
    )


def recover(
    network: DeployNetwork,
    teacher: DeployNetwork,
    groups: Sequence[Group],
    kept: Sequence[Tensor],
    images: Prepared,
    schedule: Schedule,
    folder: Path,
    *,
    mirror: bool,
    device: str,
    tracked: Tracking | None = None,
    tracked_as: str | None = None,
    stage: str = "prune",
) -> dict[str, Any]:
    """Trains `network` in place; returns the record of the epoch that is kept, 0 for the network as it came.

    Args:
        network: what has just lost channels.
        teacher: the unpruned network.
        groups: of `network`.
        kept: for each group the unpruned network's channels that are left, int64.
        images: train is learned from, val chooses the epoch.
        schedule: as `recovery` returns it; of 0 epochs trains nothing.
        folder: where history and state are kept.
        mirror: whether training may mirror images.
        device: "cpu" or "cuda".
        tracked: takes the rows of the history.
        tracked_as: what they are called there.
        stage: what they are called in the history.
    """
    patience = max(_PATIENCE, schedule.epochs // 4)
    val = images.indices("val")
    if _distance(*(logits(one.to(device), images.cache, val) for one in (network, teacher))) < _NEAR:
        schedule = replace(schedule, learning_rate=_RATE_NEAR * schedule.learning_rate)
    with feature_distance(network, teacher, groups, kept) as distance:
        trainee = Trainee(
            network,
            images.cache,
            images.class_ids,
            images.indices("train"),
            val,
            schedule,
            Augmentation(mirror=mirror),
            teacher=teacher,
            extra_loss=distance,
        )
        return fit(
            trainee, folder, stage=stage, patience=patience, device=device, tracked=tracked, tracked_as=tracked_as
        )


def _distance(found: Tensor, wanted: Tensor) -> float:
    return float(F.kl_div(found.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True))


def epochs_learned(folder: Path) -> int:
    """Returns how many epochs `recover` trained in a folder, before its patience ran out."""
    return len(_rows(folder / HISTORY)) - 1


def write_joined_history(parent: Path, points: Sequence[Path], out: Path) -> int:
    """Writes one history: the parent's epochs, then those of each point, numbered on.

    Args:
        parent: a `history.csv`; it may be missing.
        points: folders that `recover` trained in.
        out: the file.

    Returns:
        The number that epoch 0 of the last point has in it.
    """
    rows = _rows(parent)
    first = 0
    for folder in points:
        first = int(rows[-1]["epoch"]) + 1 if rows else 0
        rows += [{**row, "epoch": str(first + int(row["epoch"]))} for row in _rows(folder / HISTORY)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(out, text.getvalue())
    return first


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
