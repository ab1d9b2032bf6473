"""FinetuneSettings: what a user may set, by flag or in a TOML file. Imports nothing heavy: a typo answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.train.backbones import DEFAULT

Device = Literal["auto", "cpu", "cuda"]
NearDuplicates = Literal["together", "apart"]
AugmentationName = Literal["auto", "none", "light", "trivial", "rand"]


@dataclass(frozen=True)
class FinetuneSettings:
    """What a user may set, by flag or in a TOML file.

    Attributes:
        backbone: a name from `edgexfer backbones`.
        weights: "auto", "none", or a .safetensors or .pth file.
        strategy: a name from train/strategies.py.
        epochs: passes over the training images; None lets the number of images decide.
        steps: steps in all, for sets so large that an epoch says little; None lets `epochs` decide.
        window: training images of shards that are held at once, see train/streaming/stream.py.
        batch_size: images per step, of all processes together where several train.
        learning_rate: of the classifier at its peak; None lets the number of images decide.
        layer_decay: factor on the rate from one depth group to the one before it.
        label_smoothing: 0 to 1.
        patience: epochs without a higher top-1 on the validation images after which training ends; None for a third of
            the epochs, 3 at least.
        last_groups: how many of eight runs of layers learn with `last-n`, the classifier counted.
        time_budget_s: seconds that `auto` plans to stay within, reading the images included; None for no limit.
        input_size: side of the square input in pixels; None lets the photographs decide.
        resize: "cover" fills the square and cuts what hangs over; "stretch" keeps all of the image.
        mirror: whether training mirrors images; None asks the images whether their classes survive it.
        augmentation: how training images are changed; "auto" lets their number and the epochs decide.
        augmentation_strength: factor on the usual strength of "light" and "rand", 0 to 3; None is 1.
        random_erasing: chance of a training image to lose a rectangle; None lets auto decide, 0 is never.
        mixup: alpha of the Beta distribution that pairs of training images are blended by; None for auto, 0 for never.
        cutmix: alpha of the Beta distribution of the part that another image fills; None for auto, 0 for never.
        ema: decay of a moving average of the weights, which is judged and kept instead; None for auto, 0 for none.
        find_learning_rate: look for the learning rate with a range test before training.
        target_val: labelled images of the domain that `adapt` adapts to; they judge and are never trained on.
        pseudo_label_confidence: the least score of an answer of its own that `adapt` learns from.
        pretrain_epochs: passes of `pretrain` over the images without labels; None lets their number decide.
        group: what a drawn split never divides, such as one person's images: a column of the CSV, or a regular
            expression over the paths, see core/groups.py; None for the CSV's column `group`.
        near_duplicates: "together" keeps images that show nearly the same in one split, "apart" does not.
        exemplars: images of each class that the checkpoint carries for `update` to repeat; 0 for none.
        seed: of split, order and augmentation.
        device: where to train.
        strict: accept no image that cannot be used.
        temperature_scaling: make scores honest after training, by what val says (train/head/temperature.py).
    """

    backbone: str = DEFAULT
    weights: str = "auto"
    strategy: str = "auto"
    epochs: int | None = None
    steps: int | None = None
    window: int = 20_000
    batch_size: int = 32
    learning_rate: float | None = None
    layer_decay: float = 0.8
    label_smoothing: float = 0.1
    patience: int | None = None
    last_groups: int = 3
    time_budget_s: float | None = None
    input_size: int | None = None
    resize: Literal["cover", "stretch"] = "cover"
    mirror: bool | None = None
    augmentation: AugmentationName = "auto"
    augmentation_strength: float | None = None
    random_erasing: float | None = None
    mixup: float | None = None
    cutmix: float | None = None
    ema: float | None = None
    find_learning_rate: bool = False
    target_val: str | None = None
    pseudo_label_confidence: float = 0.5
    pretrain_epochs: int | None = None
    group: str | None = None
    near_duplicates: NearDuplicates = "together"
    exemplars: int = 20
    seed: int = 0
    device: Device = "auto"
    strict: bool = False
    temperature_scaling: bool = True

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float | None, float, float]] = {
            "epochs": (self.epochs, 1, 100_000),
            "steps": (self.steps, 1, 100_000_000),
            "window": (self.window, 10, 100_000_000),
            "batch_size": (self.batch_size, 1, 65_536),
            "learning_rate": (self.learning_rate, 1e-9, 10.0),
            "layer_decay": (self.layer_decay, 0.01, 1.0),
            "label_smoothing": (self.label_smoothing, 0.0, 0.9),
            "patience": (self.patience, 1, 100_000),
            "last_groups": (self.last_groups, 1, 8),
            "time_budget_s": (self.time_budget_s, 1, 1e9),
            "input_size": (self.input_size, 32, 2048),
            "augmentation_strength": (self.augmentation_strength, 0.0, 3.0),
            "random_erasing": (self.random_erasing, 0.0, 1.0),
            "mixup": (self.mixup, 0.0, 10.0),
            "cutmix": (self.cutmix, 0.0, 10.0),
            "ema": (self.ema, 0.0, 0.99999),
            "pseudo_label_confidence": (self.pseudo_label_confidence, 0.0, 1.0),
            "pretrain_epochs": (self.pretrain_epochs, 1, 100_000),
            "exemplars": (self.exemplars, 0, 10_000),
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
        if self.near_duplicates not in get_args(NearDuplicates):
            raise SettingsError(
                f"near_duplicates is '{self.near_duplicates}'",
                did_you_mean(self.near_duplicates, get_args(NearDuplicates)),
            )
        if self.augmentation not in get_args(AugmentationName):
            raise SettingsError(
                f"augmentation is '{self.augmentation}'", did_you_mean(self.augmentation, get_args(AugmentationName))
            )
        if self.augmentation_strength is not None and self.augmentation in ("none", "trivial"):
            raise SettingsError(
                f"augmentation_strength is {self.augmentation_strength:g}, but '{self.augmentation}' has no strength",
                "leave augmentation_strength away, or take augmentation light or rand",
            )
        if self.find_learning_rate and self.learning_rate is not None:
            raise SettingsError(
                f"learning_rate is {self.learning_rate:g} and find_learning_rate asks for another",
                "leave one of them away",
            )
