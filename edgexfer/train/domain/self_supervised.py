"""Learning from images without labels: two views of each image shall be answered alike, and the answers shall vary.

The loss is VICReg (Bardes et al. 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
Learning") with its projection head, both from lightly. It needs no negative pairs, so that the small batches of a CPU
serve, and its variance term keeps the features from collapsing into one, which no batch norm does in a network in
deploy form (train/deploy.py).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as v2

from edgexfer.core.errors import MissingPartError
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.augment import Augmentation, augment
from edgexfer.train.network import channels_last, depth_groups, head_of

log = logging.getLogger(__name__)

Pixels = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
_MOST_WIDTH, _WIDENED = 1024, 4  # of the projection head; the paper's 8192 are for batches of 2048
_COLOUR_CAST = 0.2
_MOST_NORM = 5.0


@dataclass(frozen=True)
class Recipe:
    """How weights are changed without labels.

    Attributes:
        epochs: passes over the images.
        batch_size: images per step, 2 or more; each is seen twice.
        learning_rate: of the last layers at its peak.
        layer_decay: factor on the rate from one depth to the one before it.
        weight_decay: AdamW's.
        warmup: share of all steps in which the rate rises linearly, before the cosine.
        seed: of order and views.
        seconds: after so long no further epoch begins; None for no limit.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 1e-4
    layer_decay: float = 0.8
    weight_decay: float = 1e-4
    warmup: float = 0.1
    seed: int = 0
    seconds: float | None = None


def check_lightly() -> None:
    """Checks that the library of the loss is there.

    Raises:
        MissingPartError: it is not installed.
    """
    _parts()


def learn_without_labels(
    network: DeployNetwork, pixels: Pixels, images: int, recipe: Recipe, views: Augmentation, device: str = "cpu"
) -> int:
    """Trains all of `network` but its classifier, in place, on images whose labels are not looked at.

    Args:
        network: in deploy form; it ends on the CPU, in evaluation mode.
        pixels: gives uint8 [N, H, W, 3] for row numbers.
        images: how many rows there are, 2 or more.
        recipe: see Recipe.
        views: how far a view may differ; colours change beyond that.
        device: "cpu" or "cuda".

    Returns:
        Epochs done: fewer than asked for where time ran out, or where the loss was no number any more; the network is
        then ruined, and whoever calls must judge it.

    Raises:
        MissingPartError: lightly is not installed.
    """
    make_loss, make_head = _parts()
    name, classifier = head_of(network.network)
    torch.manual_seed(recipe.seed)  # of the projection head
    width = min(_MOST_WIDTH, _WIDENED * classifier.in_features)
    projection = make_head(classifier.in_features, width, width, 2).to(device).train()
    network.to(device).train()
    optimizer = torch.optim.AdamW(_groups(network, projection, recipe), weight_decay=recipe.weight_decay)
    network.network.set_submodule(name, nn.Identity())
    try:
        return _epochs(
            nn.Sequential(network, projection), optimizer, make_loss(), pixels, images, recipe, views, device
        )
    finally:
        network.network.set_submodule(name, classifier)
        network.cpu().eval()


def _is_spent(seconds: float, spent: float, epochs: int) -> bool:
    """Whether another epoch as long as the `epochs` so far would take more than `seconds` in all."""
    return seconds <= 0 or (epochs > 0 and spent * (epochs + 1) / epochs > seconds)


def _epochs(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: nn.Module,
    pixels: Pixels,
    images: int,
    recipe: Recipe,
    views: Augmentation,
    device: str,
) -> int:
    size = min(recipe.batch_size, images)
    steps = images // size  # what is left over waits for the next epoch's order
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _factor(recipe.epochs * steps, recipe.warmup))
    half = torch.autocast("cuda", torch.bfloat16) if device == "cuda" else nullcontext()
    began = time.monotonic()
    for epoch in range(recipe.epochs):
        if recipe.seconds is not None and _is_spent(recipe.seconds, time.monotonic() - began, epoch):
            log.info("pretraining: the time given to it is used up after %d of %d epochs", epoch, recipe.epochs)
            return epoch
        order = np.random.default_rng([recipe.seed, epoch]).permutation(images)
        total = 0.0
        for step in range(steps):
            rows = order[step * size : (step + 1) * size]
            generator = torch.Generator().manual_seed(_number(recipe.seed, epoch, step))
            seen = torch.from_numpy(pixels(rows)).to(device).permute(0, 3, 1, 2)
            with half:
                one, other = (network(view(seen, views, generator)) for _ in range(2))
            loss = loss_of(one.float(), other.float())
            if not bool(torch.isfinite(loss)):
                log.warning("pretraining: the loss is no number any more in epoch %d", epoch + 1)
                return epoch
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), _MOST_NORM)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        log.info(
            "pretraining epoch %d/%d  loss %.3f  %.0f s",
            epoch + 1,
            recipe.epochs,
            total / steps,
            time.monotonic() - began,
        )
    return recipe.epochs


def view(pixels: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Returns the batch as another look at the same things: cropped and turned, brighter or paler, with a colour cast.

    Colours have to change: else they tell two views of an image apart from those of others, and nothing else is
    learned (Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", section 3.1).

    Args:
        pixels: [N, 3, H, W], 0 to 255.
        how: of crop, turn, mirror, brightness and contrast.
        generator: on the CPU.

    Returns:
        float32 [N, 3, H, W], 0 to 255, channels last.
    """
    seen = augment(pixels, how, generator)
    saturation = torch.rand(len(seen), 1, 1, 1, generator=generator) * 1.5
    cast = 1 + _COLOUR_CAST * (2 * torch.rand(len(seen), 3, 1, 1, generator=generator) - 1)
    grey = v2.rgb_to_grayscale(seen, num_output_channels=3)
    return channels_last(torch.lerp(grey, seen, saturation.to(seen.device)).mul_(cast.to(seen.device)).clamp_(0, 255))


def _parts() -> tuple[Any, Any]:
    try:
        from lightly.loss import VICRegLoss  # noqa: PLC0415 - of an extra of its own
        from lightly.models.modules.heads import VICRegProjectionHead  # noqa: PLC0415
    except ImportError as error:
        raise MissingPartError(
            "learning from images without labels needs lightly, which is not installed",
            "pip install 'edgexfer[pretrain]'",
        ) from error
    return VICRegLoss, VICRegProjectionHead


def _groups(network: DeployNetwork, projection: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    groups = depth_groups(network.network)[:-1]  # the classifier learns from labels
    rates = [recipe.learning_rate * recipe.layer_decay ** (len(groups) - 1 - depth) for depth in range(len(groups))]
    own = [{"params": group, "lr": rate} for group, rate in zip(groups, rates, strict=True)]
    return [*own, {"params": list(projection.parameters()), "lr": 10 * recipe.learning_rate}]


def _factor(steps: int, warmup: float) -> Callable[[int], float]:
    rising = max(1, round(warmup * steps))

    def at(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return at


def _number(seed: int, epoch: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, step, 7]).generate_state(1)[0])
