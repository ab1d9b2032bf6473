"""A fine-tune in the style of timm's train script, made of timm's own parts.

    python benchmarks/runners/timm_style.py IMAGES.csv [--size 224] [--epochs 10]

Its `create_loader`, `create_optimizer_v2`, `create_scheduler_v2` and `LabelSmoothingCrossEntropy` as train.py calls
them. Augmentation is that script's default (random resized crops from 8 % of the area on, mirroring, colour jitter 0.4)
with RandAugment `rand-m9-mstd0.5-inc1`; label smoothing is 0.1. What timm's published fine-tunings change is changed as
they do: AdamW instead of SGD, a rate for each layer (--layer-decay), warm-up, a cosine by step. Their rates are for
batches of hundreds and larger networks; --rate is the one used here. As train.py does, it keeps the checkpoint that did
best on val. The prefetcher is for GPUs: it is left out, as with `--no-prefetcher`.
"""

from __future__ import annotations

import argparse
import copy
import sys

import torch
from given import MEAN, STD, arguments_of, clock_of, pretrained_network, read_images, top1_of, versions
from PIL import Image
from timm.data import create_loader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch.utils.data import DataLoader, Dataset

RUNNER = "timm-style"
_BATCH = 32


class Pictures(Dataset):
    """Images read from disk each time, as timm's ImageDataset does; `create_loader` sets `transform`."""

    def __init__(self, samples: list[tuple[str, int]]) -> None:
        self._samples = samples
        self.transform: object = None

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, class_id = self._samples[index]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), class_id  # type: ignore[operator]


def loader(samples: list[tuple[str, int]], size: int, workers: int, *, training: bool) -> DataLoader:
    """Returns timm's loader as train.py makes it for training or for evaluation."""
    augmentation = {"auto_augment": "rand-m9-mstd0.5-inc1", "color_jitter": 0.4, "hflip": 0.5} if training else {}
    return create_loader(
        Pictures(samples),
        input_size=(3, size, size),
        batch_size=min(_BATCH, len(samples)) if training else 2 * _BATCH,
        is_training=training,
        use_prefetcher=False,
        interpolation="random" if training else "bicubic",
        mean=MEAN,
        std=STD,
        num_workers=workers,
        crop_pct=0.875,
        pin_memory=False,
        device=torch.device("cpu"),
        **augmentation,
    )


def main() -> None:
    """Trains, and tells of every evaluation."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--rate", type=float, default=5e-4)
    own.add_argument("--layer-decay", type=float, default=0.75)
    mine, sys.argv[1:] = own.parse_known_args()
    arguments = arguments_of(f"{__doc__}\nAlso: --rate {mine.rate} --layer-decay {mine.layer_decay}")
    torch.manual_seed(arguments.seed)
    with clock_of(RUNNER) as clock:
        images = read_images(arguments.images)
        size, workers = arguments.size, arguments.workers
        train = loader(images.by_split["train"], size, workers, training=True)
        val = loader(images.by_split["val"], size, workers, training=False)
        network = pretrained_network(len(images.labels))
        criterion = LabelSmoothingCrossEntropy(0.1)
        optimizer = create_optimizer_v2(
            network, opt="adamw", lr=mine.rate, weight_decay=0.05, layer_decay=mine.layer_decay
        )
        scheduler, _ = create_scheduler_v2(
            optimizer,
            sched="cosine",
            num_epochs=arguments.epochs,
            warmup_epochs=min(1, arguments.epochs - 1),
            warmup_lr=mine.rate / 100,
            min_lr=0.0,
            step_on_epochs=False,
            updates_per_epoch=len(train),
        )
        steps, best, best_state = 0, 0.0, copy.deepcopy(network.state_dict())
        for epoch in range(arguments.epochs):
            network.train()
            for inputs, targets in train:
                optimizer.zero_grad()
                criterion(network(inputs), targets).backward()
                optimizer.step()
                steps += 1
                scheduler.step_update(steps)
            found = top1_of(network, val)
            clock.evaluated(epoch + 1, found)
            if found > best:
                best, best_state = found, copy.deepcopy(network.state_dict())
        seconds = clock.seconds()
        network.load_state_dict(best_state)
        test = images.by_split.get("test")
        clock.done(
            seconds,
            size=size,
            kept=best,
            test=top1_of(network, loader(test, size, workers, training=False)) if test else None,
            recipe=f"AdamW {mine.rate:g}, layer decay {mine.layer_decay:g}, warm-up and cosine, RandAugment, label "
            f"smoothing, batches of {_BATCH}, {arguments.epochs} epochs; keeps its best epoch",
            versions=versions("torch", "torchvision", "timm"),
        )


if __name__ == "__main__":
    main()
