"""Self-training: a network learns from its own surest answers on unlabeled images, and from labelled ones with them.

Each round labels anew, with the network of the round before, and more of the images; the labelled images keep the
network from forgetting what it knew, and from agreeing with itself on nonsense. Every round is one `fit`, and so can
be resumed: what came before it follows from its inputs alone.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexfer.train.domain.pseudo_labels import confident
from edgexfer.train.images.joined_pixels import joined_pixels
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.judge import probabilities
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trainee import Trainee
from edgexfer.train.task import Task

log = logging.getLogger(__name__)

STAGE = "adapt"
_SHARES = (0.5, 0.8)  # of each class's unlabeled images, the surest first, round by round
_STEPS = 120  # of a round at least; few images are passed several times
_MOST_EPOCHS = 6
_LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Round:
    """What one round learned from.

    Attributes:
        folder: its history and state.
        pseudo_labels: how many unlabeled images were labelled.
        labelled: how many labelled images were passed with them.
    """

    folder: Path
    pseudo_labels: int
    labelled: int


def self_train(task: Task, unlabeled: PixelCache, rows: NDArray[np.int64], folder: Path) -> tuple[Round, ...]:
    """Trains `task.network` in place on the images `rows` of `unlabeled`, in rounds.

    Args:
        task: its network; its training images keep their labels and are passed as often as the unlabeled ones.
        unlabeled: uint8 [images, H, W, 3].
        rows: those to learn from.
        folder: where the rounds keep their state.

    Returns:
        What was done; a round without an image that the network is sure of ends it.
    """
    done: list[Round] = []
    for number, share in enumerate(_SHARES, start=1):
        task.network.to(task.device)
        answers = probabilities(task.network, unlabeled, rows).numpy()
        chosen, labels = confident(answers, confidence=task.settings.pseudo_label_confidence, share=share)
        if not len(chosen):
            log.info("round %d: the network is sure of none of %d unlabeled images", number, len(rows))
            break
        drawn = np.random.default_rng([task.settings.seed, number]).permutation(task.train)[: len(chosen)]
        place = folder / f"round-{number}"
        log.info("round %d: pseudo-labels on %d of %d unlabeled images", number, len(chosen), len(rows))
        parts = [(unlabeled, rows[chosen]), (task.prepared.cache, np.concatenate([drawn, task.val]))]
        with joined_pixels(parts) as pixels:
            known = task.prepared.class_ids[np.concatenate([drawn, task.val])]
            _fit_round(task, pixels, np.concatenate([labels, known]), len(chosen) + len(drawn), place)
        done.append(Round(place, len(chosen), len(drawn)))
    return tuple(done)


def _fit_round(task: Task, pixels: PixelCache, class_ids: NDArray[np.int64], training: int, folder: Path) -> None:
    batch = min(task.settings.batch_size, training)
    epochs = min(_MOST_EPOCHS, max(1, math.ceil(_STEPS / math.ceil(training / batch))))
    schedule = Schedule(
        epochs=epochs,
        batch_size=batch,
        learning_rate=task.settings.learning_rate or _LEARNING_RATE,
        layer_decay=task.settings.layer_decay,
        label_smoothing=task.settings.label_smoothing,
        seed=task.settings.seed,
        keep_last=True,
    )
    # What differs between the two kinds of images is mostly light and colour: those are varied more than usual.
    augmentation = replace(task.augmentation, brightness=0.25, contrast=0.3)
    train, val = np.arange(training), np.arange(training, len(class_ids))
    trainee = Trainee(task.network, pixels, class_ids, train, val, schedule, augmentation)
    fit(trainee, folder, stage=STAGE, patience=None, device=task.device, tracked=task.tracked, tracked_as=folder.name)
