"""What torchvision's v2 transforms do to a batch: RandAugment, TrivialAugment, random erasing, mixup, cutmix.

Two things differ from how they are called elsewhere. They draw from PyTorch's global generator, so each call here runs
with that one forked and seeded: a batch follows from the generator it is given and from nothing else. And they draw
once a call, for all images alike (pytorch/vision#8484), so a batch goes through in parts that draw each for itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import v2

Policy = Literal["none", "trivial", "rand"]

MAGNITUDES = 31  # steps of RandAugment's and TrivialAugment's scale, 0 to 30
_GREY = 127.5
# Draws a batch at most. One costs 0.5 to 2 ms (64 to 224 pixels; RandAugment the double), so that a batch of 32, the
# default, has a draw for each image at 3 to 7 % of a step on a CPU, and a GPU's larger batch is not held up by it.
_DRAWS = 32


def vary(pixels: Tensor, policy: Policy, magnitude: int, generator: torch.Generator) -> Tensor:
    """Returns the batch after a random change of colours or geometry, another one for each image or few images.

    "trivial" is TrivialAugment (Müller and Hutter 2021): one change out of 14, of a strength that is drawn as well, up
    to turns by 135 degrees. "rand" is RandAugment (Cubuk et al. 2020): two changes, each of strength `magnitude`.
    Neither mirrors. What comes in from beyond the border is grey.

    Args:
        pixels: uint8 [N, 3, H, W].
        policy: see above; "none" returns the batch.
        magnitude: of "rand", 0 to 30; 9 is the paper's on ImageNet, where 30 is a turn by 30 degrees.
        generator: on the CPU.

    Returns:
        uint8 [N, 3, H, W].
    """
    if policy == "none":
        return pixels
    how = {"interpolation": v2.InterpolationMode.BILINEAR, "fill": round(_GREY), "num_magnitude_bins": MAGNITUDES}
    change = v2.TrivialAugmentWide(**how) if policy == "trivial" else v2.RandAugment(magnitude=magnitude, **how)
    with _drawing_from(generator):
        return torch.cat([change(part) for part in pixels.split(math.ceil(len(pixels) / _DRAWS))])


def erase(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Fills a rectangle of 2 to 33 % of an image with grey, in place: random erasing (Zhong et al. 2020).

    Args:
        pixels: float32 [N, 3, H, W], 0 to 255.
        share: chance of each image to lose one, 0 to 1.
        generator: on the CPU.

    Returns:
        `pixels`.
    """
    once = v2.RandomErasing(p=share, value=_GREY, inplace=True)
    with _drawing_from(generator):
        for image in pixels:
            once(image)
    return pixels


def mix(
    pixels: Tensor, class_ids: Tensor, classes: int, generator: torch.Generator, *, mixup: float, cutmix: float
) -> tuple[Tensor, Tensor]:
    """Mixes each image with its neighbour in the batch, and their targets alike.

    Either all of both is blended (mixup, Zhang et al. 2018) or a rectangle of the one is put into the other (CutMix,
    Yun et al. 2019); where both have an alpha, each batch takes one of the two with equal chance.

    Args:
        pixels: float32 [N, 3, H, W].
        class_ids: int64 [N].
        classes: how many there are.
        generator: on the CPU.
        mixup: alpha of Beta(alpha, alpha), of which the share of the neighbour is drawn; 0 for none.
        cutmix: the same for the share of the area.

    Returns:
        The pixels, and the share that each class has in each image, float32 [N, classes]; rows sum to 1.
    """
    kinds = [
        kind(alpha=float(alpha), num_classes=classes)
        for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
        if alpha
    ]
    with _drawing_from(generator):
        mixed, targets = v2.RandomChoice(kinds)(pixels, class_ids)
    return mixed, targets


@contextmanager
def _drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Lets PyTorch's global generator of the CPU go on from a number that `generator` draws, until the block ends."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPU too, which is not forked
        yield
