"""Task: what one fine-tuning works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer.core.errors import SettingsError
from edgexfer.train.augment import Augmentation
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.prepared import Prepared
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.trackers import Tracking


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
