"""Rates and epochs that suit the data: how many images there are, and how well the frozen features fit them already.

Features that fit (photographs of things, the head recognises nearly all) are spoilt by large steps: 244 photographs of
insects lost 6 points in one epoch at 5e-4. Features that do not fit have to change, and on few images they do so at
large rates alone: 5 images of each of 10 hand signs gave 60 % frozen, 83 % at 5e-4, 86 % at 1e-3 (docs/log.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.task import Task

_FITS, _FITS_NOT = 0.06, 0.12  # error of the frozen features' head on images it has not seen
_GENTLE_RATE, _GENTLE_IMAGES, _LEAST_RATE = 5e-4, 1500, 3e-5
_BOLD_RATE, _BOLD_IMAGES = 1e-3, 500
_SCRATCH_RATE = 2e-3
_IMAGES_SEEN = 10_000  # in all, but between 4 and 10 epochs
_MOST_EPOCHS = 40
_PATIENCE = 3
_DOUBT = 10  # images: with few, an error of 0 or 20 % is chance, and the rate lies between the two
_STEP_COST = 4.0  # a training step's time in forward passes: forward, backward twice as long, augmentation, optimizer


@dataclass(frozen=True)
class Suited:
    """How a network should learn from these images.

    Attributes:
        learning_rate: of the classifier at its peak.
        epochs: that will run: passes over the training images, and of shards windows (train/streaming/windows.py).
        patience: epochs without a better one after which training ends.
        reason: why, in words.
    """

    learning_rate: float
    epochs: int
    patience: int
    reason: str


def suited(task: Task) -> Suited:
    """Returns what suits the task's images; what its settings say counts more."""
    settings, images = task.settings, len(task.train)
    rate, epochs, reason = _suited(images, task.found.get("probe"), scratch=task.pretrained == "none")
    epochs = _running(task, epochs)
    return Suited(settings.learning_rate or rate, epochs, settings.patience or max(_PATIENCE, epochs // 3), reason)


def schedule(task: Task, how: Suited, **more: Any) -> Schedule:
    """Returns the Schedule of `how` and the task's settings, of the epochs that will run; `more` are further fields."""
    settings = task.settings
    made = Schedule(
        epochs=how.epochs,
        batch_size=min(settings.batch_size, len(task.train)),
        learning_rate=how.learning_rate,
        layer_decay=1.0 if task.pretrained == "none" else settings.layer_decay,
        label_smoothing=settings.label_smoothing,
        ema=settings.ema or 0.0,
        seed=settings.seed,
        **more,
    )
    return made if settings.steps is None else made.in_steps(settings.steps, len(task.train))


def affordable_epochs(task: Task, seconds: float) -> int | None:
    """Returns how many epochs `seconds` allow, by the time that a pass over images took; None where it is unknown."""
    forward_ms = (task.found.get("probe") or task.found).get("forward_ms")
    if forward_ms is None:
        return None
    epoch = forward_ms * (_STEP_COST * len(task.train) + len(task.val)) / 1000
    return int(seconds / max(epoch, 1e-6))


def _running(task: Task, wanted: int) -> int:
    asked = task.settings.epochs
    if task.stream is None or "auto" in task.notes:  # what `auto` has planned are windows already
        return asked or wanted
    windows = task.stream.windows_for(asked)
    return windows if asked else max(windows, wanted)


def _suited(images: int, probe: dict[str, Any] | None, *, scratch: bool) -> tuple[float, int, str]:
    epochs = min(10, max(4, math.ceil(_IMAGES_SEEN / images)))
    if scratch:
        return _SCRATCH_RATE, epochs, "random weights: large steps"
    gentle = max(_LEAST_RATE, _GENTLE_RATE * min(1.0, (images / _GENTLE_IMAGES) ** 1.5))
    if probe is None:
        return gentle, epochs, f"a network that knows the task, {images} images: small steps"
    error = None if probe["folds_top1"] is None else 1 - probe["folds_top1"]
    seen = 0 if error is None else probe["folds_images"]
    likely = ((error or 0.0) * seen + (_FITS + _FITS_NOT) / 2 * _DOUBT) / (seen + _DOUBT)
    share = min(1.0, max(0.0, (likely - _FITS) / (_FITS_NOT - _FITS)))
    bold = _BOLD_RATE * min(1.0, (_BOLD_IMAGES / images) ** 0.6)
    rate = math.exp((1 - share) * math.log(gentle) + share * math.log(max(bold, gentle)))
    if share > 0:
        # Steps count where much is to be learned: 50 images in 10 epochs are 20 steps.
        epochs = max(epochs, min(_MOST_EPOCHS, round(250 / math.sqrt(images))))
    fit = "do not fit" if share == 1 else "nearly fit" if share > 0 else "fit"
    size = "large" if share == 1 else "middling" if share > 0 else "small"
    known = "too few images to tell" if error is None else f"error {100 * error:.1f} % on images left out"
    return rate, epochs, f"the frozen features {fit} ({known}): {size} steps"
