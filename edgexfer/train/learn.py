"""learn: one Schedule run on a Task. What every strategy that trains ends in."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import Any

from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.learning_rate import find_once
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trainee import Trainee
from edgexfer.train.streaming.windows import Windows
from edgexfer.train.task import Task

log = logging.getLogger(__name__)


def learn(task: Task, schedule: Schedule, *, patience: int | None = None) -> dict[str, Any]:
    """Trains the task's network by `schedule` and leaves it with the weights of the best epoch, epoch 0 included.

    Args:
        task: its network is trained in place.
        schedule: of 0 epochs judges the network and trains nothing.
        patience: epochs without a higher top-1 on val after which training ends; None for never.

    Returns:
        The record of the best epoch.
    """
    renewal = None if task.stream is None else Windows(task.stream, task.prepared.labels, task.train)
    trainee = Trainee(
        task.network,
        task.prepared.cache,
        task.prepared.class_ids,
        task.train,
        task.val,
        schedule,
        task.augmentation,
        renewal=renewal,
    )
    trainee.known_logits = task.val_logits
    if schedule.epochs:
        task.notes["augmentation"] = asdict(task.augmentation)
    if task.settings.find_learning_rate and schedule.epochs:
        found = find_once(trainee, task.device, task.folder)
        log.info("learning rate %.2g: %s", found.rate, found.reason)
        task.notes["learning_rate"] = found.to_json()
        trainee.schedule = replace(schedule, learning_rate=found.rate)
    return fit(
        trainee,
        task.folder,
        stage="finetune",
        patience=patience,
        device=task.device,
        tracked=task.tracked,
    )
