"""Trainee: the LightningModule that both fine-tuning and quantization-aware training run."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from edgexfer.core.findings import IMBALANCE
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.augment import Augmentation, augment
from edgexfer.train.images.feed import Feed, open_feed
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.images.vary import mix
from edgexfer.train.loop.loss import cross_entropy
from edgexfer.train.loop.metrics import metric_collection, plain_figures
from edgexfer.train.loop.schedule import Schedule, WarmupCosine
from edgexfer.train.network import DEPTHS, channels_last, depth_groups, head_of
from edgexfer.train.processes.share import ALONE, evenly, most, zero
from edgexfer.train.streaming.windows import Renewal

_EVALUATION_BATCH = 64
_LARGEST_CLASS_WEIGHT = 10.0
# (network, pixels as the network sees them [N, 3, H, W], its logits [N, classes]) -> what is added to the mean loss.
ExtraLoss = Callable[[DeployNetwork, Tensor, Tensor], Tensor]
GRADIENT_CLIP = 5.0  # largest norm of all gradients of a step together


class Trainee(lightning.LightningModule):
    """Trains a network in deploy form on cached pixels.

    Order and augmentation of each batch follow from seed, epoch and batch number alone, so that a run that was
    interrupted and resumed sees what the uninterrupted one would have seen.

    Attributes:
        share: this process's part of every batch, where several train together.
        known_logits: what the network answers to all of `val` as it is now, float32 [images, classes]; the next
            validation takes them and does not ask again.

    Args:
        network: trained in place.
        cache: pixels by row.
        class_ids: int64 [rows].
        train: rows to train on.
        val: rows to validate with, in evaluation's preprocessing.
        schedule: see Schedule.
        augmentation: see Augmentation.
        teacher: gives soft answers where `schedule.distillation` is above 0.
        extra_loss: what is added to the loss of a batch, see ExtraLoss.
        renewal: puts other images into the rows of `train` when an epoch begins; None keeps them.
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
        extra_loss: ExtraLoss | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.share = ALONE
        self.known_logits: Tensor | None = None
        self._cache: PixelCache | None = cache
        self._feed: Feed | None = None
        self._class_ids, self._train, self._val = class_ids, train, val
        self._order: tuple[int, NDArray[np.int64]] = -1, train
        self._augmentation = augmentation
        self._teacher = [teacher.eval()] if teacher is not None else []  # in a list: no part of the state
        self._extra_loss, self._renewal = extra_loss, renewal
        _, head = head_of(network.network)
        self._classes = classes = head.out_features  # some of which these images may not show
        self._loss_weight = _class_weights(class_ids[train], classes)
        self._metrics = metric_collection(classes, over_processes=True)
        self._val_loss = zero(self.device)
        self.validation: dict[str, Any] = {}

    def train_dataloader(self) -> DataLoader[int]:
        """Returns the numbers of an epoch's batches; `training_step` knows what is in each."""
        whole = math.ceil(len(self._train) / self.schedule.batch_size)
        steps = min(whole, self.schedule.epoch_steps or whole)
        return DataLoader(range(steps), batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[int]:
        """Returns the numbers of the validation's batches."""
        steps = math.ceil(most(len(self._val), self.share) / _EVALUATION_BATCH)
        return DataLoader(range(steps), batch_size=None)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        """Puts dropout's random numbers where this epoch's begin, and freezes what does not learn in it."""
        torch.manual_seed(self._number("dropout", self.current_epoch, self.share.rank))
        if self._renewal is not None:
            self._renewal.renew(self.current_epoch, self.schedule.epochs, self._pixels(), self._class_ids)
        if self.schedule.trainable_groups != (DEPTHS,):
            self.freeze_all_but(self.schedule.groups_at(self.current_epoch))

    def freeze_all_but(self, last: int) -> None:
        """Lets the `last` depth groups learn, of network.DEPTHS, and none below them."""
        groups = depth_groups(self.network.network)
        frozen = len(groups) - last
        for depth, group in enumerate(groups):
            for parameter in group:
                # Without a gradient AdamW leaves a weight alone, its decay too, and no backward pass goes below.
                parameter.requires_grad_(depth >= frozen)
                parameter.grad = None

    def training_step(self, batch: int, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Returns the loss of batch number `batch_idx` of this epoch."""
        loss = self.loss_of(self.current_epoch, batch_idx)
        images = min(self.schedule.batch_size, len(self._train) - batch_idx * self.schedule.batch_size)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=images, sync_dist=self.share.size > 1)
        return loss

    def loss_of(self, epoch: int, batch: int) -> Tensor:
        """Returns the loss of batch number `batch` of epoch number `epoch`, both 0-based, as training sees it.

        Where several processes train together it is that of this one's share, weighed so that their mean is the loss of
        the whole batch.
        """
        rows = self._batch(epoch, batch)
        how = self._augmentation
        part = batch * self.share.size + self.share.rank
        generator = torch.Generator().manual_seed(self._number("augment", epoch, part))
        seen, targets = self._fed(self.share.rows_of(rows), self.share.rows_of(self._batch(epoch, batch + 1)))
        pixels = augment(seen, how, generator)
        if how.mixup or how.cutmix:
            classes = self._classes
            pixels, targets = mix(pixels, targets, classes, generator, mixup=how.mixup, cutmix=how.cutmix)
        logits = self.network(channels_last(pixels))
        weight = None if self._loss_weight is None else self._loss_weight.to(self.device)
        by_class, by_image = self.share.factors(rows, self._class_ids, self._loss_weight)
        loss = cross_entropy(logits, targets, weight, self.schedule.label_smoothing) * by_class
        if self._teacher:
            loss = torch.lerp(loss, self._distance_to_teacher(pixels, logits) * by_image, self.schedule.distillation)
        if self._extra_loss is not None:
            loss = loss + self._extra_loss(self.network, pixels, logits) * by_image
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begins a new validation."""
        self._metrics.reset()
        self._val_loss = zero(self.device)

    def validation_step(self, batch: int, batch_idx: int) -> None:  # noqa: ARG002
        """Judges batch number `batch_idx` of the validation images."""
        mine = evenly(self._val, self.share)
        size = _EVALUATION_BATCH
        rows = mine[batch_idx * size : (batch_idx + 1) * size]
        if not len(rows):  # others have one left
            return
        pixels, target = self._fed(rows, mine[(batch_idx + 1) * size : (batch_idx + 2) * size])
        if self.known_logits is None or self.share != ALONE:
            logits = self.network(channels_last(pixels)).float()
        else:
            logits = self.known_logits[batch_idx * size : (batch_idx + 1) * size].to(self.device)
        loss = self._distance_to_teacher(pixels, logits) if self._teacher else F.cross_entropy(logits, target)
        self._val_loss += loss.double() * len(rows)
        self._metrics.update(logits.softmax(1), target)

    def on_validation_epoch_end(self) -> None:
        """Keeps the figures in `validation` and gives top-1 to early stopping."""
        self.known_logits = None  # the next one will be of another network
        loss = self.share.summed(self._val_loss) / len(self._val)
        self.validation = {"loss": loss, **plain_figures(self._metrics.compute())}
        self.log("val_top1", self.validation["top1"], batch_size=len(self._val))
        self.log("val_score", self.score()[0], batch_size=len(self._val))

    def score(self) -> tuple[float, ...]:
        """Returns how good the last validation was, to be compared with others: higher is better.

        Without a teacher it is top-1, of equals the lower loss. With one it is how close the answers are to the
        teacher's: on some hundred images top-1 hardly tells one epoch from another.
        """
        if self.schedule.keep_last:
            return (float(self.trainer.global_step),)
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
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, WarmupCosine(total, settings.warmup_steps(total)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def renews(self) -> bool:
        """Whether other images are trained on in each epoch."""
        return self._renewal is not None

    def leave_pixels(self) -> PixelCache:
        """Parts with the pixels, and closes what was made of them; `take_pixels` puts them back."""
        self.close_feed()
        cache, self._cache = self._pixels(), None
        return cache

    def take_pixels(self, cache: PixelCache) -> None:
        """Trains on the rows of `cache` from now on."""
        self._cache = cache

    def close_feed(self) -> None:
        """Frees what batches are made from, a renewal's thread too; it is made again when it is needed."""
        if self._renewal is not None:
            self._renewal.close()
        if self._feed is not None:
            self._feed.close()
        self._feed = None

    def _batch(self, epoch: int, batch: int) -> NDArray[np.int64]:
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.schedule.seed, epoch]).permutation(self._train)
        return self._order[1][batch * self.schedule.batch_size : (batch + 1) * self.schedule.batch_size]

    def _fed(self, rows: NDArray[np.int64], then: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        if self._feed is None:
            # Pixels that are renewed cannot live on a GPU: they would be those of the first epoch.
            resident = 0 if self._renewal is not None and self.device.type == "cuda" else None
            self._feed = open_feed(self._pixels(), self._class_ids, self.device, resident_bytes=resident)
        return self._feed.batch(rows, then)

    def _pixels(self) -> PixelCache:
        if self._cache is None:
            raise ValueError("the trainee has no pixels")
        return self._cache

    def _distance_to_teacher(self, pixels: Tensor, logits: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._teacher[0].to(self.device)(channels_last(pixels)).log_softmax(1)
        return F.kl_div(logits.log_softmax(1), wanted, reduction="batchmean", log_target=True)

    def _number(self, purpose: str, epoch: int, batch: int) -> int:
        words = [self.schedule.seed, epoch, batch, zlib.crc32(purpose.encode())]
        return int(np.random.SeedSequence(words).generate_state(1)[0])


def _class_weights(class_ids: NDArray[np.int64], classes: int) -> Tensor | None:
    counts = np.bincount(class_ids, minlength=classes)
    shown = counts[counts > 0]  # of a network that knows more classes than these images show
    if shown.max() <= IMBALANCE * shown.min():
        return None
    weights = np.minimum(shown.mean() / counts.clip(1), _LARGEST_CLASS_WEIGHT)
    return torch.from_numpy(np.where(counts > 0, weights, 1.0)).float()
