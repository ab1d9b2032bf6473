"""Trainee: the LightningModule that both fine-tuning and quantization-aware training run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
import torchmetrics.classification as metrics
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection

from edgexfer.train.augment import Augmentation, augment
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.network import channels_last, depth_groups
from edgexfer.train.pixel_cache import PixelCache
from edgexfer.train.probe import IMBALANCE

_EVALUATION_BATCH = 64
_LARGEST_CLASS_WEIGHT = 10.0


@dataclass(frozen=True)
class Schedule:
    """How weights are changed.

    Attributes:
        epochs: passes over the training images, 1 or more.
        batch_size: images per step.
        learning_rate: of the classifier at the peak of the schedule.
        layer_decay: factor on the rate from one depth group to the one before it, 0 to 1 (1: one rate for all);
            discriminative fine-tuning, Howard and Ruder 2018, section 3.2.
        weight_decay: AdamW's, on weights, not on biases.
        label_smoothing: 0 to 1.
        warmup: share of all steps in which the rate rises linearly, before the cosine.
        distillation: weight of the teacher's answers in the loss, 0 to 1 (Hinton et al. 2015).
        seed: of order and augmentation.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 5e-4
    layer_decay: float = 0.8
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup: float = 0.1
    distillation: float = 0.0
    seed: int = 0


class Trainee(lightning.LightningModule):
    """Trains a network in deploy form on cached pixels.

    Order and augmentation of each batch follow from seed, epoch and batch number alone, so that a run that was
    interrupted and resumed sees what the uninterrupted one would have seen.

    Args:
        network: trained in place.
        cache: pixels by row.
        class_ids: int64 [rows].
        train: rows to train on.
        val: rows to validate with, in evaluation's preprocessing.
        schedule: see Schedule.
        augmentation: see Augmentation.
        teacher: gives soft answers where `schedule.distillation` is above 0.
    """

    def __init__(
        self,
        network: DeployNetwork,
        cache: PixelCache,
        class_ids: NDArray[np.int64],
        train: NDArray[np.int64],
        val: NDArray[np.int64],
        schedule: Schedule,
        augmentation: Augmentation,
        teacher: DeployNetwork | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self._cache, self._class_ids, self._train, self._val = cache, class_ids, train, val
        self._augmentation = augmentation
        self._teacher = [teacher.eval()] if teacher is not None else []  # in a list: no part of the state
        classes = int(class_ids.max()) + 1
        self._loss_weight = _class_weights(class_ids[train], classes)
        self._metrics = metric_collection(classes)
        self._val_loss = 0.0
        self.validation: dict[str, Any] = {}

    def train_dataloader(self) -> DataLoader[int]:
        """Returns the numbers of an epoch's batches; `training_step` knows what is in each."""
        steps = math.ceil(len(self._train) / self.schedule.batch_size)
        return DataLoader(range(steps), batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[int]:
        """Returns the numbers of the validation's batches."""
        return DataLoader(range(math.ceil(len(self._val) / _EVALUATION_BATCH)), batch_size=None)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        """Puts dropout's random numbers where this epoch's begin."""
        torch.manual_seed(self._number("dropout", self.current_epoch, 0))

    def training_step(self, batch: int, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Returns the loss of batch number `batch_idx` of this epoch."""
        size = self.schedule.batch_size
        order = np.random.default_rng([self.schedule.seed, self.current_epoch]).permutation(self._train)
        rows = order[batch_idx * size : (batch_idx + 1) * size]
        generator = torch.Generator().manual_seed(self._number("augment", self.current_epoch, batch_idx))
        pixels = augment(self._pixels(rows), self._augmentation, generator)
        logits = self.network(channels_last(pixels))
        loss = F.cross_entropy(
            logits,
            torch.from_numpy(self._class_ids[rows]).to(self.device),
            weight=None if self._loss_weight is None else self._loss_weight.to(self.device),
            label_smoothing=self.schedule.label_smoothing,
        )
        if self._teacher:
            loss = torch.lerp(loss, self._distance_to_teacher(pixels, logits), self.schedule.distillation)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(rows))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begins a new validation."""
        self._metrics.reset()
        self._val_loss = 0.0

    def validation_step(self, batch: int, batch_idx: int) -> None:  # noqa: ARG002
        """Judges batch number `batch_idx` of the validation images."""
        rows = self._val[batch_idx * _EVALUATION_BATCH : (batch_idx + 1) * _EVALUATION_BATCH]
        target = torch.from_numpy(self._class_ids[rows]).to(self.device)
        pixels = self._pixels(rows)
        logits = self.network(channels_last(pixels)).float()
        loss = self._distance_to_teacher(pixels, logits) if self._teacher else F.cross_entropy(logits, target)
        self._val_loss += float(loss) * len(rows)
        self._metrics.update(logits.softmax(1), target)

    def on_validation_epoch_end(self) -> None:
        """Keeps the figures in `validation` and gives top-1 to early stopping."""
        self.validation = {"loss": self._val_loss / len(self._val), **plain_figures(self._metrics.compute())}
        self.log("val_top1", self.validation["top1"], batch_size=len(self._val))

    def score(self) -> tuple[float, ...]:
        """Returns how good the last validation was, to be compared with others: higher is better.

        Without a teacher it is top-1, of equals the lower loss. With one it is how close the answers are to the
        teacher's: on some hundred images top-1 hardly tells one epoch from another.
        """
        loss = float(self.validation["loss"])
        return (-loss,) if self._teacher else (float(self.validation["top1"]), -loss)

    def configure_optimizers(self) -> Any:
        """AdamW with a rate for each depth; linear warm-up, then a cosine down to zero."""
        groups = depth_groups(self.network.network)
        settings = self.schedule
        parameters = []
        for depth, group in enumerate(groups):
            rate = settings.learning_rate * settings.layer_decay ** (len(groups) - 1 - depth)
            for decay, members in (
                (settings.weight_decay, [p for p in group if p.ndim > 1]),
                (0.0, [p for p in group if p.ndim <= 1]),
            ):
                if members:
                    parameters.append({"params": members, "lr": rate, "weight_decay": decay})
        # Fused, it unscales fp16 gradients by itself, and Lightning then refuses to clip them.
        optimizer = torch.optim.AdamW(parameters, fused=self.device.type == "cpu")
        total = settings.epochs * len(self.train_dataloader())
        factor = _Factor(total, max(1, round(settings.warmup * total)))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor.at)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _pixels(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self._cache[rows]).to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def _distance_to_teacher(self, pixels: Tensor, logits: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._teacher[0].to(self.device)(channels_last(pixels)).log_softmax(1)
        return F.kl_div(logits.log_softmax(1), wanted, reduction="batchmean", log_target=True)

    def _number(self, purpose: str, epoch: int, batch: int) -> int:
        words = [self.schedule.seed, epoch, batch, len(purpose)]
        return int(np.random.SeedSequence(words).generate_state(1)[0])


@dataclass(frozen=True)
class _Factor:
    """The rate at a step as a share of its peak: warm-up, then cosine (Loshchilov and Hutter 2017)."""

    steps: int
    warmup: int

    def at(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))


def metric_collection(classes: int) -> MetricCollection:
    """Returns the figures that a classifier is judged by; all take probabilities [N, classes] and ids [N]."""
    return MetricCollection(
        {
            "top1": metrics.MulticlassAccuracy(classes, average="micro"),
            "macro_f1": metrics.MulticlassF1Score(classes, average="macro"),
            "recall": metrics.MulticlassRecall(classes, average="none"),
            "calibration_error": metrics.MulticlassCalibrationError(classes, n_bins=15),
            "confusion": metrics.MulticlassConfusionMatrix(classes),
        }
    )


def plain_figures(computed: dict[str, Tensor]) -> dict[str, Any]:
    """Returns what `MetricCollection.compute` gave as numbers and lists."""
    return {name: value.tolist() if value.ndim else float(value) for name, value in computed.items()}


def _class_weights(class_ids: NDArray[np.int64], classes: int) -> Tensor | None:
    counts = np.bincount(class_ids, minlength=classes).clip(1)
    if counts.max() <= IMBALANCE * counts.min():
        return None
    weights = np.minimum(counts.mean() / counts, _LARGEST_CLASS_WEIGHT)
    return torch.from_numpy(weights).float()
