"""Fine-tuning strategies: a new one is a function here. Each starts from a network whose head is already fitted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.train.fit import fit
from edgexfer.train.task import Task
from edgexfer.train.trainee import Schedule, Trainee

Strategy = Callable[[Task], dict[str, Any]]
_IMAGES_SEEN = 10_000  # by `finetune` unless told otherwise: this many in all, but between 4 and 10 epochs
_RATE, _RATE_IMAGES, _LEAST_RATE = 5e-4, 1500, 3e-5
_SCRATCH_RATE = 2e-3


def linear_probe(task: Task) -> dict[str, Any]:
    """The backbone stays a fixed feature extractor; only its head is fitted, which was done before."""
    return _fit(task, Schedule(epochs=0, seed=task.settings.seed))


def finetune(task: Task) -> dict[str, Any]:
    """All layers learn, earlier ones at a smaller rate; what the head alone could do is never lost."""
    settings = task.settings
    epochs = settings.epochs
    if epochs is None:
        epochs = min(10, max(4, math.ceil(_IMAGES_SEEN / len(task.train))))
    schedule = Schedule(
        epochs=epochs,
        batch_size=min(settings.batch_size, len(task.train)),
        learning_rate=settings.learning_rate or _rate(task),
        layer_decay=settings.layer_decay,
        label_smoothing=settings.label_smoothing,
        seed=settings.seed,
    )
    if task.pretrained == "none":
        schedule = replace(schedule, layer_decay=1.0)
    return _fit(task, schedule)


def _rate(task: Task) -> float:
    # Few images, small steps: 244 photographs lost 6 points in one epoch at 5e-4 (docs/log.md).
    if task.pretrained == "none":
        return _SCRATCH_RATE
    return max(_LEAST_RATE, _RATE * min(1.0, (len(task.train) / _RATE_IMAGES) ** 1.5))


def find_strategy(name: str) -> Strategy:
    """Returns the strategy `name`.

    Raises:
        SettingsError: there is none ("did you mean").
    """
    if name not in STRATEGIES:
        raise SettingsError(f"unknown strategy '{name}'", did_you_mean(name, STRATEGIES))
    return STRATEGIES[name]


STRATEGIES: dict[str, Strategy] = {"finetune": finetune, "linear-probe": linear_probe}


def _fit(task: Task, schedule: Schedule) -> dict[str, Any]:
    trainee = Trainee(
        task.network, task.prepared.cache, task.prepared.class_ids, task.train, task.val, schedule, task.augmentation
    )
    patience, device = task.settings.patience, task.device
    return fit(trainee, task.folder, stage="finetune", patience=patience, device=device, tracked=task.tracked)
