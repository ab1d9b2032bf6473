"""Task: what one fine-tuning works on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.core.errors import SettingsError
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.streaming.stream import Stream


@dataclass(frozen=True)
class Task:
    """One fine-tuning at work.

    Attributes:
        network: trained in place; its head is fitted already.
        prepared: the images.
        train: rows to train on.
        val: rows to validate with.
        settings: as given.
        augmentation: what training may do to images.
        pretrained: where the weights came from; "none" for random ones.
        device: "cpu" or "cuda".
        folder: where state and history are kept.
        tracked: where else the history goes.
        start: the checkpoint whose network goes on learning; None where it began from a pretrained backbone.
        unlabeled: pixels of images whose classes are not known, uint8 [images, H, W, 3]; None without --unlabeled.
        found: what was found out before training, JSON values by name: "probe" (see probe.Probe), "domain_shift".
        val_logits: what the network answers to the validation images before training, float32 [images, classes]; None
            where nobody has asked it yet, or it was changed since.
        began: when the run began, in seconds of time.monotonic.
        stream: where training images beyond the prepared ones come from, epoch by epoch; None where these are all.
        notes: what a strategy found and decided, JSON values by name; it ends up in the manifest.
    """

    network: DeployNetwork
    prepared: Prepared
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    settings: FinetuneSettings
    augmentation: Augmentation
    pretrained: str
    device: str
    folder: Path
    tracked: Tracking
    start: Checkpoint | None = None
    unlabeled: PixelCache | None = None
    found: dict[str, Any] = field(default_factory=dict)
    val_logits: Tensor | None = None
    began: float = field(default_factory=time.monotonic)
    stream: Stream | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def usable_device(wanted: str) -> str:
    """Returns "cuda" or "cpu" for "auto", "cpu" or "cuda".

    Raises:
        SettingsError: CUDA is wanted and not there, or another name.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"device is '{wanted}', expected auto, cpu or cuda")
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise SettingsError(
            "device is 'cuda', but PyTorch sees no CUDA device here", "see `edgexfer doctor`, or take --device cpu"
        )
    return "cuda" if there and wanted != "cpu" else "cpu"
