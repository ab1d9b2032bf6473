"""Trainings that must end alike however many processes share them, and a script that is one of these processes.

python -m tests.train.together FOLDER     # in each process; srun's or torchrun's variables say which one it is
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgexfer.train.backbones import HALF
from edgexfer.train.deploy import DeployNetwork, deploy_form
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trainee import Trainee
from tests.train.pictures import cache_of, stripes

CLASSES = np.array([0] * 15 + [1] * 7)  # uneven, so that rare images weigh more
VAL, TRAIN = np.array([3, 9, 17]), np.setdiff1d(np.arange(22), [3, 9, 17])
AS_IT_IS = Augmentation(smallest_crop=1.0, brightness=0.0, contrast=0.0, rotation=0.0)
PLAIN = Schedule(epochs=3, batch_size=6, learning_rate=3e-3)  # 19 rows: the last batch has 1, and a process none


@dataclass(frozen=True)
class Variant:
    """One training: its schedule, and whether a teacher answers."""

    schedule: Schedule
    taught: bool = False


VARIANTS = {
    "plain": Variant(PLAIN),
    "gradual": Variant(replace(PLAIN, trainable_groups=(1, 4, 8), ema=0.9)),
    "taught": Variant(replace(PLAIN, epochs=2, distillation=0.5), taught=True),
}


def network(seed: int = 0) -> DeployNetwork:
    """A convolutional network of a few hundred weights, without dropout."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1, stride=2) for i in range(3)]
    body = [part for layer in layers for part in (layer, nn.ReLU())]
    return deploy_form(nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)), HALF, 16, 16)


def train(name: str, folder: Path, *, cut: bool = False) -> tuple[DeployNetwork, dict[str, Any]]:
    """Runs the variant `name`; returns its network and the record of its best epoch.

    Args:
        name: of the variant.
        folder: where state is kept and found again.
        cut: end with a KeyboardInterrupt in the middle of the second epoch.
    """
    variant, learning = VARIANTS[name], network()
    teacher = network(1) if variant.taught else None
    with cache_of([stripes(kind, number, side=16) for number, kind in enumerate(CLASSES)]) as cache:
        trainee = Trainee(learning, cache, CLASSES, TRAIN, VAL, variant.schedule, AS_IT_IS, teacher)
        if cut:
            trainee.training_step = _cut(trainee)  # type: ignore[method-assign]
        best = fit(trainee, folder, stage="finetune", patience=None, device="cpu")
    return learning, best


def _cut(trainee: Trainee) -> Callable[[int, int], torch.Tensor]:
    step = trainee.training_step

    def cut(batch: int, batch_idx: int) -> torch.Tensor:
        if (trainee.current_epoch, batch_idx) == (1, 1):
            raise KeyboardInterrupt
        return step(batch, batch_idx)

    return cut


def main() -> None:
    """Leads or follows, as the environment says."""
    from edgexfer.train.images.pixel_cache import PixelCache
    from edgexfer.train.processes.distributed import leading
    from edgexfer.train.processes.follow import follow
    from edgexfer.train.processes.place import find_place

    torch.set_num_threads(1)
    place = find_place()
    if place.rank > 0:

        def unseen(_: object) -> PixelCache:
            raise FileNotFoundError

        if place.rank % 2:  # as on another machine: the pixels come through the network
            PixelCache.mapped = unseen  # type: ignore[method-assign,assignment]
        follow(place)
        return
    with leading(place):
        for name in VARIANTS:
            train(name, Path(sys.argv[1]) / name)
        train("plain", Path(sys.argv[1]) / "resumed")  # from the state that lies there


if __name__ == "__main__":
    main()
