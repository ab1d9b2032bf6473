"""A network of three convolutions that learns two kinds of stripes within seconds, and a Trainee for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgexfer.train.backbones import HALF
from edgexfer.train.deploy import DeployNetwork, deploy_form
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trainee import Trainee
from tests.train.pictures import cache_of, stripes

IDS = np.repeat(np.arange(2), 16)
CACHE = cache_of([stripes(kind, number, side=16) for number, kind in enumerate(IDS)])
TRAIN, VAL = np.flatnonzero(np.arange(32) % 4 != 0), np.flatnonzero(np.arange(32) % 4 == 0)
GENTLE = Schedule(epochs=3, batch_size=8, learning_rate=3e-3)
PLAIN = Augmentation()


def tiny() -> DeployNetwork:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1, stride=2) for i in range(3)]
    body = [part for layer in layers for part in (layer, nn.ReLU())]
    return deploy_form(
        nn.Sequential(*body, nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)), HALF, 16, 16
    )


def trainee_of(
    network: DeployNetwork,
    schedule: Schedule = GENTLE,
    ids: NDArray[np.int64] = IDS,
    augmentation: Augmentation = PLAIN,
    **more: Any,
) -> Trainee:
    return Trainee(network, CACHE, ids, TRAIN, VAL, schedule, augmentation, **more)


def trained(
    folder: Path, schedule: Schedule = GENTLE, patience: int | None = None, augmentation: Augmentation = PLAIN
) -> tuple[DeployNetwork, dict[str, Any]]:
    network = tiny()
    trainee = trainee_of(network, schedule, augmentation=augmentation)
    return network, fit(trainee, folder, stage="finetune", patience=patience, device="cpu")


class PowerCutError(Exception):
    """Ends a training in the middle."""


def cut_off(folder: Path, schedule: Schedule = GENTLE, augmentation: Augmentation = PLAIN) -> None:
    """Trains into `folder` and stops in the middle of the second epoch, as a power cut would."""
    trainee = trainee_of(tiny(), schedule, augmentation=augmentation)
    step = trainee.training_step

    def cut(batch: int, batch_idx: int) -> Any:
        if (trainee.current_epoch, batch_idx) == (1, 2):
            raise PowerCutError
        return step(batch, batch_idx)

    trainee.training_step = cut  # type: ignore[method-assign]
    with pytest.raises(PowerCutError):
        fit(trainee, folder, stage="finetune", patience=None, device="cpu")
