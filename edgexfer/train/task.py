"""Task: what one fine-tuning works on, and the settings that a user may give it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer.core.errors import SettingsError
from edgexfer.train.augment import Augmentation
from edgexfer.train.backbones import DEFAULT
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.prepared import Prepared

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class FinetuneSettings:
    """What a user may set, by flag or in a TOML file.

    Attributes:
        backbone: a name from `edgexfer backbones`.
        weights: "auto", "none", or a .safetensors or .pth file.
        strategy: a name from train/strategies.py.
        epochs: passes over the training images; None lets the number of images decide.
        batch_size: images per step.
        learning_rate: of the classifier at its peak.
        layer_decay: factor on the rate from one depth group to the one before it.
        label_smoothing: 0 to 1.
        patience: epochs without a lower validation loss after which training ends.
        input_size: side of the square input in pixels; None lets the photographs decide.
        resize: "cover" fills the square and cuts what hangs over; "stretch" keeps all of the image.
        mirror: whether training mirrors images; None asks the images whether their classes survive it.
        seed: of split, order and augmentation.
        device: where to train.
        strict: accept no image that cannot be used.
    """

    backbone: str = DEFAULT
    weights: str = "auto"
    strategy: str = "finetune"
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float = 5e-4
    layer_decay: float = 0.8
    label_smoothing: float = 0.1
    patience: int = 4
    input_size: int | None = None
    resize: Literal["cover", "stretch"] = "cover"
    mirror: bool | None = None
    seed: int = 0
    device: Device = "auto"
    strict: bool = False

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float | None, float, float]] = {
            "epochs": (self.epochs, 1, 100_000),
            "batch_size": (self.batch_size, 1, 65_536),
            "learning_rate": (self.learning_rate, 1e-9, 10.0),
            "layer_decay": (self.layer_decay, 0.01, 1.0),
            "label_smoothing": (self.label_smoothing, 0.0, 0.9),
            "patience": (self.patience, 1, 100_000),
            "input_size": (self.input_size, 32, 2048),
            "seed": (self.seed, 0, 2**32 - 1),
        }
        for name, (value, low, high) in ranges.items():
            if value is not None and not low <= value <= high:
                raise SettingsError(f"{name} is {value}, expected {low:g} to {high:g}")
        if self.input_size is not None and self.input_size % 32:
            raise SettingsError(
                f"input_size is {self.input_size}, expected a multiple of 32",
                f"take {round(self.input_size / 32) * 32}",
            )


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


def usable_device(wanted: str) -> str:
    """Returns "cuda" or "cpu" for "auto", "cpu" or "cuda".

    Raises:
        SettingsError: CUDA is wanted and not there, or another name.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"device is '{wanted}', expected auto, cpu or cuda")
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise SettingsError("device is 'cuda', but PyTorch sees no CUDA device here", "see `edgexfer doctor`, or take --device cpu")
    return "cuda" if there and wanted != "cpu" else "cpu"
