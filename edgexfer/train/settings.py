"""FinetuneSettings: what a user may set, by flag or in a TOML file. Imports nothing heavy: a typo answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgexfer.core.errors import SettingsError
from edgexfer.train.backbones import DEFAULT

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
        learning_rate: of the classifier at its peak; None lets the number of images decide.
        layer_decay: factor on the rate from one depth group to the one before it.
        label_smoothing: 0 to 1.
        patience: epochs without a higher top-1 on the validation images after which training ends.
        input_size: side of the square input in pixels; None lets the photographs decide.
        resize: "cover" fills the square and cuts what hangs over; "stretch" keeps all of the image.
        mirror: whether training mirrors images; None asks the images whether their classes survive it.
        seed: of split, order and augmentation.
        device: where to train.
        strict: accept no image that cannot be used.
        temperature_scaling: make scores honest after training, by what val says (train/temperature.py).
    """

    backbone: str = DEFAULT
    weights: str = "auto"
    strategy: str = "finetune"
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    layer_decay: float = 0.8
    label_smoothing: float = 0.1
    patience: int = 3
    input_size: int | None = None
    resize: Literal["cover", "stretch"] = "cover"
    mirror: bool | None = None
    seed: int = 0
    device: Device = "auto"
    strict: bool = False
    temperature_scaling: bool = True

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
